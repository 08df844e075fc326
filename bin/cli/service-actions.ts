// SPDX-License-Identifier: Apache-2.0
import type { ServiceView } from "../../agent/service-reader.ts";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { checkAnswers, chosenNodes, nodeNamed, withAgents } from "./agents.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput } from "./options.ts";
import { print } from "./print.ts";
import { formatDetails, type NodeService } from "./service-details.ts";
import { formatSummaries, ServiceTotals } from "./service-summary.ts";
import { formatTraces, traceService } from "./service-trace.ts";

export interface ListFlags extends KubeTarget {
  node?: string;
  namespace?: string;
  allNamespaces?: boolean;
  output?: string;
}
export interface GetFlags extends KubeTarget {
  node?: string;
  output?: string;
}
export interface TraceFlags extends KubeTarget {
  port?: string;
  fromNode?: string;
  output?: string;
}

/** `shunt service list`. */
export async function listServices(env: CliEnv, flags: ListFlags): Promise<void> {
  const { namespace, allNamespaces, output } = flags;
  checkOutput(output, ["json", "yaml", "wide"]);
  if (namespace !== undefined && allNamespaces === true)
    throw new UsageError("--namespace and --all-namespaces exclude each other");
  await withAgents<ServiceView[]>(env, flags, "/services", async ({ installation, ask }) => {
    const totals = new ServiceTotals();
    const nodes = chosenNodes(installation, flags.node);
    const asked = await ask(nodes, { namespace }, (node, services) => totals.add(node, services));
    const services = totals.list();
    await print(env, output, { nodes: asked, services }, () =>
      formatSummaries(services, { wide: output === "wide", expected: totals.expected }),
    );
    checkAnswers(asked);
  });
}

/** `shunt service get`. */
export async function getService(env: CliEnv, service: string, flags: GetFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  const filter = parseService(service);
  await withAgents<ServiceView[]>(env, flags, "/services", async ({ kube, installation, ask }) => {
    const totals = new ServiceTotals();
    const found: NodeService[] = [];
    const nodes = chosenNodes(installation, flags.node);
    const asked = await ask(nodes, filter, (node, views) => {
      totals.add(node, views);
      found.push(...views.map((view) => ({ node: node.name, ...view })));
    });
    const services = found.toSorted((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : 0));
    if (services.length > 0)
      await print(env, flags.output, { nodes: asked, services }, () =>
        formatDetails(totals.list(), services),
      );
    checkAnswers(asked);
    if (services.length === 0) throw await absence(kube, filter, "the nodes' maps");
  });
}

/** `shunt service trace`. */
export async function traceServices(env: CliEnv, service: string, flags: TraceFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  const filter = parseService(service);
  await withAgents<ServiceView[]>(env, flags, "/services", async ({ kube, installation, ask }) => {
    const { nodes, nodePortRange } = installation;
    const chosen =
      flags.fromNode === undefined
        ? (nodes.find(({ ready }) => ready) ?? nodes[0])
        : nodeNamed(nodes, flags.fromNode);
    if (chosen === undefined) throw new ShuntError("The cluster has no Linux nodes");
    const found: ServiceView[] = [];
    checkAnswers(await ask([chosen], filter, (_node, views) => void found.push(...views)));
    if (found.length === 0) throw await absence(kube, filter, `the maps of node ${chosen.name}`);
    const views = withPort(found, flags.port);
    if (views.length === 0)
      throw new ShuntError(`${service} has no port ${flags.port}`, {
        code: "NotFound",
        remedy: `It has: ${found.map(portWords).join(", ")}.`,
      });
    const { name, services, podNetwork } = chosen;
    const node = { name, services, podNetwork, nodePortRange };
    const traces = views.flatMap((view) => traceService(view, node));
    const problems = views.flatMap((view) => view.problems);
    await print(env, flags.output, { node, traces, problems }, () => formatTraces(traces, node, problems));
  });
}

/** Those that have a port of this name or number; all of them when none is asked for. */
const withPort = (views: readonly ServiceView[], port: string | undefined): ServiceView[] =>
  views.filter(
    ({ portName, frontends }) =>
      port === undefined || portName === port || frontends.some((frontend) => String(frontend.port) === port),
  );

const portWords = ({ portName, protocol, frontends }: ServiceView): string =>
  [portName, ...new Set(frontends.map(({ port }) => port)), protocol].filter((word) => word !== "").join(" ");

function parseService(text: string): { namespace: string; name: string } {
  const [, namespace, name] = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(text) ?? [];
  if (namespace === undefined || name === undefined)
    throw new UsageError(
      `"${text}" is not a Service`,
      "Write it as NAMESPACE/NAME, for example default/web.",
    );
  return { namespace, name };
}

/** The error that says why a Service is in no map. */
async function absence(
  kube: KubeClient,
  { namespace, name }: { namespace: string; name: string },
  where: string,
): Promise<ShuntError> {
  const service = await kube.find(resourcePath("v1", "services", namespace, name), { timeoutMs: 10_000 });
  const why = whyUnhandled(service);
  return new ShuntError(
    `${namespace}/${name} is not in ${where}: ${why ?? "the agent has not programmed it"}`,
    {
      code: "NotFound",
      ...(why === undefined ? { remedy: "See what the agents report: shunt status" } : {}),
    },
  );
}

/** Why the agent leaves a Service alone; undefined when it does not. */
function whyUnhandled(service: KubeObject | undefined): string | undefined {
  if (service === undefined) return "there is no such Service, and no pod of that name with host ports";
  const { spec, metadata } = service;
  const proxy = metadata.labels?.["service.kubernetes.io/service-proxy-name"];
  if (proxy !== undefined) return `its label service.kubernetes.io/service-proxy-name gives it to "${proxy}"`;
  if (spec?.type === "ExternalName") return "its type is ExternalName: it is a name in DNS only";
  return spec?.clusterIP === "None" ? "it is headless: its name leads to its pods' own addresses" : undefined;
}
