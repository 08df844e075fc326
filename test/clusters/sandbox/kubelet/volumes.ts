// SPDX-License-Identifier: Apache-2.0
import { chmod, chown, lstat, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../../../lib/run.ts";
import { writeVolume } from "./atomic-writer.ts";
import { type KubeletNode, StartError } from "./kubelet-node.ts";
import { type Pod, podUid } from "./pod.ts";
import { parseWhole } from "./quantity.ts";
import { volumeFiles } from "./volume-files.ts";

/** Folder of everything that belongs to one pod. */
export function podFolder(rootDir: string, uid: string): string {
  return join(rootDir, "pods", uid);
}

const pluginFolders: Record<string, string> = {
  emptyDir: "kubernetes.io~empty-dir",
  configMap: "kubernetes.io~configmap",
  secret: "kubernetes.io~secret",
  projected: "kubernetes.io~projected",
  downwardAPI: "kubernetes.io~downward-api",
};

/**
 * Makes a pod's volumes ready, or brings those written from the API up to date.
 * @param maxAgeMs how old the objects behind them may be
 * @returns the path on the node of each volume, by name
 */
export async function mountVolumes(
  kubelet: KubeletNode,
  pod: Pod,
  maxAgeMs: number,
  podIps: string[],
): Promise<Map<string, string>> {
  const paths = new Map<string, string>();
  const base = join(podFolder(kubelet.options.rootDir, podUid(pod)), "volumes");
  for (const volume of pod.spec.volumes ?? []) {
    if (volume.hostPath !== undefined) {
      await prepareHostPath(volume);
      paths.set(volume.name, volume.hostPath.path);
      continue;
    }
    const plugin = Object.keys(pluginFolders).find((name) => volume[name] !== undefined);
    if (plugin === undefined) {
      const kinds = Object.keys(volume).filter((key) => key !== "name");
      throw new StartError(
        "FailedMount",
        `volume "${volume.name}": ${kinds.join(", ")} is not supported here`,
      );
    }
    const folder = join(base, pluginFolders[plugin] ?? plugin, volume.name);
    const gid = pod.spec.securityContext?.fsGroup;
    if (plugin === "emptyDir") await prepareEmptyDir(folder, volume.emptyDir, gid);
    else {
      const context = { kubelet, pod, maxAgeMs, podIps };
      await writeVolume(folder, await volumeFiles(context, volume), gid);
    }
    paths.set(volume.name, folder);
  }
  return paths;
}

async function prepareEmptyDir(folder: string, options: any, gid?: number): Promise<void> {
  if ((await lstat(folder).catch(() => undefined)) !== undefined) return;
  await mkdir(folder, { recursive: true });
  if (options.medium === "Memory") {
    const size = options.sizeLimit === undefined ? [] : [`size=${parseWhole(options.sizeLimit)}`];
    const mountOptions = ["mode=1777", ...size].join(",");
    try {
      await run("mount", ["-t", "tmpfs", "-o", mountOptions, "tmpfs", folder]);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }
  if (gid !== undefined) await chown(folder, 0, gid);
  await chmod(folder, gid === undefined ? 0o777 : 0o2777);
}

async function prepareHostPath(volume: any): Promise<void> {
  const { path, type = "" } = volume.hostPath;
  if (type === "") return;
  const found = await stat(path).catch(() => undefined);
  if (type === "DirectoryOrCreate" && found === undefined) {
    await mkdir(path, { recursive: true, mode: 0o755 });
    return;
  }
  if (type === "FileOrCreate" && found === undefined) {
    await writeFile(path, "", { mode: 0o644 });
    return;
  }
  const matches: Record<string, boolean | undefined> = {
    Directory: found?.isDirectory(),
    DirectoryOrCreate: found?.isDirectory(),
    File: found?.isFile(),
    FileOrCreate: found?.isFile(),
    Socket: found?.isSocket(),
    CharDevice: found?.isCharacterDevice(),
    BlockDevice: found?.isBlockDevice(),
  };
  if (matches[type] !== true)
    throw new StartError(
      "FailedMount",
      `MountVolume.SetUp failed for volume "${volume.name}" : hostPath type check failed: ${path} is not a ${type.replace("OrCreate", "")}`,
    );
}

/** Unmounts and removes everything of a pod on disk. Safe to repeat. */
export async function removePodFolder(rootDir: string, uid: string): Promise<void> {
  const folder = podFolder(rootDir, uid);
  for (const target of await mountsBelow(folder))
    await run("umount", ["--lazy", target], { allowFailure: true });
  // A mount that is left must not be emptied through its pod's folder.
  if ((await mountsBelow(folder)).length > 0)
    throw new StartError("FailedUnmount", `volumes below ${folder} are still mounted`);
  await rm(folder, { recursive: true, force: true });
}

async function mountsBelow(folder: string): Promise<string[]> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  return table
    .split("\n")
    .map((line) =>
      (line.split(" ")[4] ?? "").replace(/\\(\d{3})/g, (_, code) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
    )
    .filter((target) => target.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length);
}

/** Ids of the pods that have a folder on disk. */
export async function podFolders(rootDir: string): Promise<string[]> {
  return await readdir(join(rootDir, "pods")).catch(() => []);
}
