// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { ClusterPlan, CniKind } from "../plan.ts";
import { calicoManifests } from "./calico/manifests.ts";
import { flannelManifests } from "./flannel/manifests.ts";
import { kindnetManifests } from "./kindnet/manifests.ts";

const manifests: Partial<Record<CniKind, (plan: ClusterPlan) => KubeObject[]>> = {
  calico: calicoManifests,
  flannel: flannelManifests,
  kindnet: kindnetManifests,
};

/** The objects by which people know the pod network that the cluster starts with. */
export function oldNetworkManifests(plan: ClusterPlan): KubeObject[] {
  return manifests[plan.cni]?.(plan) ?? [];
}
