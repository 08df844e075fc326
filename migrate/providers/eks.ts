// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { ShuntError } from "../../lib/errors.ts";
import { type NodeGroupProvider, readinessTaint } from "../model/tools.ts";
import { groupValue } from "./group-label.ts";
import { findNode, groupByLabel, needOption, programOf, reasonOf } from "./program.ts";
import type { ProviderSetup } from "./setup.ts";

const nodegroupLabel = "eks.amazonaws.com/nodegroup";
const groupTag = "shunt.dev/node-group";
const minimumTag = "shunt.dev/old-min-size";
const text = { type: "string" };
const whole = { type: "integer", minimum: 0 };

interface Nodegroup {
  nodegroupName: string;
  scalingConfig: { minSize: number; maxSize: number; desiredSize: number };
  subnets: string[];
  nodeRole: string;
  amiType?: string;
  launchTemplate?: { id?: string; name?: string; version?: string };
  taints?: { key: string }[];
  tags?: Record<string, string>;
  [field: string]: unknown;
}

const nodegroupAnswer = {
  type: "object",
  required: ["nodegroup"],
  properties: {
    nodegroup: {
      type: "object",
      required: ["nodegroupName", "scalingConfig", "subnets", "nodeRole"],
      properties: {
        nodegroupName: text,
        nodeRole: text,
        subnets: { type: "array", items: text },
        scalingConfig: {
          type: "object",
          required: ["minSize", "maxSize", "desiredSize"],
          properties: { minSize: whole, maxSize: whole, desiredSize: whole },
        },
      },
    },
  },
};

const instancesAnswer = {
  type: "object",
  required: ["AutoScalingInstances"],
  properties: {
    AutoScalingInstances: {
      type: "array",
      items: {
        type: "object",
        required: ["InstanceId", "LifecycleState"],
        properties: { InstanceId: text, LifecycleState: text },
      },
    },
  },
};

const copyName = (name: string): string => `${name.slice(0, 57)}-shunt`;

/** Managed node groups of EKS, by the program `aws`. */
export function eksProvider(setup: ProviderSetup): NodeGroupProvider {
  const aws = programOf(setup, "aws", "Install the AWS CLI, and let it sign in to the cluster's account.");
  const region = setup.options.region === undefined ? [] : ["--region", setup.options.region];
  const output = [...region, "--output", "json"];
  const of = (name: string) => ["--cluster-name", needOption(setup, "cluster"), "--nodegroup-name", name];
  const describe = async (name: string): Promise<Nodegroup> =>
    (
      await aws.ask<{ nodegroup: Nodegroup }>(
        ["eks", "describe-nodegroup", ...of(name), ...output],
        nodegroupAnswer,
      )
    ).nodegroup;
  const setMinimum = async (name: string, minimum: number, signal: AbortSignal): Promise<void> => {
    const scaling = ["--scaling-config", `minSize=${minimum}`];
    await aws.tell(["eks", "update-nodegroup-config", ...of(name), ...scaling, ...output], { signal });
    await aws.tell(["eks", "wait", "nodegroup-active", ...of(name), ...region], {
      signal,
      timeoutMs: 2_400_000,
    });
  };
  return {
    name: "eks",
    check: (old) =>
      reasonOf(async () => {
        for (const name of (await groupByLabel(setup.kube, old, nodegroupLabel)).keys()) await describe(name);
      }),
    async addNodes({ group, old, signal }) {
      const groups = await groupByLabel(setup.kube, old, nodegroupLabel);
      for (const [name, nodes] of groups) {
        const found = await describe(name);
        const input = JSON.stringify(copyOf(needOption(setup, "cluster"), found, nodes.length, group));
        const create = ["eks", "create-nodegroup", "--cli-input-json", input, ...output];
        await aws.tell(create, { signal, ignore: /ResourceInUseException/ });
        if (found.scalingConfig.minSize > 0) await setMinimum(name, 0, signal);
      }
      return `node groups ${[...groups.keys()].map(copyName).join(", ")}`;
    },
    async removeNode({ node, signal }) {
      const object = await findNode(setup.kube, node);
      if (object === undefined) return `${node} is gone`;
      const id = /^aws:\/\/\/[^/]+\/(i-[0-9a-f]+)$/.exec(object.spec?.providerID ?? "")?.[1];
      if (id === undefined)
        throw new ShuntError(
          `node ${node} is no instance of EC2: its providerID is ${object.spec?.providerID}`,
        );
      const ask = ["autoscaling", "describe-auto-scaling-instances", "--instance-ids", id, ...output];
      const { AutoScalingInstances: found } = await aws.ask<any>(ask, instancesAnswer, signal);
      // Asked for a second time, the group would shrink by another one.
      if (found.length === 0 || found[0].LifecycleState.startsWith("Terminat"))
        return `${id} is ending already`;
      const end = ["autoscaling", "terminate-instance-in-auto-scaling-group", "--instance-id", id];
      await aws.tell([...end, "--should-decrement-desired-capacity", ...output], { signal });
      return `${id} ends, and its group is one smaller`;
    },
    async removeGroup({ group, signal }) {
      const removed: string[] = [];
      const list = ["eks", "list-nodegroups", "--cluster-name", needOption(setup, "cluster"), ...output];
      const names = {
        type: "object",
        required: ["nodegroups"],
        properties: { nodegroups: { type: "array", items: text } },
      };
      const { nodegroups } = await aws.ask<{ nodegroups: string[] }>(list, names, signal);
      for (const name of nodegroups.filter((entry) => entry.endsWith("-shunt"))) {
        const { tags = {} } = await describe(name);
        if (tags[groupTag] !== groupValue(group)) continue;
        const old = nodegroups.find((entry) => copyName(entry) === name && entry !== name);
        const minimum = Number(tags[minimumTag] ?? 0);
        if (old !== undefined && minimum > 0) await setMinimum(old, minimum, signal);
        await aws.tell(["eks", "delete-nodegroup", ...of(name), ...output], {
          signal,
          ignore: /ResourceNotFoundException/,
        });
        removed.push(name);
      }
      return removed.length === 0 ? "there was no node group of it" : `deletes ${removed.join(", ")}`;
    },
  };
}

/** What a node group and its copy have in common; an image or instance types of a launch template stay there. */
function copyOf(clusterName: string, old: Nodegroup, count: number, group: string): object {
  const { minSize, maxSize } = old.scalingConfig;
  const isCustom = old.amiType === "CUSTOM";
  const { id, version } = old.launchTemplate ?? {};
  const own = Object.entries(old.tags ?? {}).filter(([key]) => !key.startsWith("aws:"));
  const token = createHash("sha256").update(`${clusterName} ${old.nodegroupName} ${group}`).digest("hex");
  const kept = ["subnets", "nodeRole", "capacityType", "labels", "updateConfig", "instanceTypes"];
  const withoutTemplate = ["diskSize", "remoteAccess"];
  const fields = [
    ...kept,
    ...(id === undefined ? withoutTemplate : []),
    ...(isCustom ? [] : ["amiType", "version"]),
  ].filter((field) => !isEmpty(old[field]));
  return {
    clusterName,
    nodegroupName: copyName(old.nodegroupName),
    clientRequestToken: token,
    ...Object.fromEntries(fields.map((field) => [field, old[field]])),
    ...(id === undefined ? {} : { launchTemplate: { id, version } }),
    scalingConfig: {
      minSize: Math.min(minSize, count),
      maxSize: Math.max(maxSize, count),
      desiredSize: count,
    },
    taints: [...(old.taints ?? []), { key: readinessTaint.key, effect: "NO_SCHEDULE" }],
    tags: { ...Object.fromEntries(own), [groupTag]: groupValue(group), [minimumTag]: String(minSize) },
  };
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || (typeof value === "object" && Object.keys(value).length === 0);
