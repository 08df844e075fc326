// SPDX-License-Identifier: Apache-2.0
import { chmod, mkdir, realpath, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Mount } from "./cri-messages.ts";
import { expand } from "./environment.ts";
import { StartError } from "./kubelet-node.ts";
import type { ContainerSpec } from "./pod.ts";

const propagations = {
  None: "PROPAGATION_PRIVATE",
  HostToContainer: "PROPAGATION_HOST_TO_CONTAINER",
  Bidirectional: "PROPAGATION_BIDIRECTIONAL",
} as const;

/** The mounts that a container's volumeMounts ask for. */
export async function volumeMounts(
  container: ContainerSpec,
  volumes: Map<string, string>,
  environment: Map<string, string>,
): Promise<Mount[]> {
  const mounts: Mount[] = [];
  for (const entry of container.volumeMounts ?? []) {
    const volume = volumes.get(entry.name);
    if (volume === undefined)
      throw new StartError(
        "CreateContainerConfigError",
        `cannot find volume "${entry.name}" to mount into container "${container.name}"`,
      );
    const subPath = entry.subPathExpr === undefined ? entry.subPath : expand(entry.subPathExpr, environment);
    const propagation: keyof typeof propagations = entry.mountPropagation ?? "None";
    mounts.push({
      container_path: entry.mountPath.startsWith("/") ? entry.mountPath : `/${entry.mountPath}`,
      host_path: subPath === undefined || subPath === "" ? volume : await inside(volume, subPath),
      readonly: entry.readOnly === true,
      propagation: propagations[propagation],
    });
  }
  return mounts;
}

/** The path of `subPath` in the volume, made if missing; a link in the volume must not lead out of it. */
async function inside(volume: string, subPath: string): Promise<string> {
  if (subPath.startsWith("/") || subPath.split("/").includes(".."))
    throw new StartError("CreateContainerConfigError", `subPath "${subPath}" leaves its volume`);
  const root = await realpath(volume);
  const wanted = join(root, subPath);
  let existing = wanted;
  while ((await stat(existing).catch(() => undefined)) === undefined && existing !== root)
    existing = dirname(existing);
  if (!isWithin(root, await realpath(existing)))
    throw new StartError("CreateContainerConfigError", `subPath "${subPath}" leaves its volume`);
  if (existing !== wanted) await mkdir(wanted, { recursive: true, mode: 0o777 });
  return await realpath(wanted);
}

const isWithin = (root: string, path: string): boolean => path === root || path.startsWith(`${root}/`);

/** Makes the file in which a container leaves its last words. */
export async function messageFile(
  folder: string,
  container: ContainerSpec,
  attempt: number,
): Promise<string> {
  const path = join(
    folder,
    "containers",
    container.name,
    `${attempt}-${process.hrtime.bigint().toString(36)}`,
  );
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, "", { mode: 0o666 });
  await chmod(path, 0o666);
  return path;
}
