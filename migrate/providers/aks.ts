// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { ShuntError } from "../../lib/errors.ts";
import { type NodeGroupProvider, readinessTaint } from "../model/tools.ts";
import { groupLabel, groupValue } from "./group-label.ts";
import { findNode, groupByLabel, needOption, programOf, reasonOf } from "./program.ts";
import type { ProviderSetup } from "./setup.ts";

const poolLabel = "kubernetes.azure.com/agentpool";
const slowMs = 3_600_000;
const text = { type: ["string", "null"] };
const texts = { type: ["array", "null"], items: { type: "string" } };

interface Pool {
  name: string;
  vmSize: string;
  mode: string;
  osDiskSizeGb?: number | null;
  osDiskType?: string | null;
  osSku?: string | null;
  maxPods?: number | null;
  orchestratorVersion?: string | null;
  vnetSubnetId?: string | null;
  availabilityZones?: string[] | null;
  enableAutoScaling?: boolean | null;
  nodeLabels?: Record<string, string> | null;
  nodeTaints?: string[] | null;
  nodeInitializationTaints?: string[] | null;
}

const poolAnswer = {
  type: "object",
  required: ["name", "vmSize", "mode"],
  properties: {
    ...{ name: { type: "string" }, vmSize: { type: "string" }, mode: { type: "string" } },
    ...{ osDiskSizeGb: { type: ["integer", "null"] }, maxPods: { type: ["integer", "null"] } },
    ...{ osDiskType: text, osSku: text, orchestratorVersion: text, vnetSubnetId: text },
    ...{ availabilityZones: texts, nodeTaints: texts, nodeInitializationTaints: texts },
    enableAutoScaling: { type: ["boolean", "null"] },
    nodeLabels: { type: ["object", "null"], additionalProperties: { type: "string" } },
  },
};

const taint = `${readinessTaint.key}=true:${readinessTaint.effect}`;

/** A pool's name has 12 lower-case letters and digits at most, so the copy's says only which one it is of. */
const copyName = (name: string): string =>
  `shunt${createHash("sha256").update(name).digest("hex").slice(0, 7)}`;

/**
 * Node pools of AKS, by the program `az`. Ordinary taints of a pool are put back by AKS when the agent takes them
 * away; those of initialization are not, and are the whole cluster's (extension aks-preview).
 */
export function aksProvider(setup: ProviderSetup): NodeGroupProvider {
  const az = programOf(setup, "az", "Install the Azure CLI, and let it sign in to the subscription.");
  const output = ["--output", "json"];
  const group$ = () => ["--resource-group", needOption(setup, "resource-group")];
  const of = () => [...group$(), "--cluster-name", needOption(setup, "cluster")];
  const show = (name: string): Promise<Pool> =>
    az.ask(["aks", "nodepool", "show", ...of(), "--name", name, ...output], poolAnswer);
  const list = (): Promise<Pool[]> =>
    az.ask(["aks", "nodepool", "list", ...of(), ...output], { type: "array", items: poolAnswer });
  const setInitialTaints = (taints: string[], signal: AbortSignal): Promise<void> =>
    az.tell(
      [
        ...["aks", "update", ...group$(), "--name", needOption(setup, "cluster")],
        ...["--nodepool-initialization-taints", taints.join(","), "--yes", ...output],
      ],
      { signal, timeoutMs: slowMs },
    );
  return {
    name: "aks",
    check: (old) =>
      reasonOf(async () => {
        const groups = await groupByLabel(setup.kube, old, poolLabel);
        for (const name of groups.keys())
          if ((await show(name)).enableAutoScaling === true)
            throw new ShuntError(`node pool ${name} is changed by an autoscaler, which would fill it again`, {
              remedy: `Turn it off first: az aks nodepool update --name ${name} --disable-cluster-autoscaler`,
            });
        const extension = ["extension", "show", "--name", "aks-preview", ...output];
        await az.tell(extension).catch((cause: unknown) => {
          throw new ShuntError("az has no extension aks-preview, which sets initialization taints", {
            remedy: "az extension add --name aks-preview",
            cause,
          });
        });
      }),
    async addNodes({ group, old, signal }) {
      const groups = await groupByLabel(setup.kube, old, poolLabel);
      const pools = await list();
      const initial = initialTaints(pools);
      if (!initial.includes(taint)) await setInitialTaints([...initial, taint], signal);
      for (const [name, nodes] of groups) {
        const pool = await show(name);
        if (pools.some((entry) => entry.name === copyName(name))) continue;
        const add = ["aks", "nodepool", "add", ...of(), "--name", copyName(name)];
        const args = [...add, ...shapeOf(pool, nodes.length, group), ...output];
        await az.tell(args, { signal, timeoutMs: slowMs });
      }
      return `node pools ${[...groups.keys()].map((name) => `${copyName(name)} like ${name}`).join(", ")}`;
    },
    async removeNode({ node, signal }) {
      const object = await findNode(setup.kube, node);
      if (object === undefined) return `${node} is gone`;
      const pool = object.metadata.labels?.[poolLabel];
      if (pool === undefined) throw new ShuntError(`node ${node} has no label ${poolLabel}`);
      const end = ["aks", "nodepool", "delete-machines", ...of(), "--name", pool, "--machine-names", node];
      await az.tell([...end, ...output], { signal, timeoutMs: slowMs, ignore: /not found|NotFound/i });
      return `${node} ends, and node pool ${pool} is one smaller`;
    },
    async removeGroup({ group, signal }) {
      const pools = await list();
      const own = pools.filter(({ nodeLabels }) => nodeLabels?.[groupLabel] === groupValue(group));
      for (const { name } of own)
        await az.tell(["aks", "nodepool", "delete", ...of(), "--name", name, ...output], {
          signal,
          timeoutMs: slowMs,
        });
      const initial = initialTaints(pools);
      if (initial.includes(taint))
        await setInitialTaints(
          initial.filter((entry) => entry !== taint),
          signal,
        );
      return own.length === 0
        ? "there was no node pool of it"
        : `deleted ${own.map(({ name }) => name).join(", ")}`;
    },
  };
}

const initialTaints = (pools: readonly Pool[]): string[] => [
  ...new Set(pools.flatMap(({ nodeInitializationTaints }) => nodeInitializationTaints ?? [])),
];

function shapeOf(pool: Pool, count: number, group: string): string[] {
  const labels = { ...pool.nodeLabels, [groupLabel]: groupValue(group) };
  const own = Object.entries(labels).filter(([key]) => !key.startsWith("kubernetes.azure.com/"));
  const flag = (name: string, value: string | number | null | undefined): string[] =>
    value === undefined || value === null || value === "" ? [] : [`--${name}`, String(value)];
  const many = (name: string, values: readonly string[] | null | undefined): string[] =>
    values === undefined || values === null || values.length === 0 ? [] : [`--${name}`, ...values];
  return [
    ...flag("node-count", count),
    ...flag("node-vm-size", pool.vmSize),
    ...flag("mode", pool.mode),
    ...flag("os-sku", pool.osSku),
    ...flag("node-osdisk-size", pool.osDiskSizeGb),
    ...flag("node-osdisk-type", pool.osDiskType),
    ...flag("max-pods", pool.maxPods),
    ...flag("kubernetes-version", pool.orchestratorVersion),
    ...flag("vnet-subnet-id", pool.vnetSubnetId),
    ...many("zones", pool.availabilityZones),
    ...many(
      "labels",
      own.map(([key, value]) => `${key}=${value}`),
    ),
    ...flag("node-taints", pool.nodeTaints?.join(",")),
  ];
}
