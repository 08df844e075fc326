// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isAlreadyExists } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { type NodeGroupProvider, readinessTaint } from "../model/tools.ts";
import { groupLabel, groupValue } from "./group-label.ts";
import { addPlaceholders, removePlaceholders } from "./placeholders.ts";
import type { ProviderSetup } from "./setup.ts";

const version = "karpenter.sh/v1";
const pools = (name?: string): string => resourcePath(version, "nodepools", undefined, name);
const claims = (name?: string): string => resourcePath(version, "nodeclaims", undefined, name);
const poolLabel = "karpenter.sh/nodepool";
/** On an old NodePool: its limits before it was told to make no more nodes. */
const limitsRecord = "shunt.dev/limits-before";
/** On a copy: the disruption budgets that it gets when the old nodes are gone. */
const budgetsRecord = "shunt.dev/budgets-later";
const mostWeight = 100;

/**
 * NodePools of Karpenter. Each gets a copy that is preferred, and may make no more nodes itself. Nodes come for pods
 * only: placeholders, each as large as what runs on one old node, bring the new ones, and give way to real pods.
 */
export function karpenterProvider({ kube }: ProviderSetup): NodeGroupProvider {
  return {
    name: "karpenter",
    check: (old) => check(kube, old),
    async addNodes({ group, old }) {
      const names = new Set((await poolsOf(kube, old)).values());
      for (const name of names) {
        const pool = await kube.get(pools(name));
        await copyPool(kube, pool, group);
        await closePool(kube, pool);
      }
      const count = await addPlaceholders(kube, group, old);
      return `NodePools ${[...names].map((name) => `${name}-shunt`).join(", ")}; ${count} placeholders bring their nodes`;
    },
    async removeNode({ node }) {
      const { items } = await kube.list(claims());
      const claim = items.find(({ status }) => status?.nodeName === node);
      if (claim === undefined) return `${node} has no NodeClaim any more`;
      await kube.deleteIfExists(claims(claim.metadata.name));
      return `deleted NodeClaim ${claim.metadata.name}`;
    },
    async settleGroup({ group }) {
      const count = await removePlaceholders(kube, group);
      for (const { metadata, spec } of await copiesOf(kube, group)) {
        const record = metadata.annotations?.[budgetsRecord];
        if (record === undefined) continue;
        await kube.patch(pools(metadata.name), "merge", {
          metadata: { annotations: { [budgetsRecord]: null } },
          spec: { disruption: { ...spec.disruption, budgets: JSON.parse(record) } },
        });
      }
      return `${count} placeholders were left, and are gone`;
    },
    async removeGroup({ group }) {
      await removePlaceholders(kube, group);
      const copies = await copiesOf(kube, group);
      for (const { metadata } of copies) await kube.deleteIfExists(pools(metadata.name));
      await openPools(kube);
      return `deleted ${copies.map(({ metadata }) => metadata.name).join(", ") || "nothing"}; the old NodePools may make nodes again`;
    },
  };
}

async function check(kube: KubeClient, old: readonly string[]): Promise<string | undefined> {
  if ((await kube.find(`/apis/${version}`)) === undefined) return `the cluster does not serve ${version}`;
  const byNode = await poolsOf(kube, old);
  const strange = old.filter((node) => !byNode.has(node));
  if (strange.length > 0)
    return `Karpenter did not make ${strange.slice(0, 5).join(", ")}; use --provider manual, or the one who made these`;
  for (const name of new Set(byNode.values())) {
    const pool = await kube.find(pools(name));
    if (pool === undefined) return `NodePool ${name} is gone, and its nodes are still there`;
    if (pool.spec?.replicas !== undefined && pool.spec.replicas !== null)
      return `NodePool ${name} has a fixed number of nodes (spec.replicas), and would replace each one that is removed; use --provider manual`;
  }
  return undefined;
}

/** NodePool by node, of those that have one. */
async function poolsOf(kube: KubeClient, nodes: readonly string[]): Promise<Map<string, string>> {
  const wanted = new Set(nodes);
  const { items } = await kube.list(resourcePath("v1", "nodes"));
  return new Map(
    items.flatMap(({ metadata }): [string, string][] => {
      const pool = metadata.labels?.[poolLabel];
      return pool === undefined || !wanted.has(metadata.name!) ? [] : [[metadata.name!, pool]];
    }),
  );
}

async function copyPool(kube: KubeClient, pool: KubeObject, group: string): Promise<void> {
  const { metadata, spec } = structuredClone(pool) as any;
  const template = spec.template;
  const startupTaints = (template.spec.startupTaints ?? []).filter(
    ({ key }: { key: string }) => key !== readinessTaint.key,
  );
  const recorded = metadata.annotations?.[limitsRecord];
  const limits = recorded === undefined ? spec.limits : (JSON.parse(recorded) ?? undefined);
  const { limits: _, ...rest } = spec;
  const copy = {
    apiVersion: version,
    kind: "NodePool",
    metadata: {
      name: `${metadata.name}-shunt`,
      labels: { ...metadata.labels, [groupLabel]: groupValue(group) },
      annotations: { [budgetsRecord]: JSON.stringify(spec.disruption?.budgets ?? [{ nodes: "10%" }]) },
    },
    spec: {
      ...rest,
      ...(limits === undefined ? {} : { limits }),
      weight: Math.min(mostWeight, (spec.weight ?? 0) + 10),
      // A node that is empty for a moment must not be taken away while the others are being drained.
      disruption: { ...spec.disruption, budgets: [{ nodes: "0" }] },
      template: {
        ...template,
        metadata: {
          ...template.metadata,
          labels: { ...template.metadata?.labels, [groupLabel]: groupValue(group) },
        },
        spec: { ...template.spec, startupTaints: [...startupTaints, { ...readinessTaint }] },
      },
    },
  };
  try {
    await kube.create(pools(), copy);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

/** It makes no more nodes; those that it has stay. */
async function closePool(kube: KubeClient, { metadata, spec }: KubeObject): Promise<void> {
  if (metadata.annotations?.[limitsRecord] !== undefined) return;
  await kube.patch(pools(metadata.name), "merge", {
    metadata: { annotations: { [limitsRecord]: JSON.stringify(spec?.limits ?? null) } },
    spec: { limits: { cpu: "0" } },
  });
}

async function openPools(kube: KubeClient): Promise<void> {
  for (const { metadata, spec } of (await kube.list(pools())).items) {
    const record = metadata.annotations?.[limitsRecord];
    if (record === undefined) continue;
    const before: Record<string, string> | null = JSON.parse(record);
    const gone = Object.fromEntries(Object.keys(spec?.limits ?? {}).map((key) => [key, null]));
    await kube.patch(pools(metadata.name), "merge", {
      metadata: { annotations: { [limitsRecord]: null } },
      spec: { limits: before === null ? null : { ...gone, ...before } },
    });
  }
}

async function copiesOf(kube: KubeClient, group: string): Promise<KubeObject[]> {
  return (await kube.list(pools(), { labelSelector: `${groupLabel}=${groupValue(group)}` })).items;
}
