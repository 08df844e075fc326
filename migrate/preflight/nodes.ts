// SPDX-License-Identifier: Apache-2.0
import type { NodeDetails } from "../inventory/details.ts";
import type { Finding, InventoryNode } from "../model/inventory.ts";
import { block, type CheckContext, info, limited, namedList, warn } from "./check.ts";

/** Every node: can it run the agent, and is it well enough to be touched. */
export function checkNodes(context: CheckContext): Finding[] {
  const byName = new Map(context.details.nodes.map((entry) => [entry.name, entry]));
  const perNode = context.inventory.nodes.map((node) => ({ node, extra: byName.get(node.name) }));
  const real = perNode.filter(({ extra }) => extra === undefined || (extra.virtual === "" && isLinux(extra)));
  return [
    ...perNode.flatMap(foreign),
    ...limited(real.flatMap(({ node }) => readiness(node))),
    ...kernels(real.map(({ node }) => node)),
    ...limited(real.flatMap(({ node }) => (context.movesPods ? podRange(node) : []))),
    ...limited(real.flatMap(({ node, extra }) => pressure(node, extra))),
    ...scaling(context),
    ...startupTaints(real.map(({ node }) => node)),
    ...capacity(context, real),
  ];
}

const isLinux = ({ operatingSystem }: NodeDetails): boolean => operatingSystem === "linux";
const nameOf = (node: InventoryNode): string => `Node ${node.name}`;

function foreign({ node, extra }: { node: InventoryNode; extra: NodeDetails | undefined }): Finding[] {
  if (extra === undefined) return [];
  if (extra.virtual !== "")
    return [
      warn({
        id: "node-virtual",
        object: nameOf(node),
        problem: `is ${extra.virtual}: no agent can run on it, and its pods keep their own network`,
        remedy: "Move its pods to real nodes, or expect them to be reachable as outside addresses only.",
      }),
    ];
  if (isLinux(extra)) return [];
  return [
    warn({
      id: "node-not-linux",
      object: nameOf(node),
      problem: `runs ${extra.operatingSystem}; the agent is for Linux`,
      remedy: "Keep the old network for such nodes in a cluster of their own, or remove them first.",
    }),
  ];
}

function readiness(node: InventoryNode): Finding[] {
  if (!node.ready)
    return [
      block({
        id: "node-not-ready",
        object: nameOf(node),
        problem: "is not Ready: what is broken before cannot be verified afterwards",
        remedy: `Mend or remove it; see kubectl describe node ${node.name}.`,
      }),
    ];
  if (!node.unschedulable) return [];
  return [
    info({
      id: "node-cordoned",
      object: nameOf(node),
      problem: "is cordoned by somebody; it will be migrated and stay cordoned",
      remedy: `Uncordon it before if it should take pods: kubectl uncordon ${node.name}.`,
    }),
  ];
}

const needed = [5, 10] as const;
const recommended = [5, 15] as const;

function older(kernel: string, than: readonly [number, number]): boolean {
  const match = /^(\d+)\.(\d+)/.exec(kernel);
  if (match === null) return false;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major < than[0] || (major === than[0] && minor < than[1]);
}

/** Without these no pod network; the others have a second best. */
const neededFeatures = new Set(["bpf", "cgroup-bpf", "cgroup2", "veth", "vxlan"]);

function missingFeatures(node: InventoryNode): Finding[] {
  const features = Object.entries(node.facts?.kernelFeatures ?? {});
  const missing = features.filter(([name, has]) => !has && neededFeatures.has(name)).map(([name]) => name);
  if (missing.length === 0) return [];
  return [
    warn({
      id: "kernel-feature-missing",
      object: nameOf(node),
      problem: `kernel ${node.kernel} seems to lack ${missing.join(", ")}, which the agent needs`,
      remedy: "The step install-standby tries it on every node and stops there; another kernel image has it.",
    }),
  ];
}

function kernels(nodes: InventoryNode[]): Finding[] {
  const tooOld = nodes.filter((node) => older(node.kernel, needed));
  const modest = nodes.filter((node) => !older(node.kernel, needed) && older(node.kernel, recommended));
  const found = tooOld.map((node) =>
    block({
      id: "kernel-too-old",
      object: nameOf(node),
      problem: `has kernel ${node.kernel}; the agent needs 5.10 or newer`,
      remedy: "Renew the node's image or kernel first (4.19 carries parts of it only; 5.10 is the baseline).",
    }),
  );
  const lacking = nodes.flatMap(missingFeatures);
  const without = new Map<string, number>();
  for (const node of nodes)
    for (const [name, has] of Object.entries(node.facts?.kernelFeatures ?? {}))
      if (!has && !neededFeatures.has(name)) without.set(name, (without.get(name) ?? 0) + 1);
  if (without.size > 0)
    lacking.push(
      info({
        id: "kernel-feature-optional",
        object: "cluster",
        problem: `some kernels are without ${[...without].map(([name, count]) => `${name} (${count} nodes)`).join(", ")}`,
        remedy: "The agent uses the next best; shunt status says which.",
      }),
    );
  if (modest.length > 0)
    lacking.push(
      info({
        id: "kernel-below-recommended",
        object: "cluster",
        problem: `${namedList(
          modest.map((node) => `${node.name} ${node.kernel}`),
          "node",
        )} below 5.15, which has all that network and security need`,
        remedy: "The pod network and Services work; renew such nodes before relying on security policies.",
      }),
    );
  return [...limited(found), ...limited(lacking)];
}

function podRange(node: InventoryNode): Finding[] {
  if (node.podCIDRs.length > 0) return [];
  return [
    block({
      id: "node-without-pod-range",
      object: nameOf(node),
      problem: "has no pod CIDR (spec.podCIDRs), from which our network gives addresses",
      remedy:
        "Start kube-controller-manager with --allocate-node-cidrs and --cluster-cidr; on EKS and Azure, whose pods have the cloud's addresses, use --strategy blue-green or new-cluster.",
    }),
  ];
}

function pressure(node: InventoryNode, extra: NodeDetails | undefined): Finding[] {
  if (extra === undefined || extra.problems.length === 0) return [];
  return [
    warn({
      id: "node-condition",
      object: nameOf(node),
      problem: `reports ${extra.problems.join(", ")}`,
      remedy: `Mend that first, or pods will be evicted on their own account; see kubectl describe node ${node.name}.`,
    }),
  ];
}

function scaling({ details }: CheckContext): Finding[] {
  const who = new Map<string, number>();
  for (const { scaledBy } of details.nodes)
    if (scaledBy !== "" && scaledBy !== "cluster-api") who.set(scaledBy, (who.get(scaledBy) ?? 0) + 1);
  for (const pod of details.pods.autoscalers) who.set(`pod ${pod}`, 0);
  if (who.size === 0) return [];
  const names = [...who].map(([name, nodes]) => (nodes > 0 ? `${name} (${nodes} nodes)` : name));
  return [
    warn({
      id: "autoscaler-active",
      object: "cluster",
      problem: `nodes are made and removed by ${names.join(", ")}: new ones start with the old network, and drained ones may be taken away`,
      remedy:
        "Stop scaling for the time of the migration (scale the autoscaler to 0, or set its NodePools' disruption budgets to 0).",
    }),
  ];
}

const startupTaint = /agent-not-ready|\/not-ready$|cilium|calico|uninitialized/;
const usualTaint = /^node\.kubernetes\.io\//;

function startupTaints(nodes: InventoryNode[]): Finding[] {
  return limited(
    nodes.flatMap((node) => {
      const taint = node.taints.find(({ key }) => startupTaint.test(key) && !usualTaint.test(key));
      if (taint === undefined) return [];
      return [
        warn({
          id: "startup-taint",
          object: nameOf(node),
          problem: `carries the taint ${taint.key}, which only its own network's agent takes away`,
          remedy: `Remove it when that agent goes: kubectl taint node ${node.name} ${taint.key}- ; take it out of node templates and of the autoscaler's startup taints as well.`,
        }),
      ];
    }),
  );
}

/** Whether the pods of any one node find room on the others while it is empty. */
function capacity(
  { movesPods, options }: CheckContext,
  nodes: { node: InventoryNode; extra: NodeDetails | undefined }[],
): Finding[] {
  if (!movesPods || options.strategy === "blue-green" || options.strategy === "new-cluster") return [];
  const takers = nodes.filter(
    ({ node, extra }) => extra !== undefined && !node.unschedulable && isOpen(node),
  );
  if (takers.length < 2)
    return [
      warn({
        id: "one-node-only",
        object: "cluster",
        problem: "at most one node takes ordinary pods: while it is switched, they have nowhere to go",
        remedy:
          "Add a second node for the time of the migration, or accept that its pods are down for some minutes.",
      }),
    ];
  return [...short(takers, "cpuMillis", "CPU"), ...short(takers, "memoryBytes", "memory")];
}

const isOpen = (node: InventoryNode): boolean =>
  !node.taints.some(({ effect }) => effect === "NoSchedule" || effect === "NoExecute");

function short(
  takers: { node: InventoryNode; extra: NodeDetails | undefined }[],
  what: "cpuMillis" | "memoryBytes",
  title: string,
): Finding[] {
  let free = 0;
  let worst = { name: "", requested: -1, own: 0 };
  for (const { node, extra } of takers) {
    if (extra === undefined || extra.allocatable[what] === 0) return [];
    const own = Math.max(0, extra.allocatable[what] - extra.requested[what]);
    free += own;
    if (extra.requested[what] > worst.requested)
      worst = { name: node.name, requested: extra.requested[what], own };
  }
  if (worst.requested <= free - worst.own) return [];
  return [
    warn({
      id: "no-room",
      object: `Node ${worst.name}`,
      problem: `asks for more ${title} than all other nodes have free: its pods will wait while it is switched`,
      remedy: "Add a node for the time of the migration, or scale something down.",
    }),
  ];
}
