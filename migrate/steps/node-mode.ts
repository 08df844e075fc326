// SPDX-License-Identifier: Apache-2.0
import { fingerprint } from "../../lib/fingerprint.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import type { Json } from "../model/journal.ts";

export const shuntNodes = (name?: string): string =>
  resourcePath("shunt.dev/v1alpha1", "nodes", undefined, name);

/** The layers that a migration sets; null where the node's object leaves one to the configuration. */
export interface NodeModes {
  [layer: string]: Json | undefined;
  podNetwork: string | null;
  services: string | null;
  policy: string | null;
}

/** What a node's object asks for. */
export async function readModes(kube: KubeClient, node: string): Promise<NodeModes> {
  return modesOf(await kube.get(shuntNodes(node)));
}

/** The same of all nodes, by name. */
export async function readAllModes(kube: KubeClient): Promise<{ [node: string]: NodeModes }> {
  const there = new Set(
    (await kube.list(resourcePath("v1", "nodes"))).items.map(({ metadata }) => metadata.name),
  );
  const { items } = await kube.list(shuntNodes());
  // Nobody answers for what a removed node left.
  const living = items.filter(({ metadata }) => there.has(metadata.name));
  return Object.fromEntries(living.map((object) => [object.metadata.name!, modesOf(object)]));
}

const modesOf = ({ spec }: KubeObject): NodeModes => ({
  podNetwork: spec?.podNetwork ?? null,
  services: spec?.services ?? null,
  policy: spec?.policy ?? null,
});

/** Sets layers of a node, null to leave one to the configuration, and waits until its agent has done so. */
export async function setModes(
  kube: KubeClient,
  node: string,
  modes: Partial<NodeModes>,
  signal: AbortSignal,
): Promise<void> {
  await kube.patch(shuntNodes(node), "merge", { spec: modes });
  await waitForModes(kube, node, modes, signal);
}

/** Waits until a node's agent reports that it is as its object asks, and Ready. */
export async function waitForModes(
  kube: KubeClient,
  node: string,
  modes: Partial<NodeModes>,
  signal: AbortSignal,
): Promise<void> {
  await waitFor(
    `the agent of node ${node} to be ready`,
    async () => {
      const problem = modeProblem(await kube.get(shuntNodes(node)), modes);
      if (problem !== undefined) throw new Error(problem);
      return true;
    },
    {
      timeoutMs: 120_000,
      intervalMs: 250,
      signal,
      remedy: `See shunt status, and kubectl -n kube-system logs of the shunt-agent pod on ${node}.`,
    },
  );
}

/** Why a node's agent is not as asked; undefined when it is. */
export function modeProblem(
  { metadata, status = {} }: KubeObject,
  modes: Partial<NodeModes>,
): string | undefined {
  if ((status.observedGeneration ?? 0) < (metadata.generation ?? 0)) return "it has not seen the change yet";
  const ready = status.conditions?.find(({ type }: { type: string }) => type === "Ready");
  if (ready?.status !== "True") return ready?.message || "it is not Ready";
  const { podNetwork, services, policy } = status.layers ?? {};
  if (modes.podNetwork !== undefined && modes.podNetwork !== null) {
    if (podNetwork?.mode !== modes.podNetwork) return `its pod network is ${podNetwork?.mode}`;
    const isActive = modes.podNetwork === "active";
    if (podNetwork.cniConfiguration !== isActive)
      return `its CNI configuration is ${isActive ? "not written yet" : "still there"}`;
  }
  if (modes.services !== undefined && modes.services !== null && services?.mode !== modes.services)
    return `its services are ${services?.mode}`;
  if (modes.policy !== undefined && modes.policy !== null && policy?.mode !== modes.policy)
    return `its policies are ${policy?.mode}`;
  return undefined;
}

/** Waits until every agent that is Ready has routes to exactly the nodes that are active. */
export async function waitForPeers(kube: KubeClient, signal: AbortSignal): Promise<void> {
  await waitFor(
    "all nodes to know which nodes have moved",
    async () => {
      const { items } = await kube.list(shuntNodes());
      const active = items.filter(({ status }) => status?.layers?.podNetwork?.mode === "active");
      const names = active.map(({ metadata }) => metadata.name!);
      const late = items.find((object) => isBehind(object, names));
      if (late !== undefined) throw new Error(`node ${late.metadata.name} does not yet`);
      return true;
    },
    {
      timeoutMs: 120_000,
      intervalMs: 300,
      signal,
      remedy: "See shunt status for the agents that are not Ready.",
    },
  );
}

function isBehind({ metadata, status }: KubeObject, active: string[]): boolean {
  const known = status?.layers?.podNetwork?.activePeers?.fingerprint;
  const isReady = status?.conditions?.some(({ type, status: is }: any) => type === "Ready" && is === "True");
  if (known === undefined || !isReady) return false;
  return known !== fingerprint(active.filter((name) => name !== metadata.name));
}
