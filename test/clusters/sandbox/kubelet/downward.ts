// SPDX-License-Identifier: Apache-2.0

import { StartError } from "./kubelet-node.ts";
import { type ContainerSpec, isHostNetwork, type Pod } from "./pod.ts";
import { parseMilli, parseQuantity } from "./quantity.ts";

/** Addresses that a pod learns about itself and its node. */
export interface PodAddresses {
  podIps: string[];
  hostIps: string[];
}

/** Value of a fieldRef, such as `metadata.name` or `metadata.labels['app']`. */
export function fieldValue(pod: Pod, path: string, addresses: PodAddresses): string {
  const { metadata } = pod;
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (subscript !== null)
    return (subscript[1] === "labels" ? metadata.labels : metadata.annotations)?.[subscript[2] ?? ""] ?? "";
  const podIps = isHostNetwork(pod) ? addresses.hostIps : addresses.podIps;
  const values: Record<string, () => string> = {
    "metadata.name": () => metadata.name ?? "",
    "metadata.namespace": () => metadata.namespace ?? "",
    "metadata.uid": () => metadata.uid ?? "",
    "metadata.labels": () => formatMap(metadata.labels),
    "metadata.annotations": () => formatMap(metadata.annotations),
    "spec.nodeName": () => pod.spec.nodeName ?? "",
    "spec.serviceAccountName": () => pod.spec.serviceAccountName ?? "",
    "status.hostIP": () => addresses.hostIps[0] ?? "",
    "status.hostIPs": () => addresses.hostIps.join(","),
    "status.podIP": () => podIps[0] ?? "",
    "status.podIPs": () => podIps.join(","),
  };
  const value = values[path];
  if (value === undefined)
    throw new StartError("CreateContainerConfigError", `unsupported fieldPath: ${path}`);
  return value();
}

function formatMap(map: Record<string, string> = {}): string {
  return Object.entries(map)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}

/** Value of a resourceFieldRef; a limit that is not set is what the node has. */
export function resourceValue(
  container: ContainerSpec,
  resource: string,
  divisor: string | undefined,
  allocatable: Record<string, string>,
): string {
  const [kind = "", name = ""] = splitOnce(resource);
  const { requests = {}, limits = {} } = container.resources ?? {};
  const own = kind === "limits" ? (limits[name] ?? allocatable[name]) : (requests[name] ?? limits[name]);
  const unit = divisor === undefined || divisor === "0" ? "1" : divisor;
  const amount = parseMilli(own ?? "0");
  return String(Math.ceil(amount / (parseQuantity(unit) * 1000)));
}

function splitOnce(text: string): string[] {
  const at = text.indexOf(".");
  return [text.slice(0, at), text.slice(at + 1)];
}
