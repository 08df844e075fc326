// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { connectKube, type KubeContext, listContexts } from "../../lib/kube-connect.ts";
import { findKubeProxy, findNetworks } from "../facts.ts";
import { isDisabled } from "../kube-proxy.ts";
import { readRecord } from "../record.ts";

/** A context, and whether its cluster answers. */
export interface ContextLook extends KubeContext {
  /** Why it does not answer; undefined when it does. */
  problem?: string;
  version?: string;
}

/** What the wizard sees of a cluster by itself; looking changes nothing. */
export interface ClusterLook {
  context: string;
  server: string;
  version: string;
  nodes: number;
  readyNodes: number;
  /** Pod networks of others, by name; `unknown` when nodes are ready by one that has no name here. */
  networks: string[];
  kubeProxy: "running" | "disabled" | "absent";
  /** Version of Shunt that is installed, and whether it runs the pod network. */
  shunt?: { version: string; podNetwork: string };
  /** Names of the findings that block a migration, once they were looked for. */
  blockers?: string[];
}

/** How long a cluster may take to say its version. */
const answerMs = 4_000;
/** More contexts than this are not tried, but for the current one. */
const mostTried = 16;

/** Every context of the kubeconfig, the current one first, each tried at once. */
export async function lookAtContexts(
  kubeconfig: string | undefined,
  signal: AbortSignal,
): Promise<ContextLook[]> {
  const contexts = await listContexts(kubeconfig);
  const sorted = contexts.sort((a, b) => Number(b.current) - Number(a.current));
  return await Promise.all(
    sorted.map(async (context, index): Promise<ContextLook> => {
      if (index >= mostTried) return context;
      try {
        const kube = await connectKube({ kubeconfig, context: context.name });
        const found = await kube
          .get<{ gitVersion: string }>("/version", { timeoutMs: answerMs, signal })
          .finally(() => kube.close());
        return { ...context, version: found.gitVersion };
      } catch (error) {
        signal.throwIfAborted();
        return { ...context, problem: shortReason(error) };
      }
    }),
  );
}

function shortReason(error: unknown): string {
  const message = errorMessage(error);
  const [, reason] = /(ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|no answer within [\d.]+ s)/.exec(message) ?? [];
  const words: Record<string, string> = { ECONNREFUSED: "connection refused", ENOTFOUND: "name not found" };
  return words[reason ?? ""] ?? reason ?? message.slice(0, 60);
}

/** Reads what is there: nodes, networks, kube-proxy, Shunt. */
export async function lookAtCluster(kube: KubeClient, context: string): Promise<ClusterLook> {
  const [version, nodes, networks, proxy, record] = await Promise.all([
    kube.get<{ gitVersion: string }>("/version"),
    kube.list(resourcePath("v1", "nodes")),
    findNetworks(kube),
    findKubeProxy(kube),
    readRecord(kube),
  ]);
  const ready = nodes.items.filter((node) =>
    (node.status?.conditions ?? []).some(
      ({ type, status }: { type: string; status: string }) => type === "Ready" && status === "True",
    ),
  ).length;
  const names = [...new Set(networks.map(({ name }) => name))];
  const podNetwork = record?.values.modes.podNetwork;
  const isUnknown = names.length === 0 && ready > 0 && podNetwork !== "active";
  return {
    context,
    server: kube.server,
    version: version.gitVersion,
    nodes: nodes.items.length,
    readyNodes: ready,
    networks: isUnknown ? ["unknown"] : names,
    kubeProxy: proxy === undefined ? "absent" : isDisabled(proxy) ? "disabled" : "running",
    ...(record === undefined
      ? {}
      : { shunt: { version: record.version, podNetwork: record.values.modes.podNetwork } }),
  };
}

/** The look in a few lines for people. */
export function formatLook(look: ClusterLook): string {
  const network = look.networks.length === 0 ? "none" : look.networks.join(", ");
  const shunt =
    look.shunt === undefined
      ? "not installed"
      : `version ${look.shunt.version}, pod network ${look.shunt.podNetwork}`;
  return [
    `  Cluster      ${look.context} at ${look.server}, Kubernetes ${look.version}`,
    `  Nodes        ${look.nodes}, of which ${look.readyNodes} are ready`,
    `  Pod network  ${network}`,
    `  kube-proxy   ${look.kubeProxy}`,
    `  Shunt        ${shunt}`,
    "",
  ].join("\n");
}
