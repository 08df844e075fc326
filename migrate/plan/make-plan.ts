// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { Finding, Inventory, InventoryNode } from "../model/inventory.ts";
import type {
  AgentSetting,
  Plan,
  PlanBasis,
  PlannedNode,
  PlanOptions,
  PlanPhase,
  StepKindName,
} from "../model/plan.ts";
import { auditAtFirst, policiesOf } from "./agent-values.ts";
import { expectedSeconds } from "./steps.ts";
import { template } from "./templates.ts";

export const defaultPlanOptions: PlanOptions = {
  strategy: "node-by-node",
  maxUnavailable: 1,
  canary: 1,
  removeOldNetwork: true,
  connectionDeadlineSeconds: 300,
  drainTimeoutSeconds: 600,
  policyAuditSeconds: 60,
  drainForce: false,
  drainDeleteEmptyDirData: false,
  provider: "manual",
  agentValues: [],
};

/** Nodes in order, cut into waves. */
class Waves {
  #next = 1;

  of(nodes: readonly InventoryNode[], size: number): PlannedNode[] {
    const planned = nodes.map(({ name, networkedPods, pinnedPods }, index) => ({
      name,
      wave: this.#next + Math.floor(index / size),
      networkedPods,
      pinnedPods,
    }));
    this.#next += Math.ceil(nodes.length / size);
    return planned;
  }
}

const isControlPlane = (node: InventoryNode): boolean => node.roles.includes("control-plane");

/** Small and healthy nodes first: the canary should fail for what we do, not for what was there. */
function inOrder(nodes: readonly InventoryNode[]): InventoryNode[] {
  const trouble = (node: InventoryNode): number => Number(!node.ready) + Number(node.unschedulable);
  return [...nodes].sort(
    (a, b) =>
      trouble(a) - trouble(b) ||
      a.networkedPods - b.networkedPods ||
      a.name.localeCompare(b.name, "en", { numeric: true }),
  );
}

const switching: StepKindName[] = ["cordon", "drain", "activate", "recreate", "verify-node", "uncordon"];
const replacing: StepKindName[] = ["cordon", "drain", "remove-node"];
const joining: StepKindName[] = ["join-node", "verify-node"];

/**
 * A plan for this cluster; the same inventory and options always give the same one, but for its date. `settings` are
 * the agent's values that were chosen for it (`chooseAgentValues`).
 */
export function makePlan(
  inventory: Inventory,
  options: Partial<PlanOptions> = {},
  warnings: Finding[] = [],
  now: Date = new Date(),
  settings: AgentSetting[] = [],
): Plan {
  const chosen: PlanOptions = { ...defaultPlanOptions, ...options };
  // What was asked for comes last, and so wins.
  chosen.agentValues = [...settings.map(({ value }) => value), ...chosen.agentValues];
  refuseNonsense(inventory, chosen);
  const phases = phasesOf(inventory, chosen, policySteps(inventory, chosen, settings));
  return {
    apiVersion: "shunt.dev/v1alpha1",
    kind: "MigrationPlan",
    createdAt: now.toISOString(),
    cluster: {
      server: inventory.server,
      uid: inventory.clusterUid,
      platform: inventory.platform,
      serverVersion: inventory.serverVersion,
    },
    from: {
      network: inventory.network.kind,
      mode: inventory.network.mode,
      kubeProxy: inventory.kubeProxy.form,
      kubeProxyMode: inventory.kubeProxy.mode,
    },
    options: chosen,
    ...(settings.length === 0 ? {} : { agentSettings: settings }),
    expectedSeconds: expectedSeconds(phases),
    risks: risksOf(inventory, chosen, phases),
    warnings: warnings.filter(({ severity }) => severity !== "info"),
    basis: basisOf(inventory),
    phases,
  };
}

/** The facts of a cluster that a plan is made for. */
export function basisOf({ network, kubeProxy, serviceCIDRs, nodes }: Inventory): PlanBasis {
  return {
    network,
    kubeProxy,
    serviceCIDRs,
    nodes: nodes.map(({ name, roles, podCIDRs }) => ({ name, roles, podCIDRs })),
    ...(nodes.some(({ facts }) => facts !== undefined) ? { nodeFacts: true } : {}),
  };
}

/** What a plan does about policies beside switching nodes. */
interface PolicySteps {
  /** The old network's work is compared before. */
  compares: boolean;
  /** Audited policies are enforced at the end. */
  audits: boolean;
  /** What they say is tried at the end. */
  verifies: boolean;
}

function policySteps(
  inventory: Inventory,
  { strategy, agentValues }: PlanOptions,
  settings: readonly AgentSetting[],
): PolicySteps {
  const movesPods = strategy === "node-by-node" || strategy === "blue-green";
  const mode = agentValues.findLast((value) => value.startsWith("modes.policy="));
  const audits = settings.some(({ value }) => value === auditAtFirst);
  const enforces = movesPods && policiesOf(inventory) > 0 && mode === "modes.policy=enforce";
  return { audits, compares: enforces && inventory.network.enforcesPolicy, verifies: enforces || audits };
}

function refuseNonsense(inventory: Inventory, { strategy, maxUnavailable, canary }: PlanOptions): void {
  const refuse = (problem: string, remedy: string): never => {
    throw new ShuntError(problem, { code: "Blocked", exitCode: 3, remedy });
  };
  if (inventory.nodes.length === 0) refuse("The cluster has no nodes", "Add nodes first.");
  for (const [name, value] of Object.entries({ maxUnavailable, canary }))
    if (!Number.isInteger(value) || value < 1)
      refuse(`${name} is ${value}, and must be a whole number from 1`, "Name how many nodes may go at once.");
  if (strategy === "kube-proxy-only") {
    if (inventory.kubeProxy.form === "none" || inventory.kubeProxy.disabled)
      refuse("There is no kube-proxy to replace", "Nothing is to be done.");
  } else if (inventory.network.kind === "none")
    refuse("There is no pod network to migrate from", "Install the agent with: shunt install");
  else if (inventory.network.kind === "shunt")
    refuse("The pod network is Shunt's already", "See shunt status.");
}

function phasesOf(inventory: Inventory, options: PlanOptions, policies: PolicySteps): PlanPhase[] {
  const steps = (...kinds: StepKindName[]) => kinds.map((kind) => template(kind, inventory, options));
  const waves = new Waves();
  const all = inOrder(inventory.nodes.filter((node) => !isControlPlane(node)));
  const last = inOrder(inventory.nodes.filter(isControlPlane));
  const everywhere = (): PlannedNode[] => waves.of([...all, ...last], Math.max(options.maxUnavailable, 4));
  const start: PlanPhase = {
    name: "prepare",
    title: "Prepare",
    steps: steps(
      ...(["install-standby", "start-probes"] as const),
      ...(policies.compares ? (["compare-policies"] as const) : []),
    ),
  };
  const phases: PlanPhase[] = [start];
  if (options.strategy === "new-cluster")
    return [
      { name: "compare", title: "Compare", steps: steps("compare-clusters") },
      { name: "cut-over", title: "Move the traffic", steps: steps("cut-over") },
    ];
  if (options.strategy === "node-by-node" || options.strategy === "blue-green") {
    const blueGreen = options.strategy === "blue-green";
    const work = blueGreen ? replacing : switching;
    const canary = all.slice(0, options.canary);
    if (blueGreen) phases.push(...newGroup(steps));
    const groups: [string, string, InventoryNode[], number][] = [
      ["canary", "Canary", canary, options.canary],
      ["workers", "Workers", all.slice(canary.length), options.maxUnavailable],
      ["control-planes", "Control planes", blueGreen ? [] : last, 1],
    ];
    for (const [name, title, nodes, size] of groups)
      if (nodes.length > 0) phases.push({ name, title, steps: steps(...work), nodes: waves.of(nodes, size) });
    if (blueGreen)
      phases.push({ name: "settle-group", title: "The old group is gone", steps: steps("settle-group") });
    if (blueGreen && last.length > 0)
      phases.push({
        name: "control-planes",
        title: "Control planes",
        steps: steps(...switching),
        nodes: waves.of(last, 1),
      });
  }
  phases.push(...endOf(inventory, options, { policies, everywhere, steps }));
  return phases;
}

function newGroup(steps: (...kinds: StepKindName[]) => PlanPhase["steps"]): PlanPhase[] {
  return [
    { name: "new-group", title: "New nodes", steps: steps("add-group") },
    { name: "new-nodes", title: "New nodes join", steps: steps(...joining), nodes: [], newNodes: true },
  ];
}

function endOf(
  inventory: Inventory,
  options: PlanOptions,
  {
    policies,
    everywhere,
    steps,
  }: {
    policies: PolicySteps;
    everywhere: () => PlannedNode[];
    steps: (...kinds: StepKindName[]) => PlanPhase["steps"];
  },
): PlanPhase[] {
  const phases: PlanPhase[] = [];
  // Blue-green takes the old workers away, and their rules and devices with them; the new ones have some too.
  const alsoNew = options.strategy === "blue-green" ? { newNodes: true as const } : {};
  const nodes = (): PlannedNode[] => {
    const there = everywhere();
    if (options.strategy !== "blue-green") return there;
    const stay = new Set(inventory.nodes.filter(isControlPlane).map(({ name }) => name));
    return there.filter(({ name }) => stay.has(name));
  };
  if (inventory.kubeProxy.form !== "none" && !inventory.kubeProxy.disabled) {
    phases.push({ name: "services", title: "Services", steps: steps("services-handover") });
    phases.push({
      name: "kube-proxy-rules",
      title: "kube-proxy's rules",
      steps: steps("remove-kube-proxy-rules"),
      nodes: nodes(),
      ...alsoNew,
    });
  }
  if (options.strategy !== "kube-proxy-only" && options.removeOldNetwork) {
    phases.push({ name: "old-network", title: "The old network", steps: steps("disable-old-network") });
    phases.push({
      name: "residue",
      title: "What it left",
      steps: steps("remove-old-network", "verify-residue"),
      nodes: nodes(),
      ...alsoNew,
    });
  }
  const last: StepKindName[] = policies.audits
    ? ["enforce-policies", "verify-policies"]
    : ["verify-policies"];
  if (policies.verifies) phases.push({ name: "policies", title: "Policies", steps: steps(...last) });
  phases.push({ name: "finish", title: "Finish", steps: steps("finish", "stop-probes") });
  if (phases.some(({ name }) => name === "kube-proxy-rules" || name === "residue"))
    phases.push({
      name: "open-connections",
      title: "Open connections",
      steps: steps("release-connections"),
      nodes: nodes(),
      ...alsoNew,
    });
  return phases;
}

function risksOf(inventory: Inventory, options: PlanOptions, phases: PlanPhase[]): string[] {
  const risks = new Set<string>();
  for (const { steps } of phases) for (const { risk } of steps) if (risk !== "") risks.add(risk);
  if (!["daemonset", "none"].includes(inventory.kubeProxy.form))
    risks.add(
      `kube-proxy runs as ${inventory.kubeProxy.form}: the plan waits at services-handover until you have stopped it.`,
    );
  if (options.drainForce) risks.add("Pods without a controller are deleted and do not come back.");
  if (options.drainDeleteEmptyDirData) risks.add("Data in emptyDir volumes is lost when its pod moves.");
  return [...risks];
}
