// SPDX-License-Identifier: Apache-2.0
import type { VolumeFile } from "./atomic-writer.ts";
import { fieldValue, resourceValue } from "./downward.ts";
import { type KubeletNode, StartError } from "./kubelet-node.ts";
import { allContainers, type Pod } from "./pod.ts";

/** How fresh the objects behind a volume must be, and whom its files are for. */
export interface FileContext {
  kubelet: KubeletNode;
  pod: Pod;
  maxAgeMs: number;
  podIps: string[];
}

type Files = Map<string, VolumeFile>;

/** The files of a configMap, secret, downwardAPI or projected volume. */
export async function volumeFiles(context: FileContext, volume: any): Promise<Files> {
  if (volume.configMap !== undefined)
    return await objectFiles(
      context,
      "configmaps",
      volume.configMap.name,
      volume.configMap,
      volume.configMap.defaultMode,
    );
  if (volume.secret !== undefined)
    return await objectFiles(
      context,
      "secrets",
      volume.secret.secretName,
      volume.secret,
      volume.secret.defaultMode,
    );
  if (volume.downwardAPI !== undefined)
    return downwardFiles(context, volume.downwardAPI.items ?? [], volume.downwardAPI.defaultMode);
  const all: Files = new Map();
  for (const source of volume.projected.sources ?? [])
    for (const [path, file] of await projectedFiles(context, source, volume.projected.defaultMode))
      all.set(path, file);
  return all;
}

async function projectedFiles(context: FileContext, source: any, mode = 0o644): Promise<Files> {
  if (source.configMap !== undefined)
    return await objectFiles(context, "configmaps", source.configMap.name, source.configMap, mode);
  if (source.secret !== undefined)
    return await objectFiles(context, "secrets", source.secret.name, source.secret, mode);
  if (source.downwardAPI !== undefined) return downwardFiles(context, source.downwardAPI.items ?? [], mode);
  if (source.serviceAccountToken !== undefined) {
    const { audience, expirationSeconds, path } = source.serviceAccountToken;
    const token = await context.kubelet.tokens.token(context.pod, audience, expirationSeconds);
    return new Map([[path, { data: Buffer.from(token), ...tokenOwner(context.pod, mode) }]]);
  }
  throw new StartError("FailedMount", `unsupported projected source ${Object.keys(source).join(", ")}`);
}

/** A token is readable by its pod's user only, when that user is known. */
function tokenOwner(pod: Pod, mode: number): { mode: number; uid?: number } {
  if (pod.spec.securityContext?.fsGroup !== undefined) return { mode: 0o600 };
  const users = new Set(
    allContainers(pod).map(
      (container) => container.securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser,
    ),
  );
  const [user] = users;
  return users.size === 1 && user !== undefined ? { mode: 0o600, uid: user } : { mode };
}

async function objectFiles(
  context: FileContext,
  plural: "configmaps" | "secrets",
  name: string,
  reference: any,
  defaultMode = 0o644,
): Promise<Files> {
  const namespace = context.pod.metadata.namespace ?? "";
  const object = await context.kubelet.objects.find(plural, namespace, name, context.maxAgeMs);
  if (object === undefined) {
    if (reference.optional === true) return new Map();
    throw new StartError("FailedMount", `${plural.slice(0, -1)} "${name}" not found`);
  }
  const data = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries<string>(object.data ?? {}))
    data.set(key, Buffer.from(value, plural === "secrets" ? "base64" : "utf8"));
  for (const [key, value] of Object.entries<string>(object.binaryData ?? {}))
    data.set(key, Buffer.from(value, "base64"));
  const files: Files = new Map();
  if (reference.items === undefined) {
    for (const [key, bytes] of data) files.set(key, { data: bytes, mode: defaultMode });
    return files;
  }
  for (const item of reference.items) {
    const bytes = data.get(item.key);
    if (bytes !== undefined) files.set(item.path, { data: bytes, mode: item.mode ?? defaultMode });
    else if (reference.optional !== true)
      throw new StartError("FailedMount", `${plural.slice(0, -1)} "${name}" has no key "${item.key}"`);
  }
  return files;
}

function downwardFiles(context: FileContext, items: any[], defaultMode = 0o644): Files {
  const { kubelet, pod } = context;
  const addresses = { podIps: context.podIps, hostIps: kubelet.options.nodeIps };
  const files: Files = new Map();
  for (const item of items) {
    const container = allContainers(pod).find((entry) => entry.name === item.resourceFieldRef?.containerName);
    const text =
      item.fieldRef === undefined
        ? resourceValue(
            container ?? {},
            item.resourceFieldRef.resource,
            item.resourceFieldRef.divisor,
            kubelet.options.capacity,
          )
        : fieldValue(pod, item.fieldRef.fieldPath, addresses);
    files.set(item.path, { data: Buffer.from(text), mode: item.mode ?? defaultMode });
  }
  return files;
}
