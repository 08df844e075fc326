// SPDX-License-Identifier: Apache-2.0
import { readFile } from "node:fs/promises";
import os from "node:os";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { VERSION } from "../../../../lib/version.ts";
import { apiTime } from "./container-status.ts";
import type { ImageInfo } from "./cri-messages.ts";
import type { KubeletOptions } from "./options.ts";

/** Version of Kubernetes whose contracts this kubelet keeps. */
const KUBELET_VERSION = `v1.30.0+shunt.${VERSION}`;

const architectures: Record<string, string> = { x64: "amd64", arm64: "arm64" };

/** Labels that every node carries about itself. */
export function nodeLabels(options: KubeletOptions): Record<string, string> {
  const arch = architectures[process.arch] ?? process.arch;
  return {
    "beta.kubernetes.io/arch": arch,
    "beta.kubernetes.io/os": "linux",
    "kubernetes.io/arch": arch,
    "kubernetes.io/hostname": options.nodeName,
    "kubernetes.io/os": "linux",
    ...options.nodeLabels,
  };
}

/** What the runtime said about itself when it was last asked. */
export interface RuntimeFacts {
  /** For example containerd://1.6.20. */
  version: string;
  runtimeProblem: string | undefined;
  networkProblem: string | undefined;
  images: ImageInfo[];
}

async function firstLine(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.split("\n")[0]?.trim() ?? "";
}

/** The facts about the machine that do not change while it runs. */
export async function nodeInfo(runtimeVersion: string): Promise<any> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  return {
    machineID: (await firstLine("/etc/machine-id")).replaceAll("-", ""),
    systemUUID: await firstLine("/sys/class/dmi/id/product_uuid"),
    bootID: await firstLine("/proc/sys/kernel/random/boot_id"),
    kernelVersion: os.release(),
    osImage: /^PRETTY_NAME="?([^"\n]*)/m.exec(release)?.[1] ?? "Linux",
    containerRuntimeVersion: runtimeVersion,
    kubeletVersion: KUBELET_VERSION,
    kubeProxyVersion: "",
    operatingSystem: "linux",
    architecture: architectures[process.arch] ?? process.arch,
  };
}

/** The conditions of a node; the time of the last change is kept where nothing changed. */
export function nodeConditions(old: any[], facts: RuntimeFacts, nowMs: number): any[] {
  const problem = facts.runtimeProblem ?? facts.networkProblem;
  const wanted: [string, string, string, string][] = [
    ["MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
    ["DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
    ["PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"],
    problem === undefined
      ? ["Ready", "True", "KubeletReady", "kubelet is posting ready status"]
      : ["Ready", "False", "KubeletNotReady", problem],
  ];
  return wanted.map(([type, status, reason, message]) => {
    const before = old.find((entry) => entry.type === type);
    const now = apiTime(nowMs);
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
    return { type, status, lastHeartbeatTime: now, lastTransitionTime, reason, message };
  });
}

/** The status of this node, as the API stores it. */
export function nodeStatus(
  options: KubeletOptions,
  old: KubeObject | undefined,
  facts: RuntimeFacts,
  info: any,
  nowMs: number,
): any {
  return {
    capacity: options.capacity,
    allocatable: options.capacity,
    conditions: nodeConditions(old?.status?.conditions ?? [], facts, nowMs),
    addresses: [
      ...options.nodeIps.map((address) => ({ type: "InternalIP", address })),
      { type: "Hostname", address: options.nodeName },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: options.port } },
    nodeInfo: info,
    images: facts.images.slice(0, 50).map((image) => ({
      names: [...image.repo_digests, ...image.repo_tags],
      sizeBytes: image.size,
    })),
  };
}
