// SPDX-License-Identifier: Apache-2.0
// What policies say about connections between pods, and what the network makes of these connections.
import { type Decision, decide, type End } from "../../agent/policy/decide.ts";
import { identityText } from "../../agent/policy/identity.ts";
import { type Direction, type Policy, protocols } from "../../agent/policy/model.ts";
import { selects } from "../../agent/policy/selector.ts";
import { addressFamily } from "../../lib/addresses.ts";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
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
const mostPorts = 3;
const mostPeers = 40;
/** Of each policy, direction and subject. */
const mostOfAVerdict = 2;
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
}

/** Tries connections between pods, some about every policy, and tells where the network does not do what policies say. */
export async function comparePolicies(
  kube: KubeClient,
  nodeTask: Pick<NodeTask, "run">,
  { signal, report }: { signal: AbortSignal; report: (progress: string) => void },
): Promise<PolicyComparison> {
  const world = await PolicyWorld.read(kube, signal);
  const { policies, tried, connections: chosen } = chooseConnections(world);
  const errors = new Map<string, string>();
  const run = (connections: readonly Judged[]) => tryAll(nodeTask, connections, { signal, errors });
  report(`${chosen.length} connections about ${tried} of ${policies} policies: does somebody listen`);
  // Who does not listen to itself answers nobody, whatever policies say.
  const listening = new Set<string>();
  const own = chosen.map((one) => ({ ...one, from: one.to, sender: one.receiver }));
  const answers = await run(dedupe(own));
  for (const [one, outcome] of answers) if (outcome === "open") listening.add(`${one.to} ${one.port}`);
  const connections = chosen.filter(({ to, port }) => listening.has(`${to} ${port}`));
  let differing = connections;
  let outcomes = new Map<Judged, Outcome>();
  for (let look = 0; look < looks && differing.length > 0; look++) {
    if (look > 0) {
      await sleep(pauseMs, signal);
      differing = judgeAgain(await PolicyWorld.read(kube, signal), differing);
    }
    report(`${differing.length} connections, ${look === 0 ? "at first" : "again"}`);
    outcomes = await run(differing);
    differing = [...outcomes]
      .filter(
        ([{ verdict }, outcome]) => outcome !== "absent" && (outcome === "open") !== (verdict === "allowed"),
      )
      .map(([one]) => one);
  }
  return {
    ...{ policies, tried, connections: connections.length },
    denied: connections.filter(({ verdict }) => verdict === "denied").length,
    differences: differing.map((one) => differenceOf(one, outcomes.get(one)!)),
    errors: [...errors].map(([node, message]) => ({ node, message })),
  };
}

const differenceOf = (
  { sender, receiver, from, to, port, verdict, reason }: Judged,
  network: Outcome,
): PolicyDifference => ({
  ...{ from: `${sender.name} (${from})`, to: `${receiver.name} (${to})`, port },
  ...{ policies: verdict, reason, network },
});

function dedupe(connections: readonly Judged[]): Judged[] {
  return [...new Map(connections.map((one) => [`${one.from} ${one.to} ${one.port}`, one])).values()];
}

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
function judgeAgain(world: PolicyWorld, connections: readonly Judged[]): Judged[] {
  const pods = new Map(candidatesOf(world).map((one) => [one.uid, one]));
  return connections.flatMap(({ sender, receiver, from, to, port }) => {
    const [a, b] = [pods.get(sender.uid), pods.get(receiver.uid)];
    return a === undefined || b === undefined ? [] : [judge(world, a, b, { from, to, port })];
  });
}

function candidatesOf(world: PolicyWorld): Candidate[] {
  const served = world.servedPorts();
  return world.readyPods.map((pod): Candidate => {
    const addresses = podAddresses(pod);
    const ends = new Map<string, End>();
    const endAt = (address: string): End => {
      const end = ends.get(address) ?? world.endOfPod(pod, address);
      ends.set(address, end);
      return end;
    };
    const { namespace, name, uid = "" } = pod.metadata;
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
function chooseConnections(world: PolicyWorld): { policies: number; tried: number; connections: Judged[] } {
  const candidates = candidatesOf(world);
  // Pods with the same labels are the same to policies.
  const groups = [...Map.groupBy(candidates, ({ text }) => text).values()];
  const policies = world.policies.filter(({ ofNodes, isImplied }) => !ofNodes && isImplied !== true);
  const chosen = new Map<string, Judged>();
  const about = new Set<Policy>();
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
        const left = { allowed: mostOfAVerdict, denied: mostOfAVerdict };
        for (const group of peers) {
          const peer = group.find(({ uid }) => uid !== subject.uid);
          if (peer === undefined) continue;
          const [sender, receiver] = direction === "ingress" ? [peer, subject] : [subject, peer];
          const ports = [...new Set([...namedPorts(policy, direction), ...receiver.ports])];
          for (const connection of between(sender, receiver, ports.slice(0, mostPorts))) {
            if (++judgements > mostJudgements || chosen.size >= mostConnections)
              return { policies: policies.length, tried: about.size, connections: [...chosen.values()] };
            const judged = judge(world, sender, receiver, connection);
            if (left[judged.verdict] === 0) continue;
            left[judged.verdict]--;
            about.add(policy);
            chosen.set(`${connection.from} ${connection.to} ${connection.port}`, judged);
          }
        }
      }
    }
  }
  return { policies: policies.length, tried: about.size, connections: [...chosen.values()] };
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
): Judged {
  const [source, destination] = [sender.endAt(from), receiver.endAt(to)];
  const ask = (direction: Direction, subject: End, peer: End): Decision =>
    decide(world.policies, { direction, subject, peer, protocol: protocols.TCP, port }, world.behindService);
  const decisions = [ask("egress", source, destination), ask("ingress", destination, source)];
  const denying = decisions.find(({ verdict }) => verdict === "denied");
  const reason = denying?.reason ?? decisions.map((one) => one.reason).join("; ");
  return { sender, receiver, from, to, port, verdict: denying === undefined ? "allowed" : "denied", reason };
}

/** `shunt policy compare`. */
export async function comparePoliciesCommand(env: CliEnv, flags: CompareFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  const kube = await connectKube(flags);
  try {
    const { createNodeTask } = await import("../../migrate/node-task/index.ts");
    const comparison = await comparePolicies(kube, createNodeTask(kube), {
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
  ...{ silent: "drops it", absent: "was not asked" },
};

/** For people. */
function formatComparison(comparison: PolicyComparison): string {
  const { policies, tried, connections, denied, differences, errors } = comparison;
  const lines = [
    `${connections} connections between pods, about ${tried} of ${policies} policies: ${connections - denied} allowed by policies, ${denied} denied`,
    ...(differences.length > 0
      ? [`The network does something else with ${differences.length} of them:`]
      : connections > 0
        ? ["The network does with each what policies say."]
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
