// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { ProbeReading, ReadResults } from "./merge.ts";
import { probeNamespace as namespace, probeSelector } from "./names.ts";
import { keyOf, type NodeResults } from "./results.ts";
import { readKept } from "./saved.ts";
import { hostPorts, ports } from "./server.ts";

const concurrency = 16;
const callTimeoutMs = 10_000;

export interface PodCall {
  kube: KubeClient;
  pod: KubeObject;
  method: string;
  path: string;
  signal: AbortSignal;
}

/** Talks to a probe pod through the API server. */
export async function callPod<T>({ kube, pod, method, path, signal }: PodCall): Promise<T> {
  const { http } = pod.spec.hostNetwork === true ? hostPorts : ports;
  const base = resourcePath("v1", "pods", namespace, `${pod.metadata.name}:${http}`);
  // A colon is no part of a name: it goes to the server as it is.
  const url = `${base.replace("%3A", ":")}/proxy${path}`;
  return await kube.request<T>(method, url, { timeoutMs: callTimeoutMs, signal });
}

/** Probe pods that run. */
export async function probePods(kube: KubeClient): Promise<KubeObject[]> {
  const path = resourcePath("v1", "pods", namespace);
  const { items } = await kube.list(path, { labelSelector: probeSelector });
  return items.filter(({ status }) => status?.phase === "Running");
}

/** Reads the results of every node; of one whose probe is away, what was kept of it. */
export async function collectResults(
  kube: KubeClient,
  signal: AbortSignal,
): Promise<{ nodes: ReadResults[]; unreachable: ProbeReading["unreachable"] }> {
  const pods = await probePods(kube);
  const kept = await readKept(kube);
  const nodes = new Map<string, ReadResults>();
  const failures = new Map<string, string>();
  const queue = [...pods];
  const work = async (): Promise<void> => {
    for (let pod = queue.shift(); pod !== undefined; pod = queue.shift()) {
      const place = (pod.spec.nodeName as string) + (pod.spec.hostNetwork === true ? ".host" : "");
      try {
        const read = await readOne(kube, pod, signal);
        const node = keyOf(read.results);
        // While a pod is moved two answer for a node; the later one knows what the earlier one saw.
        const known = nodes.get(node);
        if (known === undefined || known.results.results.length < read.results.results.length)
          nodes.set(node, read);
      } catch (error) {
        signal.throwIfAborted();
        failures.set(place, errorMessage(error));
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  for (const [node, results] of kept) if (!nodes.has(node)) nodes.set(node, results);
  const unreachable = [...failures]
    .filter(([node]) => !nodes.has(node))
    .map(([node, reason]) => ({ node, reason }));
  return { nodes: [...nodes.values()], unreachable };
}

async function readOne(kube: KubeClient, pod: KubeObject, signal: AbortSignal): Promise<ReadResults> {
  const before = Date.now();
  const results = await callPod<NodeResults>({ kube, pod, method: "GET", path: "/results", signal });
  return { results, aheadMs: results.nowMs - (before + Date.now()) / 2 };
}
