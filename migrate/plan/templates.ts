// SPDX-License-Identifier: Apache-2.0
import type { Inventory } from "../model/inventory.ts";
import type { PlanOptions, StepKindName, StepTemplate } from "../model/plan.ts";

type Write = (inventory: Inventory, options: PlanOptions) => Omit<StepTemplate, "kind">;

const step = (title: string, expectedSeconds: number, changes: string[], risk = "") => ({
  title,
  changes,
  expectedSeconds,
  risk,
});

const named = (object: { namespace?: string; name: string } | undefined, fallback: string): string =>
  object === undefined ? fallback : [object.namespace, object.name].filter(Boolean).join("/");

const writers: Record<StepKindName, Write> = {
  "install-standby": () =>
    step("Install the agent on all nodes, in standby beside the old network", 90, [
      "CRDs nodes.shunt.dev, DaemonSet, ConfigMap, ServiceAccount and access rules of shunt-agent",
      "on each node: an overlay device and routes with a metric after the old network's; no CNI configuration",
    ]),
  "start-probes": () =>
    step("Start probes between all nodes", 20, ["Namespace shunt-probe with its DaemonSet and Services"]),
  "compare-policies": ({ network }) =>
    step(`Compare what policies say with what ${network.kind} does`, 20, [
      "nothing: connections between pods are opened and closed, such as policies allow and such as they deny",
    ]),
  "add-group": (_, { provider }) =>
    step(
      "Add a group of new nodes with the agent active",
      300,
      [
        `nodes, through the provider ${provider}`,
        "ConfigMap kube-system/shunt-config: podNetwork active, for nodes to come; ShuntNodes of the old nodes keep standby",
      ],
      "The new nodes cost as much as the old ones until those are gone.",
    ),
  "join-node": () =>
    step("Let the new node in, and recreate pods that got another interface", 5, [
      "DaemonSet pods that started there before the agent are deleted one by one, and come back",
    ]),
  "settle-group": (_, { provider }) =>
    step("Take away what only held the new group's place", 5, [
      `placeholders and limits, through the provider ${provider}`,
    ]),
  cordon: () =>
    step("Cordon the node", 1, [
      "Node.spec.unschedulable, unless it was set before",
      "an annotation that says so",
      "a node that is to be removed: the label by which load balancers leave it out",
    ]),
  drain: (_, { drainTimeoutSeconds }) =>
    step(
      `Evict the node's pods within their budgets, for ${drainTimeoutSeconds} s at most`,
      10,
      ["pods move to other nodes"],
      "Connections of pods that move end with them, in the order that their own shutdown gives.",
    ),
  activate: () =>
    step("Switch the node to the agent", 8, [
      "ShuntNode.spec: podNetwork active, services on",
      "on the node: 05-shunt.conflist before the old network's file",
    ]),
  recreate: () =>
    step(
      "Recreate the pods that the drain left",
      5,
      ["DaemonSet pods with a network of their own are deleted one by one, and come back on the new one"],
      "Each of these pods is away for some seconds.",
    ),
  "verify-node": () => step("Prove that pods on this node reach old and switched nodes, and back", 20, []),
  uncordon: () => step("Uncordon the node, if the migration cordoned it", 1, ["Node.spec.unschedulable"]),
  "remove-node": (_, { provider }) =>
    step("Remove the old node, once load balancers have left it out", 60, [
      `the node, through the provider ${provider}`,
    ]),
  "services-handover": ({ kubeProxy }, { connectionDeadlineSeconds }) =>
    step(
      "Hand Services over: kube-proxy stops, its connections go on",
      30,
      [
        `DaemonSet ${named(kubeProxy.object, "kube-system/kube-proxy")}: a nodeSelector that no node has`,
        "ConfigMap kube-system/shunt-install remembers the one before",
      ],
      `Connections that kube-proxy translated and that are still open after ${connectionDeadlineSeconds} s may end.`,
    ),
  "remove-kube-proxy-rules": ({ kubeProxy }) =>
    step("Remove kube-proxy's rules from the node", 6, [
      `kube-proxy's ${kubeProxy.mode} chains, sets and devices`,
    ]),
  "disable-old-network": ({ network }) =>
    step(`Stop ${network.kind} on all nodes`, 20, [
      `DaemonSet ${named(network.daemonSet, "of the old network")}: a nodeSelector that no node has`,
    ]),
  "remove-old-network": ({ network }) =>
    step(`Remove what ${network.kind} left on the node`, 8, [
      `devices${network.device === undefined ? "" : ` (${network.device})`}, routes, chains, CNI files and address leases of ${network.kind}`,
    ]),
  "verify-residue": () => step("Verify that nothing of the old network is left on the node", 4, []),
  "compare-clusters": () =>
    step("Compare the objects of both clusters, and wait until the new one is ready", 60, []),
  "cut-over": () =>
    step(
      "Wait until you have moved the traffic to the new cluster, and see that it is still ready",
      60,
      ["nothing by itself: DNS names, load balancers or routes are changed by you"],
      "Clients that know addresses of the old cluster stay there until they ask again.",
    ),
  "enforce-policies": (_, { policyAuditSeconds }) =>
    step(
      "Enforce policies, if audit sees nothing that they would deny",
      policyAuditSeconds + 5,
      ["ShuntNode.spec: policy enforce, on all nodes or on none"],
      `Connections that policies deny and that nobody opened until ${policyAuditSeconds} s after the switch are refused from then on.`,
    ),
  "verify-policies": () =>
    step("Prove that pods reach what policies allow, and nothing else", 20, [
      "nothing: connections between pods are opened and closed",
    ]),
  "stop-probes": () => step("Stop the probes and collect their results", 10, ["Namespace shunt-probe goes"]),
  "release-connections": ({ kubeProxy }) =>
    step("Let go of the last connections that were translated before", 4, [
      "the nft table shunt_open_connections, which kept them translated without the old rules",
      ...(kubeProxy.mode === "iptables"
        ? ["sysctl net.ipv4.conf.all.route_localnet to 0, unless a file of sysctl.d sets it"]
        : []),
    ]),
  finish: () =>
    step("Make the new state the default, and record the end", 30, [
      "ConfigMap kube-system/shunt-config: podNetwork active and services on for all nodes",
    ]),
};

/** The step of this kind in the words of this cluster. */
export function template(kind: StepKindName, inventory: Inventory, options: PlanOptions): StepTemplate {
  return { kind, ...writers[kind](inventory, options) };
}
