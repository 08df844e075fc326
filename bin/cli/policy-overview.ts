// SPDX-License-Identifier: Apache-2.0
// Policies of a cluster: what the objects say, and where that is in force.

import { type Policy, pathText, type Tier } from "../../agent/policy/model.ts";
import { hostName } from "../../agent/policy/node-peers.ts";
import type { NodePolicies, PolicyView } from "../../agent/policy/policy-views.ts";
import { parsePolicy } from "../../agent/policy/validate.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { ruleWords, subjectWords } from "./policy-words.ts";
import { printable } from "./print.ts";
import { textTable } from "./text-table.ts";

/** A policy on one node. */
export interface PolicyOnNode {
  node: string;
  mode: NodePolicies["mode"];
  inForce: boolean;
  /** Why it is not in force. */
  message: string;
  /** namespace/name; "host" is the node itself. */
  pods: string[];
}

/** One policy object over all nodes that answered. */
export interface PolicyOverview {
  kind: string;
  namespace: string;
  name: string;
  valid: boolean;
  /** Why it is not valid. */
  message: string;
  /** When it was made. */
  created: string;
  nodes: PolicyOnNode[];
}

/** What the object says beyond that. */
export interface PolicyDetails extends PolicyOverview {
  tier: Tier | undefined;
  priority: number | undefined;
  about: string[];
  isolates: ("ingress" | "egress")[];
  rules: { at: string; text: string }[];
}

/** What nodes answered, by their names. */
export type NodeAnswers = ReadonlyMap<string, NodePolicies>;

const keyOf = ({ kind, namespace, name }: Pick<PolicyView, "kind" | "namespace" | "name">): string =>
  `${kind} ${namespace}/${name}`;
const titleOf = ({ kind, namespace, name }: PolicyOverview): string =>
  `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;

/** Puts together what objects say and what nodes answered; by namespace and name. */
export function overviewOf(objects: readonly KubeObject[], answers: NodeAnswers): PolicyOverview[] {
  const views = new Map(
    [...answers].map(([node, { policies }]) => [node, new Map(policies.map((one) => [keyOf(one), one]))]),
  );
  const order = ({ namespace, name, kind }: PolicyOverview): string => [namespace, name, kind].join("\0");
  return objects
    .map((object): PolicyOverview => {
      const { kind = "", metadata } = object;
      const { namespace = "", name = "", creationTimestamp: created = "" } = metadata;
      const names = { kind, namespace, name };
      const nodes = [...answers].map(([node, answer]) =>
        onNode(node, answer, views.get(node)?.get(keyOf(names))),
      );
      return { ...names, ...validityOf(object), created, nodes };
    })
    .toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
}

function onNode(node: string, { mode, problem }: NodePolicies, view: PolicyView | undefined): PolicyOnNode {
  if (mode === "off") return { node, mode, inForce: false, message: "policies are off here", pods: [] };
  const absent = { inForce: false, message: problem ?? "the agent has not heard of it", pods: [] };
  const { inForce, message, pods } = view ?? absent;
  return { node, mode, inForce, message, pods };
}

/** As the object says, else by what it contains. */
function validityOf(object: KubeObject): { valid: boolean; message: string } {
  const conditions: any[] = object.status?.conditions ?? [];
  const condition = conditions.find(({ type }) => type === "Valid");
  if (condition?.status === "True") return { valid: true, message: "" };
  if (condition?.status === "False") return { valid: false, message: String(condition.message ?? "") };
  const { problems } = parsePolicy(object);
  const texts = problems.map(({ path, message }) => `${pathText(path)}: ${message}`);
  return { valid: texts.length === 0, message: texts.join("; ") };
}

/** The same with what its rules say. */
export function detailsOf(object: KubeObject, overview: PolicyOverview): PolicyDetails {
  const policies: readonly Policy[] = parsePolicy(object).policies;
  return {
    ...overview,
    tier: policies[0]?.tier,
    priority: policies[0]?.priority,
    about: policies.map(subjectWords),
    isolates: (["ingress", "egress"] as const).filter((one) =>
      policies.some(({ isolates }) => isolates[one]),
    ),
    rules: policies.flatMap(({ rules }) => rules.map((rule) => ({ at: rule.at, text: ruleWords(rule) }))),
  };
}

/** The list for people. */
export function formatOverview(
  policies: readonly PolicyOverview[],
  answers: NodeAnswers,
  now = Date.now(),
): string {
  if (policies.length === 0) return "There are no policies.\n";
  const heads = ["KIND", "NAMESPACE", "NAME", "VALID", "IN FORCE", "PODS", "AGE"];
  const rows = policies.map(({ kind, namespace, name, valid, created, nodes }) => [
    ...[kind, namespace || "-", name, valid ? "True" : "False", nodesText(nodes)],
    ...[String(podsOf(nodes).length), ageText(now - Date.parse(created))],
  ]);
  return `${[...textTable(heads, rows), ...notesOf(policies, answers)].join("\n")}\n`;
}

/** On how many nodes it is enforced, of how many, and on how many it is audited instead. */
function nodesText(nodes: readonly PolicyOnNode[]): string {
  const count = (mode: string): number => nodes.filter((one) => one.inForce && one.mode === mode).length;
  const audited = count("audit");
  return `${count("enforce")}/${nodes.length}${audited === 0 ? "" : `, ${audited} audited`}`;
}

/** Without the nodes themselves. */
const podsOf = (nodes: readonly PolicyOnNode[]): string[] =>
  [...new Set(nodes.flatMap(({ pods }) => pods))].filter((pod) => pod !== hostName);

function notesOf(policies: readonly PolicyOverview[], answers: NodeAnswers): string[] {
  const off = [...answers].filter(([, { mode }]) => mode === "off").map(([node]) => node);
  const failing = [...answers].flatMap(([node, { problem }]) =>
    problem === undefined ? [] : [[node, problem]],
  );
  const notes = [
    ...(off.length === 0 ? [] : [`  policies are off on ${off.join(", ")}`]),
    ...failing.map(([node, problem]) => `  ${node}: ${printable(problem!)}`),
    ...policies.flatMap((policy) => {
      const missing = policy.nodes.filter(
        ({ node, inForce, mode, message }) =>
          !inForce && mode !== "off" && message !== answers.get(node)?.problem,
      );
      const byMessage = Map.groupBy(missing, ({ message }) => message);
      if (missing.length === 0) return [];
      return [
        `  ${printable(titleOf(policy))}`,
        ...[...byMessage].map(
          ([message, nodes]) => `    ${nodes.map(({ node }) => node).join(", ")}: ${printable(message)}`,
        ),
      ];
    }),
  ];
  return notes.length === 0 ? [] : ["", "Not in force:", ...notes];
}

/** One policy for people. */
export function formatDetails(details: PolicyDetails, now = Date.now()): string {
  const { kind, valid, message, created, tier, priority, about, isolates, rules, nodes } = details;
  const isTiered = tier === "admin" || tier === "baseline";
  const rank = kind === "BaselineAdminNetworkPolicy" ? "baseline" : `${tier}, priority ${priority}`;
  const facts: [string, string][] = [
    ["valid", valid ? "True" : `False: ${message}`],
    ["tier", isTiered ? rank : ""],
    ["about", about.join("; ")],
    ["isolates", tier === "namespace" ? isolates.join(" and ") || "nothing" : ""],
    ["age", ageText(now - Date.parse(created))],
  ];
  const heads = ["NODE", "IN FORCE", "PODS", "WHY"];
  const rows = nodes.map(({ node, mode, inForce, message: why, pods }) => [
    ...[node, inForce ? (mode === "audit" ? "audited" : "yes") : "no", pods.join(", ") || "-", why],
  ]);
  const ruleLines = rules.map(({ at, text }) => `  ${printable(`${at}: ${text}`)}`);
  return `${[
    printable(titleOf(details)),
    ...facts
      .filter(([, text]) => text !== "")
      .map(([name, text]) => `  ${name.padEnd(8)}  ${printable(text)}`),
    ...(ruleLines.length === 0 ? [] : ["", "Rules:", ...ruleLines]),
    "",
    ...textTable(heads, rows),
  ].join("\n")}\n`;
}

/** As kubectl has it, roughly: 45s, 12m, 5h, 3d. */
function ageText(ms: number): string {
  if (!(ms >= 0)) return "-";
  const seconds = Math.floor(ms / 1000);
  const units: [string, number][] = [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
  ];
  const [unit, size] = units.find(([, length]) => seconds >= 2 * length) ?? ["s", 1];
  return `${Math.floor(seconds / size)}${unit}`;
}
