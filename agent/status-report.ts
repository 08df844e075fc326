// SPDX-License-Identifier: Apache-2.0
import { fingerprint } from "../lib/fingerprint.ts";
import { VERSION } from "../lib/version.ts";
import type { Modes } from "./config.ts";
import type { AttachmentReport } from "./datapath.ts";
import type { Condition } from "./node-mode.ts";
import type { NodeNetworkReport } from "./node-reconciler.ts";
import type { PolicyReport } from "./policy/policy-views.ts";
import type { ServiceProblem } from "./service-table.ts";

/** Most of them that the status tells. */
const mostProblems = 20;

/** What the agent knows of itself at one moment. */
export interface AgentState {
  modes: Modes;
  generation: number | undefined;
  datapathLoaded: boolean;
  attachments: AttachmentReport[];
  /** Why the pod network is not ready; undefined when it is. */
  podNetworkProblem: string | undefined;
  cniInstalled: boolean;
  /** Why services are not as asked for; undefined when they are. */
  servicesProblem: string | undefined;
  serviceSize: { groups: number; frontends: number; backends: number };
  serviceProblems: readonly ServiceProblem[];
  policy: PolicyReport;
  network: NodeNetworkReport | undefined;
  /** The other nodes whose pods are ours, as far as routes lead there. */
  activePeers: readonly string[];
}

export interface NodeStatusReport {
  observedGeneration: number | undefined;
  agentVersion: string;
  conditions: Condition[];
  layers: Record<string, unknown>;
  addresses: string[];
  devices: { name: string; mtu: number; role: string }[];
}

const condition = (type: string, problem: string | undefined, good: string, bad: string): Condition =>
  problem === undefined
    ? { type, status: "True", reason: good, message: "" }
    : { type, status: "False", reason: bad, message: problem };

/** The status of the node's ShuntNode object: what is loaded where, and why something is not. */
export function reportOf(state: AgentState): NodeStatusReport {
  const { modes, network } = state;
  const sockets = state.attachments.filter(({ kind }) => kind === "cgroup");
  const devices = state.attachments.filter(({ kind }) => kind !== "cgroup");
  const problem = state.podNetworkProblem ?? state.servicesProblem ?? state.policy.problem;
  const problems = [
    ...(network?.problems ?? []),
    ...state.serviceProblems.slice(0, mostProblems).map(({ group, message }) => `${group}: ${message}`),
    ...state.policy.invalid
      .slice(0, mostProblems)
      .map(({ policy, message }) => `${policy} is not in force: ${message}`),
  ];
  return {
    observedGeneration: state.generation,
    agentVersion: VERSION,
    conditions: [
      condition("Ready", problem, "AsConfigured", "NotReady"),
      condition(
        "DatapathLoaded",
        state.datapathLoaded ? undefined : (state.podNetworkProblem ?? "not loaded yet"),
        "Loaded",
        "NotLoaded",
      ),
      condition("PodNetworkReady", state.podNetworkProblem, "PodsGetInterfaces", "NotReady"),
      condition("ServicesReady", state.servicesProblem, "AsConfigured", "NotReady"),
      condition("PolicyReady", state.policy.problem, "AsConfigured", "NotReady"),
      condition("Healthy", problems.length > 0 ? problems.join("; ") : undefined, "NoProblems", "Problems"),
    ],
    // Written as a merge patch: what is no more has to be null there.
    layers: {
      podNetwork: {
        mode: modes.podNetwork,
        cniConfiguration: state.cniInstalled,
        attached: devices,
        // By which a migration sees that every node knows which nodes have moved.
        activePeers: { count: state.activePeers.length, fingerprint: fingerprint(state.activePeers) },
        reason: state.podNetworkProblem ?? null,
      },
      services: {
        mode: modes.services,
        attached: sockets,
        ...state.serviceSize,
        reason: state.servicesProblem ?? null,
      },
      policy: {
        mode: state.policy.mode,
        policies: state.policy.mode === "off" ? null : state.policy.policies,
        pods: state.policy.mode === "off" ? null : state.policy.pods,
        audited: state.policy.audited ?? null,
        account: state.policy.account ?? null,
        reason: state.policy.problem ?? null,
      },
      security: { mode: "off", reason: notBuilt(modes.security === "enforce", "security") },
    },
    addresses: network?.addresses ?? [],
    devices: (network?.uplinks ?? []).map(({ name, mtu }) => ({ name, mtu, role: "uplink" })),
  };
}

const notBuilt = (asked: boolean, layer: string): string | null =>
  asked ? `this version of the agent has no ${layer} layer` : null;
