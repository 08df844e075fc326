// SPDX-License-Identifier: Apache-2.0
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { buildFile, cniBinary, cniConfFile } from "../paths.ts";

/** Puts a file in place whole: a reader sees the old or the new one. Returns false when it was the same already. */
async function replaceFile(file: string, content: string | Uint8Array, mode: number): Promise<boolean> {
  const wanted = Buffer.from(content);
  const current = await readFile(file).catch(() => undefined);
  if (current?.equals(wanted)) return false;
  await mkdir(dirname(file), { recursive: true });
  // A dot first: container runtimes read every *.conflist of the folder.
  const temporary = `${dirname(file)}/.${file.slice(file.lastIndexOf("/") + 1)}.tmp`;
  await rm(temporary, { force: true });
  try {
    await writeFile(temporary, wanted, { mode });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  return true;
}

/** The network configuration that makes container runtimes call the shim. */
function conflist(socket: string): string {
  return `${JSON.stringify(
    { cniVersion: "1.0.0", name: "shunt", plugins: [{ type: "shunt-cni", socket }] },
    undefined,
    2,
  )}\n`;
}

/** Installs the shim, then the configuration that names it. Returns true when the configuration is new. */
export async function installPlugin(socket: string): Promise<boolean> {
  await replaceFile(cniBinary, await readFile(buildFile("bin/shunt-cni")), 0o755);
  return await replaceFile(cniConfFile, conflist(socket), 0o644);
}
