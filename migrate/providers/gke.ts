// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { type NodeGroupProvider, readinessTaint } from "../model/tools.ts";
import { groupLabel, groupValue } from "./group-label.ts";
import { findNode, groupByLabel, needOption, programOf, reasonOf } from "./program.ts";
import type { ProviderSetup } from "./setup.ts";

const poolLabel = "cloud.google.com/gke-nodepool";
const text = { type: "string" };
const texts = { type: "array", items: text };
const labels = { type: "object", additionalProperties: text };

interface Pool {
  name: string;
  version?: string;
  locations?: string[];
  autoscaling?: { enabled?: boolean };
  config: {
    machineType: string;
    diskSizeGb?: number;
    diskType?: string;
    imageType?: string;
    serviceAccount?: string;
    oauthScopes?: string[];
    labels?: Record<string, string>;
    taints?: { key: string; value?: string; effect: string }[];
    tags?: string[];
    spot?: boolean;
  };
}

const poolAnswer = {
  type: "object",
  required: ["name", "config"],
  properties: {
    name: text,
    version: text,
    locations: texts,
    autoscaling: { type: "object", properties: { enabled: { type: "boolean" } } },
    config: {
      type: "object",
      required: ["machineType"],
      properties: {
        machineType: text,
        diskSizeGb: { type: "integer" },
        diskType: text,
        imageType: text,
        serviceAccount: text,
        oauthScopes: texts,
        labels,
        tags: texts,
        spot: { type: "boolean" },
        taints: {
          type: "array",
          items: {
            type: "object",
            required: ["key", "effect"],
            properties: {
              key: text,
              value: text,
              effect: { enum: ["NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"] },
            },
          },
        },
      },
    },
  },
};

const instanceAnswer = {
  type: "object",
  required: ["metadata"],
  properties: {
    metadata: {
      type: "object",
      properties: {
        items: { type: "array", items: { type: "object", properties: { key: text, value: text } } },
      },
    },
  },
};

const effects: Record<string, string> = {
  NO_SCHEDULE: "NoSchedule",
  PREFER_NO_SCHEDULE: "PreferNoSchedule",
  NO_EXECUTE: "NoExecute",
};
/** A pool's name has 40 characters at most. */
const copyName = (name: string): string => `${name.slice(0, 34)}-shunt`;

/** Node pools of GKE Standard, by the program `gcloud`. */
export function gkeProvider(setup: ProviderSetup): NodeGroupProvider {
  const gcloud = programOf(
    setup,
    "gcloud",
    "Install the Google Cloud CLI, and let it sign in to the project.",
  );
  const project = setup.options.project === undefined ? [] : ["--project", setup.options.project];
  const of = () => [
    "--cluster",
    needOption(setup, "cluster"),
    "--location",
    needOption(setup, "location"),
    ...project,
  ];
  const output = ["--quiet", "--format", "json"];
  const describe = (name: string): Promise<Pool> =>
    gcloud.ask(["container", "node-pools", "describe", name, ...of(), ...output], poolAnswer);
  return {
    name: "gke",
    check: (old) =>
      reasonOf(async () => {
        for (const name of (await groupByLabel(setup.kube, old, poolLabel)).keys())
          if ((await describe(name)).autoscaling?.enabled === true)
            throw new ShuntError(`node pool ${name} is changed by an autoscaler, which would fill it again`, {
              remedy: `Turn it off first: gcloud container node-pools update ${name} --no-enable-autoscaling`,
            });
      }),
    async addNodes({ group, old, signal }) {
      const groups = await groupByLabel(setup.kube, old, poolLabel);
      for (const [name, nodes] of groups) {
        const create = ["container", "node-pools", "create", copyName(name), ...of()];
        const args = [...create, ...shapeOf(await describe(name), nodes.length, group), "--async", ...output];
        await gcloud.tell(args, { signal, ignore: /ALREADY_EXISTS|Already exists|code=409/ });
      }
      return `node pools ${[...groups.keys()].map(copyName).join(", ")}`;
    },
    async removeNode({ node, signal }) {
      const object = await findNode(setup.kube, node);
      if (object === undefined) return `${node} is gone`;
      const [, owner, zone, instance] =
        /^gce:\/\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(object.spec?.providerID ?? "") ?? [];
      if (owner === undefined || zone === undefined || instance === undefined)
        throw new ShuntError(
          `node ${node} is no instance of GCE: its providerID is ${object.spec?.providerID}`,
        );
      const place = ["--zone", zone, "--project", owner];
      const ask = ["compute", "instances", "describe", instance, ...place, ...output];
      const { metadata } = await gcloud.ask<any>(ask, instanceAnswer, signal);
      const by: string = metadata.items?.find(({ key }: any) => key === "created-by")?.value ?? "";
      const manager = /\/instanceGroupManagers\/([a-z0-9-]+)$/.exec(by)?.[1];
      if (manager === undefined)
        throw new ShuntError(`instance ${instance} is of no managed instance group: ${by}`);
      const end = [
        "compute",
        "instance-groups",
        "managed",
        "delete-instances",
        manager,
        "--instances",
        instance,
      ];
      await gcloud.tell([...end, "--skip-instances-on-validation-error", ...place, ...output], { signal });
      return `${instance} ends, and ${manager} is one smaller`;
    },
    async removeGroup({ group, signal }) {
      const pools = { type: "array", items: poolAnswer };
      const list = ["container", "node-pools", "list", ...of(), ...output];
      const found = await gcloud.ask<Pool[]>(list, pools, signal);
      const own = found.filter(({ config }) => config.labels?.[groupLabel] === groupValue(group));
      for (const { name } of own)
        await gcloud.tell(["container", "node-pools", "delete", name, ...of(), "--async", ...output], {
          signal,
          ignore: /NOT_FOUND|Not found|code=404/,
        });
      return own.length === 0
        ? "there was no node pool of it"
        : `deletes ${own.map(({ name }) => name).join(", ")}`;
    },
  };
}

/** Flags of a pool like this one, with the taint. The number of nodes is for each of its zones. */
function shapeOf({ config, locations = [], version }: Pool, count: number, group: string): string[] {
  const perZone = Math.ceil(count / Math.max(1, locations.length));
  const own = { ...config.labels, [groupLabel]: groupValue(group) };
  const pairs = Object.entries(own).map(([key, value]) => `${key}=${value}`);
  const taints = (config.taints ?? []).map(
    ({ key, value = "", effect }) => `${key}=${value}:${effects[effect]}`,
  );
  const flag = (name: string, value: string | number | undefined): string[] =>
    value === undefined || value === "" ? [] : [`--${name}`, String(value)];
  return [
    ...flag("num-nodes", perZone),
    ...flag("machine-type", config.machineType),
    ...flag("node-version", version),
    ...flag("node-locations", locations.join(",")),
    ...flag("disk-size", config.diskSizeGb),
    ...flag("disk-type", config.diskType),
    ...flag("image-type", config.imageType),
    ...flag("service-account", config.serviceAccount),
    ...flag("scopes", config.oauthScopes?.join(",")),
    ...flag("tags", config.tags?.join(",")),
    ...(config.spot === true ? ["--spot"] : []),
    ...flag("node-labels", pairs.join(",")),
    ...flag("node-taints", [...taints, `${readinessTaint.key}=true:${readinessTaint.effect}`].join(",")),
  ];
}
