// SPDX-License-Identifier: Apache-2.0
// What the agents' kernel maps say about a connection that was judged from the objects.
import type { LiveTrace } from "../../agent/policy/live-trace.ts";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { type AgentNode, askAgent, findAgents } from "./agents.ts";
import type { MapQuestion, Traced, TracedPort } from "./policy-trace.ts";

/** One agent's answer. */
export interface MapAnswer extends MapQuestion, Partial<LiveTrace> {
  /** Why there is none. */
  error?: string;
  /** The maps say something else than the objects. */
  differs: boolean;
}

/** Asks the agents of a connection's ends; none where Shunt is not installed. */
export async function askMaps(
  kube: KubeClient,
  signal: AbortSignal,
  questions: readonly MapQuestion[],
  { traced, port }: { traced: Traced; port: TracedPort },
): Promise<MapAnswer[]> {
  if (questions.length === 0) return [];
  const { nodes, healthPort } = await findAgents(kube).catch((error: unknown) => {
    if (error instanceof ShuntError && error.code === "NotInstalled") return { nodes: [], healthPort: 0 };
    throw error;
  });
  const asked = questions.flatMap((question): [MapQuestion, AgentNode][] => {
    const agent = nodes.find(({ name }) => name === question.node);
    return agent === undefined ? [] : [[question, agent]];
  });
  return await Promise.all(
    asked.map(async ([question, agent]): Promise<MapAnswer> => {
      const { direction, pod, peer } = question;
      const query = { direction, pod, peer, protocol: String(port.protocol), port: String(port.port) };
      const ask = askAgent<LiveTrace>(kube, { healthPort, path: "/policy/trace", query, signal });
      try {
        const answer = await ask(agent);
        const said = answer.decision?.verdict;
        const byObjects = traced[direction]?.verdict;
        return {
          ...question,
          ...answer,
          differs: said !== undefined && (said !== "allowed") !== (byObjects === "denied"),
        };
      } catch (error) {
        signal.throwIfAborted();
        return { ...question, error: errorMessage(error), differs: false };
      }
    }),
  );
}

/** A line for each agent that was asked. */
export function mapLines(answers: readonly MapAnswer[]): string[] {
  const words = ({ mode, decision, error }: MapAnswer): string => {
    if (error !== undefined) return `no answer: ${error}`;
    if (mode === "off") return "policies are off there";
    if (decision === undefined) return "it has no interface of the agent there";
    const { verdict, judged, identity, rule } = decision;
    const how = judged ? (rule === "" ? "" : ` by ${rule}`) : ": no policy is about it";
    return `${verdict === "audited" ? "denied, and let through: only audited" : verdict}${how}; the peer is identity ${identity}`;
  };
  return answers.map(
    (answer) =>
      `maps of ${answer.node}, ${answer.direction} of ${answer.pod}: ${words(answer)}${answer.differs ? " (DIFFERS from the objects)" : ""}`,
  );
}
