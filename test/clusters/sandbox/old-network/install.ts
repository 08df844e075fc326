// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../lib/kube.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
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
  // A resource is served a moment after its definition is there.
  for (const object of oldNetworkManifests(plan))
    await waitFor(`${object.kind} ${object.metadata.name} to be accepted`, () => apply(kube, object), {
      timeoutMs: 30_000,
      ...(signal === undefined ? {} : { signal }),
    });
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

async function apply(kube: KubeClient, object: KubeObject): Promise<true> {
  await applyObject(kube, object);
  return true;
}
