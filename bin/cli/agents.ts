// SPDX-License-Identifier: Apache-2.0
import { readStatus } from "../../installer/index.ts";
import { agentName, configMap, configName, namespace } from "../../installer/names.ts";
import { errorMessage, ShuntError, UsageError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { connectKube, type KubeTarget } from "../../lib/kube-connect.ts";
import { withDeadline } from "../../lib/wait.ts";
import { type ExecStream, openExec } from "../../test/connectivity/exec.ts";
import type { CliEnv } from "./env.ts";
import { printable } from "./print.ts";

const mostAtOnce = 8;

/** A node that was asked. */
export interface AskedNode {
  name: string;
  /** The mode of its layer services; empty while it has not reported. */
  services: string;
  /** The same of podNetwork. */
  podNetwork: string;
  /** Why there is no answer of it; undefined when there is one. */
  error?: string;
}

/** Whom to ask. */
export interface AgentNode extends Omit<AskedNode, "error"> {
  /** Empty when there is none. */
  agentPod: string;
  ready: boolean;
}

/** The nodes of an installation, and what of its configuration matters here. */
export interface Installation {
  nodes: AgentNode[];
  healthPort: number;
  nodePortRange: [first: number, last: number];
}

/** Finds the agents. Throws when Shunt is not installed. */
export async function findAgents(kube: KubeClient): Promise<Installation> {
  const [status, config] = await Promise.all([readStatus(kube), kube.find(configMap(configName))]);
  if (!status.installed)
    throw new ShuntError("Shunt is not installed in this cluster", {
      code: "NotInstalled",
      remedy: "Install it with: shunt install",
    });
  const { parse } = await import("yaml");
  const { healthPort = 9879, services } = parse(config?.data?.["config.yaml"] ?? "") ?? {};
  const [first, last] = String(services?.nodePortRange ?? "30000-32767").split("-");
  const mode = (layer: unknown): string => (layer as { mode?: string } | undefined)?.mode ?? "";
  return {
    healthPort,
    nodePortRange: [Number(first), Number(last)],
    nodes: status.nodes.map(({ name, agentPod, ready, layers }) => ({
      ...{ name, agentPod, ready },
      ...{ services: mode(layers.services), podNetwork: mode(layers.podNetwork) },
    })),
  };
}

/** The node of that name. Throws UsageError when there is none. */
export function nodeNamed(nodes: readonly AgentNode[], name: string): AgentNode {
  const found = nodes.find((node) => node.name === name);
  if (found === undefined)
    throw new UsageError(`The cluster has no Linux node "${name}"`, "See: kubectl get nodes");
  return found;
}

/** Asks a node's agent. */
type Ask<Answer> = (node: AgentNode) => Promise<Answer>;

/**
 * Asks nodes, several at once, and hands over each answer as it comes: no more than what was asked for at once is kept.
 * A node that does not answer is told in the result.
 */
export async function askNodes<Answer>(
  nodes: readonly AgentNode[],
  ask: Ask<Answer>,
  take: (node: AskedNode, answer: Answer) => void,
): Promise<AskedNode[]> {
  const asked = new Map<string, AskedNode>();
  const rest = nodes.values();
  const work = async (): Promise<void> => {
    for (const node of rest) {
      const { name, services, podNetwork } = node;
      const told: AskedNode = { name, services, podNetwork };
      asked.set(name, told);
      const found = await ask(node).catch((error: unknown) => {
        told.error = errorMessage(error);
      });
      if (found !== undefined) take(told, found);
    }
  };
  await Promise.all(Array.from({ length: mostAtOnce }, work));
  return nodes.map(({ name }) => asked.get(name)!);
}

/** How an agent is asked. */
interface Question {
  healthPort: number;
  /** E.g. /services. */
  path: string;
  query?: Readonly<Record<string, string | undefined>>;
  signal: AbortSignal;
  /** Until a node is given up. Default 10,000. */
  timeoutMs?: number;
}

/** Asks the agent itself, from within its pod: it answers on the node's loopback address only. */
export function askAgent<Answer>(kube: KubeClient, question: Question): Ask<Answer> {
  const { healthPort, path, query = {}, signal, timeoutMs = 10_000 } = question;
  const words = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
  const url = `http://127.0.0.1:${healthPort}${path}?${new URLSearchParams(words)}`;
  // It begins when it is told to: what is written before the streams are followed would be lost.
  const whenTold = ["/bin/busybox", "sh", "-c", 'read -r _ && exec "$@"', "sh"];
  // Nothing stays when the agent hangs, and no proxy is asked, whatever the environment says.
  const limit = ["/bin/busybox", "timeout", String(Math.ceil(timeoutMs / 1000))];
  const command = [...whenTold, ...limit, "/bin/busybox", "wget", "-q", "-Y", "off", "-O", "-", url];
  return async ({ agentPod }) => {
    signal.throwIfAborted();
    if (agentPod === "") throw new ShuntError("it has no agent pod");
    const { error, stdout, stderr } = await execText(kube, agentPod, command, { signal, timeoutMs });
    if (error !== undefined) throw new ShuntError(explain(stderr, error, healthPort));
    return JSON.parse(stdout) as Answer;
  };
}

/** A connection to a cluster, with the agents that are there. */
export interface AgentSession<Answer> {
  kube: KubeClient;
  installation: Installation;
  /** Asks these nodes, and says on standard error which did not answer. */
  ask(
    nodes: readonly AgentNode[],
    query: NonNullable<Question["query"]>,
    take: (node: AskedNode, answer: Answer) => void,
  ): Promise<AskedNode[]>;
}

/** Does work with the agents of a cluster, which are asked for this path. */
export async function withAgents<Answer>(
  env: CliEnv,
  flags: KubeTarget,
  path: string,
  work: (session: AgentSession<Answer>) => Promise<void>,
): Promise<void> {
  const kube = await connectKube(flags);
  try {
    const installation = await findAgents(kube);
    const { healthPort } = installation;
    const ask: AgentSession<Answer>["ask"] = async (nodes, query, take) => {
      const question = askAgent<Answer>(kube, { healthPort, path, query, signal: env.signal });
      const asked = await askNodes(nodes, question, take);
      env.signal.throwIfAborted();
      for (const { name, error } of asked)
        if (error !== undefined) env.stderr.write(`No answer from node ${name}: ${printable(error)}\n`);
      return asked;
    };
    await work({ kube, installation, ask });
  } finally {
    kube.close();
  }
}

export const chosenNodes = ({ nodes }: Installation, name: string | undefined): AgentNode[] =>
  name === undefined ? nodes : [nodeNamed(nodes, name)];

/** Ends the command with code 1 when a node did not answer, which was said already. */
export function checkAnswers(asked: readonly AskedNode[]): void {
  if (asked.some(({ error }) => error !== undefined))
    throw new ShuntError("a node did not answer", { code: "Reported" });
}

interface CommandOutput {
  stdout: string;
  stderr: string;
  error: Error | undefined;
}

/** Runs a command that waits for a line, in an agent's container, to its end. Throws when it takes too long. */
async function execText(
  kube: KubeClient,
  pod: string,
  command: readonly string[],
  { signal, timeoutMs }: { signal: AbortSignal; timeoutMs: number },
): Promise<CommandOutput> {
  const target = { namespace, pod, container: "agent" };
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let stream: ExecStream | undefined;
  let isOver = false;
  let onAbort = (): void => undefined;
  const ended = new Promise<CommandOutput>((resolve, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const text = (chunks: Buffer[]): string => Buffer.concat(chunks).toString("utf8");
    const onEnd = (error: Error | undefined): void =>
      resolve({ stdout: text(stdout), stderr: text(stderr), error });
    const handlers = {
      onStdout: (chunk: Buffer) => void stdout.push(chunk),
      onStderr: (chunk: Buffer) => void stderr.push(chunk),
      onEnd,
    };
    openExec(kube, target, command, handlers, timeoutMs).then((opened) => {
      stream = opened;
      if (isOver) opened.close();
      else opened.write("\n");
    }, reject);
  });
  try {
    return await withDeadline(`no answer from ${agentName} pod ${pod}`, ended, timeoutMs);
  } finally {
    isOver = true;
    signal.removeEventListener("abort", onAbort);
    stream?.close();
  }
}

/** What wget's words mean here. */
function explain(stderr: string, error: Error, port: number): string {
  if (/ 404 /.test(stderr))
    return "its agent is of a version that cannot tell (shunt upgrade brings it to this one)";
  if (/ 503 /.test(stderr)) return "its kernel programs are not loaded";
  if (/can't connect|refused/i.test(stderr)) return `its agent does not answer on port ${port}`;
  return [errorMessage(error), stderr.trim()].filter((text) => text !== "").join(": ");
}
