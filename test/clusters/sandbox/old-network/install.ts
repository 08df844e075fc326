// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../lib/kube.ts";
import { waitFor } from "../../../../lib/wait.ts";
import { applyObject } from "../apply.ts";
import type { ClusterPlan } from "../plan.ts";
import { installBridge } from "./bridge/install.ts";
import { oldNetworkManifests } from "./manifests.ts";

/** Puts the pod network that the plan asks for on a cluster, and waits until its nodes are Ready. */
export async function installOldNetwork(
  kube: KubeClient,
  plan: ClusterPlan,
  signal?: AbortSignal,
): Promise<string> {
  for (const object of oldNetworkManifests(plan)) await applyObject(kube, object);
  if (plan.cni === "bridge") await installBridge(kube, plan);
  await waitFor(
    "the nodes to be Ready",
    async () => {
      const { items } = await kube.list("/api/v1/nodes");
      const isReady = ({ type, status }: { type: string; status: string }) =>
        type === "Ready" && status === "True";
      return items.length > 0 && items.every((node) => (node.status?.conditions ?? []).some(isReady));
    },
    { timeoutMs: 120_000, ...(signal === undefined ? {} : { signal }) },
  );
  return plan.cni;
}
