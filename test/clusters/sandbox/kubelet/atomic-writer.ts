// SPDX-License-Identifier: Apache-2.0
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { ShuntError } from "../../../../lib/errors.ts";

/** One file of a volume that is written from the API. */
export interface VolumeFile {
  data: Uint8Array;
  /** Permission bits. */
  mode: number;
  /** Who owns it; root when not given. */
  uid?: number;
}

/** Throws unless the path stays inside its volume. */
export function checkVolumePath(path: string): void {
  const parts = path.split("/");
  if (path === "" || isAbsolute(path) || parts.includes("..") || parts[0]?.startsWith("..") === true)
    throw new ShuntError(`"${path}" is not a path inside a volume`, { code: "BadVolumePath" });
}

/**
 * Writes all files of a volume at once: into a new folder, to which the link `..data` is then moved, so that
 * a reader sees either all old or all new ones. Returns false when nothing changed.
 */
export async function writeVolume(
  folder: string,
  files: Map<string, VolumeFile>,
  gid?: number,
): Promise<boolean> {
  for (const path of files.keys()) checkVolumePath(path);
  await mkdir(folder, { recursive: true });
  const link = join(folder, "..data");
  const current = await readlink(link).catch(() => undefined);
  if (current !== undefined && (await isSame(join(folder, current), files))) return false;
  const stamp = `..${new Date().toISOString().replace(/[-:T]/g, "_").slice(0, 19)}.${process.hrtime.bigint()}`;
  await writeFiles(join(folder, stamp), files, gid);
  const temporary = join(folder, "..data_tmp");
  await rm(temporary, { force: true });
  await symlink(stamp, temporary);
  await rename(temporary, link);
  await linkNames(folder, files);
  if (current !== undefined) await rm(join(folder, current), { recursive: true, force: true });
  return true;
}

async function writeFiles(target: string, files: Map<string, VolumeFile>, gid?: number): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o755 });
  for (const [path, file] of files) {
    const full = join(target, path);
    await mkdir(dirname(full), { recursive: true, mode: 0o755 });
    await writeFile(full, file.data);
    if (gid !== undefined || file.uid !== undefined) await chown(full, file.uid ?? 0, gid ?? 0);
    // By itself the process's umask would take bits away.
    await chmod(full, gid === undefined ? file.mode : file.mode | 0o040);
  }
}

async function isSame(folder: string, files: Map<string, VolumeFile>): Promise<boolean> {
  const present = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  if (present.filter((entry) => entry.isFile()).length !== files.size) return false;
  for (const [path, file] of files) {
    const data = await readFile(join(folder, path)).catch(() => undefined);
    if (data === undefined || !data.equals(file.data)) return false;
  }
  return true;
}

async function linkNames(folder: string, files: Map<string, VolumeFile>): Promise<void> {
  const names = new Set([...files.keys()].map((path) => path.split("/")[0] ?? ""));
  for (const name of names) {
    const visible = join(folder, name);
    if ((await lstat(visible).catch(() => undefined)) === undefined)
      await symlink(join("..data", name), visible);
  }
  for (const entry of await readdir(folder))
    if (!entry.startsWith("..") && !names.has(entry))
      await rm(join(folder, entry), { recursive: true, force: true });
}
