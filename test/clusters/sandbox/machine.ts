// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants, existsSync, statfsSync } from "node:fs";
import path from "node:path";
import { ShuntError } from "../../../lib/errors.ts";
import { repoDir } from "./node/launch.ts";

/** Throws, in one line, when this is not Linux or we are not root. */
export function requireLinuxRoot(): void {
  if (process.platform !== "linux")
    throw new ShuntError(`Sandbox clusters need Linux; this is ${process.platform}`, { code: "Unsupported" });
  if (process.getuid?.() !== 0)
    throw new ShuntError("Sandbox clusters need root: run it with sudo", { code: "Unsupported" });
}

const programs: Record<string, string> = {
  unshare: "util-linux",
  nsenter: "util-linux",
  ip: "iproute2",
  sysctl: "procps",
  containerd: "containerd",
  ctr: "containerd",
  runc: "runc",
  busybox: "busybox-static",
};

/** Finds a program on PATH and the folders of administrators' programs. */
export function findProgram(name: string, env: Record<string, string | undefined>): string | undefined {
  const folders = [
    ...(env.PATH ?? "").split(":"),
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/usr/bin",
    "/bin",
  ];
  return folders
    .filter((folder) => folder.startsWith("/"))
    .map((folder) => path.join(folder, name))
    .find(isExecutable);
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const overlayMagic = 0x794c7630;

/** Throws when this machine cannot carry a sandbox cluster, with what to do about it. */
export function checkMachine(stateFolder: string, env: Record<string, string | undefined>): void {
  requireLinuxRoot();
  const missing = Object.keys(programs).filter((name) => findProgram(name, env) === undefined);
  const helpers = ["sandbox-init", "sandbox-runc", "pause"].map((name) =>
    path.join(repoDir, "build/bin", name),
  );
  if (missing.length > 0 || !helpers.every(existsSync) || !existsSync("/usr/lib/cni/loopback")) {
    const what = missing.length > 0 ? `missing programs: ${missing.join(", ")}` : "it is not set up";
    throw new ShuntError(`This machine cannot carry a sandbox cluster yet: ${what}`, {
      code: "NotSetUp",
      remedy: `Set it up with: sh ${path.join(repoDir, "scripts/setup.sh")}`,
    });
  }
  if (statfsSync(stateFolder).type === overlayMagic)
    throw new ShuntError(
      `${stateFolder} is on an overlay filesystem, on which containerd cannot unpack images`,
      {
        code: "Unsupported",
        remedy: `Mount a volume or a tmpfs on ${stateFolder}.`,
      },
    );
}
