// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../lib/errors.ts";
import type { KubeClient } from "../lib/kube.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { waitFor } from "../lib/wait.ts";
import { oneShotDaemonSet } from "./manifests.ts";
import { daemonSet, pods } from "./names.ts";
import type { Values } from "./values.ts";

export interface OneShotResult {
  node: string;
  /** True when the command ended with exit code 0. */
  ok: boolean;
  output: string;
}

/**
 * Runs the agent program with `args` once on every node and gathers what it printed. The DaemonSet that does it
 * is removed again, whatever happens. Nodes where it did not end in time come back as not ok.
 */
export async function runOnEveryNode(
  kube: KubeClient,
  name: string,
  values: Values,
  args: string[],
  options: { timeoutMs: number; signal?: AbortSignal; report?: (progress: string) => void },
): Promise<OneShotResult[]> {
  const query = { labelSelector: `k8s-app=${name}` };
  await remove(kube, name);
  try {
    await kube.create(daemonSet(), oneShotDaemonSet(name, values, args));
    let all: KubeObject[] = [];
    await waitFor(
      `${name} to end on every node`,
      async () => {
        const status = (await kube.get(daemonSet(name))).status;
        all = (await kube.list(pods(), query)).items;
        const ended = all.filter((pod) => hasEnded(pod)).length;
        options.report?.(`${ended} of ${status?.desiredNumberScheduled ?? "?"} nodes`);
        return (
          (status?.observedGeneration ?? 0) > 0 &&
          status.desiredNumberScheduled > 0 &&
          ended >= status.desiredNumberScheduled
        );
      },
      {
        timeoutMs: options.timeoutMs,
        intervalMs: 300,
        ...(options.signal ? { signal: options.signal } : {}),
      },
    ).catch((error) => {
      options.signal?.throwIfAborted();
      if (all.length === 0) throw error;
    });
    return await Promise.all(all.map((pod) => resultOf(kube, pod)));
  } finally {
    await remove(kube, name);
  }
}

const workStatus = (pod: KubeObject) =>
  pod.status?.initContainerStatuses?.find((status: any) => status.name === "work");

/** Ended well, or failed at least once (the kubelet would try again for ever). */
function hasEnded(pod: KubeObject): boolean {
  const status = workStatus(pod);
  return status?.state?.terminated !== undefined || status?.lastState?.terminated !== undefined;
}

async function resultOf(kube: KubeClient, pod: KubeObject): Promise<OneShotResult> {
  const status = workStatus(pod);
  const node = pod.spec?.nodeName ?? "?";
  const previous = status?.state?.terminated === undefined;
  const terminated = status?.state?.terminated ?? status?.lastState?.terminated;
  const reason =
    status?.state?.waiting?.message ?? status?.state?.waiting?.reason ?? pod.status?.phase ?? "unknown";
  if (terminated === undefined) return { node, ok: false, output: `the pod did not run: ${reason}` };
  const output = await kube
    .request<string>("GET", `${pods(pod.metadata.name)}/log`, {
      query: { container: "work", previous },
      accept: "*/*",
    })
    .catch((error) => `no log: ${errorMessage(error)}`);
  return {
    node,
    ok: terminated.exitCode === 0,
    output: typeof output === "string" ? output : JSON.stringify(output),
  };
}

async function remove(kube: KubeClient, name: string): Promise<void> {
  const existed = await kube.deleteIfExists(daemonSet(name), { propagationPolicy: "Background" });
  if (!existed && (await kube.list(pods(), { labelSelector: `k8s-app=${name}` })).items.length === 0) return;
  await waitFor(
    `${name}'s pods to be gone`,
    async () => (await kube.list(pods(), { labelSelector: `k8s-app=${name}` })).items.length === 0,
    { timeoutMs: 90_000, intervalMs: 300 },
  );
}
