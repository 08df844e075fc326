// SPDX-License-Identifier: Apache-2.0
import type { EndpointView, NodePolicies } from "../../agent/policy/policy-views.ts";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { type PolicyKind, policyResources } from "../../lib/policy-schema.ts";
import {
  type AgentSession,
  type AskedNode,
  checkAnswers,
  chosenNodes,
  type Installation,
  withAgents,
} from "./agents.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput } from "./options.ts";
import { listPolicyObjects } from "./policy-objects.ts";
import { detailsOf, formatDetails, formatOverview, type NodeAnswers, overviewOf } from "./policy-overview.ts";
import { print } from "./print.ts";
import { textTable } from "./text-table.ts";

export interface ListFlags extends KubeTarget {
  namespace?: string;
  output?: string;
}
export interface GetFlags extends KubeTarget {
  output?: string;
}
export interface EndpointFlags extends KubeTarget {
  namespace?: string;
  node?: string;
  output?: string;
}

const path = "/policy/policies";
const answered = (asked: readonly AskedNode[]) =>
  asked.map(({ name, error }) => ({ name, ...(error === undefined ? {} : { error }) }));

/** Asks every node; what they answer is in the order of the nodes. */
async function askAll(
  { nodes }: Installation,
  ask: AgentSession<NodePolicies>["ask"],
): Promise<{ asked: AskedNode[]; answers: NodeAnswers }> {
  const found = new Map<string, NodePolicies>();
  const asked = await ask(nodes, {}, ({ name }, answer) => void found.set(name, answer));
  const inOrder = asked.filter(({ name }) => found.has(name));
  return { asked, answers: new Map(inOrder.map(({ name }) => [name, found.get(name)!])) };
}

/** `shunt policy list`. */
export async function listPolicies(env: CliEnv, flags: ListFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  await withAgents<NodePolicies>(env, flags, path, async ({ kube, installation, ask }) => {
    const objects = await listPolicyObjects(kube, env.signal);
    const { asked, answers } = await askAll(installation, ask);
    const policies = overviewOf(
      objects.filter(
        ({ metadata }) => flags.namespace === undefined || metadata.namespace === flags.namespace,
      ),
      answers,
    );
    await print(env, flags.output, { nodes: answered(asked), policies }, () =>
      formatOverview(policies, answers),
    );
    checkAnswers(asked);
  });
}

/** `shunt policy get`. */
export async function getPolicy(env: CliEnv, policy: string, flags: GetFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  const isNamed = namedBy(policy);
  await withAgents<NodePolicies>(env, flags, path, async ({ kube, installation, ask }) => {
    const object = theOne(policy, (await listPolicyObjects(kube, env.signal)).filter(isNamed));
    const { asked, answers } = await askAll(installation, ask);
    const details = detailsOf(object, overviewOf([object], answers)[0]!);
    await print(env, flags.output, details, () => formatDetails(details));
    checkAnswers(asked);
  });
}

/** Whether an object is meant by [KIND/]NAMESPACE/NAME, or by [KIND/]NAME when it is clusterwide. */
function namedBy(text: string): (object: KubeObject) => boolean {
  const parts = text.split("/");
  if (parts.length > 3 || parts.includes(""))
    throw new UsageError(
      `"${text}" is not a policy`,
      "Write NAMESPACE/NAME, NAME when it is clusterwide, or KIND before it.",
    );
  const [kindName = "", ...rest] = parts;
  return ({ kind = "", metadata: { namespace, name = "" } }) => {
    const own = namespace === undefined ? name : `${namespace}/${name}`;
    return (
      text === own ||
      (rest.join("/") === own && kindNames(kind as PolicyKind).includes(kindName.toLowerCase()))
    );
  };
}

const shortNames: Record<PolicyKind, string> = {
  NetworkPolicy: "netpol",
  CiliumNetworkPolicy: "cnp",
  CiliumClusterwideNetworkPolicy: "ccnp",
  AdminNetworkPolicy: "anp",
  BaselineAdminNetworkPolicy: "banp",
  // That of Cilium's kind too, which has a namespace.
  ClusterNetworkPolicy: "cnp",
};
const kindNames = (kind: PolicyKind): string[] => [
  kind.toLowerCase(),
  shortNames[kind],
  policyResources[kind].plural,
];

function theOne(text: string, found: readonly KubeObject[]): KubeObject {
  const [one, ...more] = found;
  if (one === undefined)
    throw new ShuntError(`There is no policy ${text}`, {
      code: "NotFound",
      remedy: "See: shunt policy list",
    });
  if (more.length > 0)
    throw new UsageError(
      `Several policies are called ${text}`,
      `Name its kind: ${found.map(({ kind }) => `${shortNames[kind as PolicyKind]}/${text}`).join(" or ")}.`,
    );
  return one;
}

/** `shunt policy endpoints`. */
export async function listEndpoints(env: CliEnv, flags: EndpointFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  await withAgents<EndpointView[]>(env, flags, "/policy/endpoints", async ({ installation, ask }) => {
    const found: NodeEndpoint[] = [];
    const asked = await ask(chosenNodes(installation, flags.node), {}, ({ name }, views) => {
      for (const view of views)
        if (flags.namespace === undefined || view.pod.startsWith(`${flags.namespace}/`))
          found.push({ node: name, ...view });
    });
    const order = ({ node, pod }: NodeEndpoint): string => `${node}\0${pod}`;
    const endpoints = found.toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
    await print(env, flags.output, { nodes: answered(asked), endpoints }, () => formatEndpoints(endpoints));
    checkAnswers(asked);
  });
}

/** A pod on its node. */
export type NodeEndpoint = { node: string } & EndpointView;

/** The pods for people. */
export function formatEndpoints(endpoints: readonly NodeEndpoint[]): string {
  if (endpoints.length === 0) return "There are no pods of Shunt's network.\n";
  const heads = ["NODE", "POD", "ADDRESSES", "IDENTITY", "INGRESS", "EGRESS", "POLICIES", "LABELS"];
  const rows = endpoints.map(({ node, pod, addresses, identity, ingress, egress, policies, labels }) => [
    ...[node, pod, addresses.join(","), identity === 0 ? "-" : String(identity), ingress, egress],
    ...[policies.join(", ") || "-", ownLabels(labels) || "-"],
  ]);
  return `${textTable(heads, rows).join("\n")}\n`;
}

/** Those of the pod or node itself. */
const ownLabels = (labels: EndpointView["labels"]): string =>
  Object.entries(labels)
    .filter(([key]) => /^(k8s|node):/.test(key) && !key.startsWith("k8s:io."))
    .map(([key, value]) => `${key.slice(key.indexOf(":") + 1)}=${value}`)
    .join(",");
