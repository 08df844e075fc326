// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { shuntImage } from "../images/shunt-image.ts";
import { apiAddress } from "../parts.ts";
import { type ClusterPlan, controlPlane } from "../plan.ts";

/** A container that runs the network's daemon, or copies its files. */
export const daemonContainer = { image: shuntImage, imagePullPolicy: "IfNotPresent" };

/** Command of the daemon. */
export function daemonCommand(kind: string): string[] {
  return ["/usr/local/bin/node", "/opt/shunt/bin/sandbox-part.ts", "old-network", `--kind=${kind}`];
}

/** Command that puts a plugin of ours into a node's CNI folder, mounted at the same place. */
export function installPlugin(name: string): string[] {
  return ["cp", "-f", "/opt/shunt/test/clusters/sandbox/old-network/cni-plugin.sh", `/opt/cni/bin/${name}`];
}

/** Node's name, and the API server by its own address: Services may not work yet. */
export function daemonEnv(plan: ClusterPlan): object[] {
  const address = apiAddress(plan);
  return [
    { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
    { name: "KUBERNETES_SERVICE_HOST", value: controlPlane(plan).addresses[0] },
    { name: "KUBERNETES_SERVICE_PORT", value: address.slice(address.lastIndexOf(":") + 1) },
  ];
}

/** A service account with a ClusterRole of the same name. */
export function account(name: string, namespace: string, rules: object[]): KubeObject[] {
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } },
    { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name }, rules },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
      subjects: [{ kind: "ServiceAccount", name, namespace }],
    },
  ];
}

/** A volume from the node, and a mount of it. */
export function hostPath(name: string, path: string, type?: string): object {
  return { name, hostPath: { path, ...(type === undefined ? {} : { type }) } };
}
