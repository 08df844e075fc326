// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import { isAlreadyExists } from "../lib/kube-errors.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { type Modes, modeValues } from "./config.ts";

export const shuntNodes = (name?: string): string =>
  resourcePath("shunt.dev/v1alpha1", "nodes", undefined, name);

/** The modes that a ShuntNode object asks for; what it leaves out comes from the configuration. */
export function modesOf(object: KubeObject | undefined, defaults: Modes): Modes {
  const modes: any = { ...defaults };
  for (const [layer, values] of Object.entries(modeValues)) {
    const asked = object?.spec?.[layer];
    if ((values as readonly string[]).includes(asked)) modes[layer] = asked;
  }
  return modes;
}

/** Makes the node's own object unless it is there. */
export async function createShuntNode(client: KubeClient, name: string): Promise<void> {
  const body = { apiVersion: "shunt.dev/v1alpha1", kind: "ShuntNode", metadata: { name }, spec: {} };
  try {
    await client.create(shuntNodes(), body);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

/** Whether the agent itself routes Services; with `handover`, those connections that began with it. */
export const routesServices = (modes: Modes): boolean =>
  modes.services === "on" || modes.services === "handover";

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
  lastTransitionTime?: string;
}

/** Gives each condition the time since which it has this status. */
export function stampConditions(conditions: Condition[], previous: Condition[], now: Date): Condition[] {
  return conditions.map((condition) => {
    const before = previous.find((old) => old.type === condition.type && old.status === condition.status);
    return { ...condition, lastTransitionTime: before?.lastTransitionTime ?? now.toISOString() };
  });
}

/** Takes the taint off that keeps pods away until the agent is ready; true when there was one. */
export async function removeTaint(client: KubeClient, node: KubeObject): Promise<boolean> {
  const taints: any[] = node.spec?.taints ?? [];
  const index = taints.findIndex((taint) => taint.key === "node.shunt.dev/agent-not-ready");
  if (index < 0) return false;
  const path = resourcePath("v1", "nodes", undefined, node.metadata.name);
  // The test makes the patch fail when somebody changed the list meanwhile; the next event tries again.
  await client.patch(path, "json", [
    { op: "test", path: `/spec/taints/${index}/key`, value: "node.shunt.dev/agent-not-ready" },
    { op: "remove", path: `/spec/taints/${index}` },
  ]);
  return true;
}
