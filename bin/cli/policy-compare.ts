// SPDX-License-Identifier: Apache-2.0
// What policies say about connections between pods, and what the network makes of these connections.
import { type Decision, decide, type End } from "../../agent/policy/decide.ts";
import { identityText } from "../../agent/policy/identity.ts";
import { type Direction, type Policy, protocols } from "../../agent/policy/model.ts";
import { selects } from "../../agent/policy/selector.ts";
import { addressFamily } from "../../lib/addresses.ts";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { connectKube, type KubeTarget } from "../../lib/kube-connect.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";
import type {
  NodeTask,
  Outcome,
  PolicyComparison,
  PolicyDifference,
  TriedConnection,
} from "../../migrate/model/tools.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput } from "./options.ts";
import { PolicyWorld, podAddresses } from "./policy-trace.ts";
import { print, printable } from "./print.ts";
import { textTable } from "./text-table.ts";

export interface CompareFlags extends KubeTarget {
  output?: string;
}

/** Bounds of what is tried: it is a sample in large clusters. */
const mostConnections = 300;
const mostJudgements = 20_000;
const mostSubjects = 2;
const mostPorts = 6;
const mostPeers = 40;
/** Of each policy, direction and subject; first some more, for nobody may listen. */
const mostOfAVerdict = 2;
const mostAsked = 6;
const mostChosen = 3 * mostConnections;
/** Longest that a node may take. */
export const nodeMs = 90_000;
const nodesAtOnce = 8;
/** What differs is looked at again, for pods and policies come and go. */
const looks = 3;
const pauseMs = 3_000;

/** A pod with what is asked about it. */
interface Candidate {
  name: string;
  uid: string;
  node: string;
  addresses: readonly string[];
  /** The same for all its addresses but for that. */
  endAt(address: string): End;
  text: string;
  ports: readonly number[];
}

/** A connection, and what policies say about it. */
interface Judged extends TriedConnection {
  sender: Candidate;
  receiver: Candidate;
  verdict: "allowed" | "denied";
  reason: string;
  /** The policy for which it was chosen, and the direction and the pod of it. */
  policy: number;
  group: string;
}

/** Tries connections between pods, some about every policy, and tells where the network does not do what policies say. */
export async function comparePolicies(
  kube: KubeClient,
  nodeTask: Pick<NodeTask, "run">,
  { signal, report }: { signal: AbortSignal; report: (progress: string) => void },
): Promise<PolicyComparison> {
  const nodes = await nodesWithAgents(kube);
  const world = await PolicyWorld.read(kube, signal);
  const { policies, chosen } = chooseConnections(world, nodes);
  const errors = new Map<string, string>();
  const run = (connections: readonly Judged[]) => tryAll(nodeTask, connections, { signal, errors });
  report(`${chosen.length} connections could be tried: does somebody listen`);
  // Who does not listen to itself answers nobody, whatever policies say.
  const own = await run(dedupe(chosen.map((one) => ({ ...one, from: one.to, sender: one.receiver }))));
  const listening = new Set([...own].flatMap(([one, outcome]) => (outcome === "open" ? [placeOf(one)] : [])));
  const connections = someOfEach(chosen.filter((one) => listening.has(placeOf(one))));
  report(`${connections.length} connections`);
  const first = await run(connections);
  const answered = connections.filter((one) => isAnswer(first.get(one)));
  let differing = answered.flatMap((one) => differs(one, first.get(one)!));
  for (let look = 1; look < looks && differing.length > 0; look++) {
    await sleep(pauseMs, signal);
    report(`${differing.length} connections again`);
    const before = new Map(differing.map(({ one, network }) => [nameOf(one), network]));
    const again = judgeAgain(
      await PolicyWorld.read(kube, signal),
      nodes,
      differing.map(({ one }) => one),
    );
    const outcomes = await run(again);
    differing = again.flatMap((one) => {
      const outcome = outcomes.get(one);
      return differs(one, isAnswer(outcome) ? outcome : before.get(nameOf(one))!);
    });
  }
  return {
    ...{ policies, tried: new Set(answered.map(({ policy }) => policy)).size },
    connections: answered.length,
    denied: answered.filter(({ verdict }) => verdict === "denied").length,
    intercepted: connections.filter((one) => first.get(one) === "intercepted").length,
    differences: differing.map(({ one, network }) => differenceOf(one, network)),
    errors: [...errors].map(([node, message]) => ({ node, message })),
  };
}

const isAnswer = (outcome: Outcome | undefined): outcome is Outcome =>
  outcome !== undefined && outcome !== "absent" && outcome !== "intercepted";
const differs = (one: Judged, network: Outcome): { one: Judged; network: Outcome }[] =>
  (network === "open") === (one.verdict === "allowed") ? [] : [{ one, network }];
const placeOf = ({ to, port }: TriedConnection): string => `${to} ${port}`;
const nameOf = ({ from, to, port }: TriedConnection): string => `${from} ${to} ${port}`;
const dedupe = (connections: readonly Judged[]): Judged[] => [
  ...new Map(connections.map((one) => [nameOf(one), one])).values(),
];

/** Others run nothing that could ask. */
async function nodesWithAgents(kube: KubeClient): Promise<Set<string>> {
  const found = await kube.find(resourcePath("shunt.dev/v1alpha1", "nodes"));
  if (found === undefined)
    throw new ShuntError("Shunt is not installed in this cluster", {
      code: "NotInstalled",
      remedy:
        "Pods of the agent's image open the connections. Install it, in standby: shunt install --set modes.podNetwork=standby",
    });
  return new Set((found.items as KubeObject[]).map(({ metadata }) => metadata.name!));
}

/** Of those about each policy, direction and pod as many of each verdict as are enough. */
function someOfEach(connections: readonly Judged[]): Judged[] {
  const counts = new Map<string, number>();
  const some = connections.filter(({ group, verdict }) => {
    const count = (counts.get(`${group} ${verdict}`) ?? 0) + 1;
    counts.set(`${group} ${verdict}`, count);
    return count <= mostOfAVerdict;
  });
  return dedupe(some).slice(0, mostConnections);
}

const differenceOf = (
  { sender, receiver, from, to, port, verdict, reason }: Judged,
  network: Outcome,
): PolicyDifference => ({
  ...{ from: `${sender.name} (${from})`, to: `${receiver.name} (${to})`, port },
  ...{ policies: verdict, reason, network },
});

/** Every connection from its sender's node; of nodes that cannot be asked, nothing. */
async function tryAll(
  nodeTask: Pick<NodeTask, "run">,
  connections: readonly Judged[],
  { signal, errors }: { signal: AbortSignal; errors: Map<string, string> },
): Promise<Map<Judged, Outcome>> {
  const found = new Map<Judged, Outcome>();
  const rest = [...Map.groupBy(connections, ({ sender }) => sender.node)].values();
  const work = async (): Promise<void> => {
    for (const [node, ofNode] of rest) {
      if (errors.has(node)) continue;
      const asked = ofNode.map(({ from, to, port }) => ({ from, to, port }));
      try {
        const answer: any = await nodeTask.run("try-connections", node, { connections: asked }, { signal });
        for (const [index, one] of ofNode.entries()) found.set(one, answer.outcomes[index]);
      } catch (error) {
        signal.throwIfAborted();
        errors.set(node, errorMessage(error));
      }
    }
  };
  await Promise.all(Array.from({ length: nodesAtOnce }, work));
  return found;
}

/** Those whose pods are still there, as policies judge them now. */
function judgeAgain(
  world: PolicyWorld,
  nodes: ReadonlySet<string>,
  connections: readonly Judged[],
): Judged[] {
  const pods = new Map(candidatesOf(world, nodes).map((one) => [one.uid, one]));
  return connections.flatMap((one) => {
    const [sender, receiver] = [pods.get(one.sender.uid), pods.get(one.receiver.uid)];
    if (sender === undefined || receiver === undefined) return [];
    return [{ ...one, sender, receiver, ...judge(world, sender, receiver, one) }];
  });
}

function candidatesOf(world: PolicyWorld, nodes: ReadonlySet<string>): Candidate[] {
  const served = world.servedPorts();
  const pods = world.readyPods.filter(({ spec }) => nodes.has(spec?.nodeName));
  return pods.map((pod): Candidate => {
    const addresses = podAddresses(pod);
    const ends = new Map<string, End>();
    const endAt = (address: string): End => {
      const end = ends.get(address) ?? world.endOfPod(pod, address);
      ends.set(address, end);
      return end;
    };
    const { namespace, name, uid = `${namespace}/${name}` } = pod.metadata;
    const ports = new Set([...declaredPorts(pod), ...(served.get(addresses[0]!) ?? [])]);
    return {
      ...{ name: `${namespace}/${name}`, uid, node: pod.spec?.nodeName ?? "", addresses, endAt },
      ...{ text: identityText(endAt(addresses[0]!).labels), ports: [...ports] },
    };
  });
}

const declaredPorts = (pod: KubeObject): number[] =>
  (pod.spec?.containers ?? []).flatMap(({ ports = [] }: any) =>
    ports
      .filter(({ protocol = "TCP" }: any) => protocol === "TCP")
      .map(({ containerPort }: any) => containerPort),
  );

/** Ports that a policy's rules name by number. */
const namedPorts = ({ rules }: Policy, direction: Direction): number[] =>
  rules
    .filter((rule) => rule.direction === direction)
    .flatMap(({ ports = [] }) =>
      ports.flatMap((port) =>
        "first" in port && port.protocol === protocols.TCP && port.first === port.last ? [port.first] : [],
      ),
    );

/** Some connections about each policy: such as it allows, and such as it denies, in every family that both ends have. */
function chooseConnections(
  world: PolicyWorld,
  nodes: ReadonlySet<string>,
): { policies: number; chosen: Judged[] } {
  const candidates = candidatesOf(world, nodes);
  // Pods with the same labels are the same to policies.
  const groups = [...Map.groupBy(candidates, ({ text }) => text).values()];
  const policies = world.policies.filter(({ ofNodes, isImplied }) => !ofNodes && isImplied !== true);
  const chosen: Judged[] = [];
  let judgements = 0;
  for (const [index, policy] of policies.entries()) {
    const rotated = [...groups.slice(index % (groups.length || 1)), ...groups];
    const peers = rotated.slice(0, Math.min(groups.length, mostPeers));
    const subjects = groups
      .flat()
      .filter(({ endAt, addresses }) => selects(policy.subject, endAt(addresses[0]!).labels))
      .slice(0, mostSubjects);
    for (const direction of ["ingress", "egress"] as const) {
      if (!policy.isolates[direction] && !policy.rules.some((rule) => rule.direction === direction)) continue;
      for (const subject of subjects) {
        const left = { allowed: mostAsked, denied: mostAsked };
        const group = `${index} ${direction} ${subject.uid}`;
        for (const pods of peers) {
          const peer = pods.find(({ uid }) => uid !== subject.uid);
          if (peer === undefined) continue;
          const [sender, receiver] = direction === "ingress" ? [peer, subject] : [subject, peer];
          const ports = [...new Set([...receiver.ports, ...namedPorts(policy, direction)])];
          for (const connection of between(sender, receiver, ports.slice(0, mostPorts))) {
            if (++judgements > mostJudgements || chosen.length >= mostChosen)
              return { policies: policies.length, chosen };
            const judged = judge(world, sender, receiver, connection);
            if (left[judged.verdict] === 0) continue;
            left[judged.verdict]--;
            chosen.push({ ...connection, sender, receiver, policy: index, group, ...judged });
          }
        }
      }
    }
  }
  return { policies: policies.length, chosen };
}

const between = (sender: Candidate, receiver: Candidate, ports: readonly number[]): TriedConnection[] =>
  receiver.addresses.flatMap((to) => {
    const from = sender.addresses.find((one) => addressFamily(one) === addressFamily(to));
    return from === undefined ? [] : ports.map((port) => ({ from, to, port }));
  });

/** By the sender's policies and the receiver's. */
function judge(
  world: PolicyWorld,
  sender: Candidate,
  receiver: Candidate,
  { from, to, port }: TriedConnection,
): Pick<Judged, "verdict" | "reason"> {
  const [source, destination] = [sender.endAt(from), receiver.endAt(to)];
  const ask = (direction: Direction, subject: End, peer: End): Decision =>
    decide(world.policies, { direction, subject, peer, protocol: protocols.TCP, port }, world.behindService);
  const decisions = [ask("egress", source, destination), ask("ingress", destination, source)];
  const denying = decisions.find(({ verdict }) => verdict === "denied");
  const reason = denying?.reason ?? decisions.map((one) => one.reason).join("; ");
  return { verdict: denying === undefined ? "allowed" : "denied", reason };
}

/** `shunt policy compare`. */
export async function comparePoliciesCommand(env: CliEnv, flags: CompareFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  const kube = await connectKube(flags);
  try {
    const { createNodeTask } = await import("../../migrate/node-task/index.ts");
    const comparison = await comparePolicies(kube, createNodeTask(kube, { timeoutMs: nodeMs }), {
      signal: env.signal,
      report: (progress) => void (flags.output === undefined && env.stderr.write(`${progress}\n`)),
    });
    await print(env, flags.output, comparison, () => formatComparison(comparison));
    if (comparison.differences.length + comparison.errors.length > 0)
      throw new ShuntError("policies and the network are not known to agree", { code: "Reported" });
  } finally {
    kube.close();
  }
}

const networkWords: Record<Outcome, string> = {
  ...{ open: "lets it pass", refused: "refuses it", unreachable: "refuses it" },
  ...{ silent: "drops it", absent: "was not asked", intercepted: "was not asked" },
};

/** For people. */
function formatComparison(comparison: PolicyComparison): string {
  const { policies, tried, connections, denied, intercepted, differences, errors } = comparison;
  const lines = [
    `${connections} connections between pods, about ${tried} of ${policies} policies: ${connections - denied} allowed by policies, ${denied} denied`,
    ...(differences.length > 0
      ? [`The network does something else with ${differences.length} of them:`]
      : connections > 0
        ? ["The network does with each what policies say."]
        : []),
    ...(intercepted > 0
      ? [`${intercepted} others are taken by proxies of their pods: nothing is known of them.`]
      : []),
  ];
  if (differences.length > 0)
    lines.push(
      "",
      ...textTable(
        ["FROM", "TO", "PORT", "POLICIES", "NETWORK", "WHY"],
        differences.map(({ from, to, port, policies: said, network, reason }) => [
          ...[from, to, String(port), said, networkWords[network], reason],
        ]),
      ),
    );
  for (const { node, message } of errors) lines.push(`Not asked: ${node}: ${printable(message)}`);
  return `${lines.join("\n")}\n`;
}
