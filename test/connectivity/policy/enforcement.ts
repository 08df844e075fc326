// SPDX-License-Identifier: Apache-2.0
import { waitFor } from "../../../lib/wait.ts";
import { type ScenarioRun, SkipScenario } from "../scenario-run.ts";
import type { World } from "../world.ts";
import { connectionsOf, parseFlow } from "./connections.ts";
import { look } from "./look.ts";
import { type PolicyKind, policyObjects, policyPath } from "./objects.ts";

/** Why policies of these kinds cannot be tried here, as far as the API server tells. */
export function unenforced(world: World, kinds: readonly PolicyKind[]): string | undefined {
  const { pods, activeNodes, enforcingNodes } = world.agent;
  const isEnforced = ({ name }: { name: string }) => activeNodes.has(name) && enforcingNodes.has(name);
  if (pods.size > 0 && !world.nodes.every(isEnforced))
    return "the agents do not enforce policies on all nodes (modes.policy)";
  return kinds.some((kind) => kind !== "NetworkPolicy") && !world.servesCiliumPolicies
    ? "the cluster has no CiliumNetworkPolicy"
    : undefined;
}

const found = new WeakMap<World, Promise<string | undefined>>();

/** Of a network that is not ours, it is not known whether it enforces policies: it is tried once. Skips when not. */
export async function needsEnforcement(t: ScenarioRun<World>): Promise<void> {
  if (t.world.agent.pods.size > 0) return;
  if (!found.has(t.world)) found.set(t.world, tryOnce(t));
  const reason = await found.get(t.world);
  if (reason !== undefined) throw new SkipScenario(reason);
}

async function tryOnce(t: ScenarioRun<World>): Promise<string | undefined> {
  const { kube, options: where } = t.world;
  const spec = { podSelector: { matchLabels: { kind: "echo" } }, policyTypes: ["Ingress"] };
  const [policy] = policyObjects("is-enforced", where.namespace, { NetworkPolicy: [spec] });
  const connections = connectionsOf(parseFlow("client -> near: tcp"), t.world);
  const path = policyPath(policy!);
  t.finally("delete the policy that tries", async () => void (await kube.deleteIfExists(path)));
  await kube.apply(path, policy);
  const isDenied = async () => [...(await look(t, connections)).values()].every((why) => why !== "");
  const options = { timeoutMs: 5_000, signal: t.signal };
  const isEnforced = await waitFor("it to deny", isDenied, options).catch(() => false);
  t.signal.throwIfAborted();
  await kube.deleteIfExists(path);
  return isEnforced
    ? undefined
    : "the network enforces no NetworkPolicy: one that isolates had no effect within 5 s";
}
