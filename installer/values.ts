// SPDX-License-Identifier: Apache-2.0
import { readFile } from "node:fs/promises";
import { Ajv, type ErrorObject } from "ajv";
import { parse } from "yaml";
import { parseCidr } from "../lib/addresses.ts";
import { errorMessage, UsageError } from "../lib/errors.ts";
import { parseLabelPattern } from "../lib/label-patterns.ts";

/** What an installation can be told; every field has a default. */
export interface Values {
  image: string;
  imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  /** API server address that the agent uses instead of the ClusterIP; empty means found from the cluster. */
  k8sServiceHost: string;
  /** 0 means found from the cluster. */
  k8sServicePort: number;
  routing: "vxlan" | "direct";
  /** UDP port of the overlay. */
  tunnelPort: number;
  /** Bytes; 0 means from each node's uplink. */
  mtu: number;
  masquerade: boolean;
  /** Address ranges of all pods; empty means found from the cluster. */
  clusterPodCIDRs: string[];
  kubeProxyReplacement: boolean;
  services: {
    /** As the API server's flag --service-node-port-range; empty means found from the cluster. */
    nodePortRange: string;
    /** Prefixes of the node addresses on which node ports answer, or "primary"; empty means as kube-proxy's, else all. */
    nodePortAddresses: string[];
    /** Port of the node's health for load balancers, 10256 with kube-proxy; 0 is none. */
    healthPort: number;
    /** Packets from outside for a pod on another node: answered through this one, or directly; hybrid: TCP directly. */
    forwarding: "snat" | "dsr" | "hybrid";
    /** XDP for those that go on to another node: never, where the uplink's driver can, or complain where it cannot. */
    acceleration: "disabled" | "best-effort" | "native";
    /** Most entries of the kernel's maps, for nodes whose maps are not made yet. */
    maps: Record<"services" | "backends" | "flows" | "affinity", number>;
  };
  policy: {
    /** Which labels of pods make identities, before the usual ones: patterns, of which the first that matches decides. */
    identityLabels: string[];
    /** As above: tables of ports by identity, their ports, tables by networks, prefixes that policies name, connections. */
    maps: Record<"tables" | "ports" | "networks" | "prefixes" | "flows", number>;
  };
  modes: {
    podNetwork: "standby" | "active";
    services: "off" | "shadow" | "handover" | "on";
    policy: "off" | "audit" | "enforce";
    security: "observe" | "enforce";
  };
  logLevel: "debug" | "info" | "warn" | "error";
  healthPort: number;
  metricsPort: number;
  preflight: {
    /** Run a short-lived pod on every node that tries the kernel's features. */
    probeNodes: boolean;
    /** Go on although another pod network is there (its pods and ours will not reach each other). */
    allowExistingCni: boolean;
  };
}

export const defaultValues: Values = {
  image: "shunt.local/shunt:dev",
  imagePullPolicy: "IfNotPresent",
  k8sServiceHost: "",
  k8sServicePort: 0,
  routing: "vxlan",
  tunnelPort: 8473,
  mtu: 0,
  masquerade: true,
  clusterPodCIDRs: [],
  kubeProxyReplacement: true,
  services: {
    nodePortRange: "",
    nodePortAddresses: [],
    healthPort: 10_256,
    forwarding: "snat",
    acceleration: "disabled",
    maps: { services: 65_536, backends: 524_288, flows: 131_072, affinity: 65_536 },
  },
  policy: {
    identityLabels: [],
    maps: { tables: 524_288, ports: 262_144, networks: 65_536, prefixes: 65_536, flows: 131_072 },
  },
  modes: { podNetwork: "active", services: "on", policy: "off", security: "observe" },
  logLevel: "info",
  healthPort: 9879,
  metricsPort: 9962,
  preflight: { probeNodes: true, allowExistingCni: false },
};

const port = { type: "integer", minimum: 1, maximum: 65535 };
const closed = { type: "object", additionalProperties: false };
const mapSize = { type: "integer", minimum: 1024, maximum: 16_777_216 };
const mapSizes = (...names: string[]) => ({
  ...closed,
  properties: Object.fromEntries(names.map((name) => [name, mapSize])),
});

/** JSON schema of a values file; also printed by `shunt install --help-values`. */
export const valuesSchema = {
  ...closed,
  properties: {
    image: { type: "string", minLength: 1, pattern: "^[^\\s]+$" },
    imagePullPolicy: { enum: ["Always", "IfNotPresent", "Never"] },
    k8sServiceHost: { type: "string", pattern: "^[A-Za-z0-9.:-]*$" },
    k8sServicePort: { type: "integer", minimum: 0, maximum: 65535 },
    routing: { enum: ["vxlan", "direct"] },
    tunnelPort: port,
    mtu: { type: "integer", anyOf: [{ const: 0 }, { minimum: 1280, maximum: 65535 }] },
    masquerade: { type: "boolean" },
    clusterPodCIDRs: { type: "array", items: { type: "string" } },
    kubeProxyReplacement: { type: "boolean" },
    services: {
      ...closed,
      properties: {
        nodePortRange: { type: "string", pattern: "^(\\d{1,5}-\\d{1,5})?$" },
        nodePortAddresses: {
          type: "array",
          items: { type: "string", pattern: "^(primary|[0-9a-fA-F.:]+/\\d+)$" },
        },
        healthPort: { ...port, minimum: 0 },
        forwarding: { enum: ["snat", "dsr", "hybrid"] },
        acceleration: { enum: ["disabled", "best-effort", "native"] },
        maps: mapSizes("services", "backends", "flows", "affinity"),
      },
    },
    policy: {
      ...closed,
      properties: {
        identityLabels: { type: "array", maxItems: 100, items: { type: "string", minLength: 1 } },
        maps: mapSizes("tables", "ports", "networks", "prefixes", "flows"),
      },
    },
    modes: {
      ...closed,
      properties: {
        podNetwork: { enum: ["standby", "active"] },
        services: { enum: ["off", "shadow", "handover", "on"] },
        policy: { enum: ["off", "audit", "enforce"] },
        security: { enum: ["observe", "enforce"] },
      },
    },
    logLevel: { enum: ["debug", "info", "warn", "error"] },
    healthPort: port,
    metricsPort: port,
    preflight: {
      ...closed,
      properties: { probeNodes: { type: "boolean" }, allowExistingCni: { type: "boolean" } },
    },
  },
};

type Tree = Record<string, unknown>;

const isTree = (value: unknown): value is Tree =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function merge(base: Tree, over: Tree): Tree {
  const result: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = result[key];
    result[key] = isTree(value) && isTree(below) ? merge(below, value) : value;
  }
  return result;
}

/** Parses one `--set a.b=c` (or `a=1,b=2`, lists as `a={x,y}`). */
export function parseSet(text: string): Tree {
  const result: Tree = Object.create(null);
  for (const part of splitOutsideBraces(text)) {
    const at = part.indexOf("=");
    const path = part.slice(0, at).split(".");
    if (at < 1 || path.some((word) => word === "" || word === "__proto__"))
      throw new UsageError(`--set "${text}": expected key=value, for example --set routing=direct`);
    let tree = result;
    for (const word of path.slice(0, -1)) {
      if (!isTree(tree[word])) tree[word] = Object.create(null);
      tree = tree[word] as Tree;
    }
    tree[path.at(-1)!] = parseScalar(part.slice(at + 1));
  }
  return result;
}

function splitOutsideBraces(text: string): string[] {
  return text.match(/(?:[^,{]|\{[^}]*\})+/g) ?? [text];
}

function parseScalar(text: string): unknown {
  if (/^\{.*\}$/.test(text))
    return text
      .slice(1, -1)
      .split(",")
      .filter((item) => item !== "")
      .map(parseScalar);
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

/** Reads values files and `--set` words over `base`; the result is checked whole. Throws UsageError. */
export async function loadValues(
  files: readonly string[],
  sets: readonly string[],
  base: Values = defaultValues,
): Promise<Values> {
  let tree = base as unknown as Tree;
  for (const file of files) {
    let content: unknown;
    try {
      content = parse(await readFile(file, "utf8"), { maxAliasCount: 0 }) ?? {};
    } catch (cause) {
      throw new UsageError(`Cannot read values file ${file}: ${errorMessage(cause)}`, "Nothing was changed.");
    }
    if (!isTree(content)) throw new UsageError(`Values file ${file} is not a map of keys to values`);
    check(content, `values file ${file}`);
    tree = merge(tree, content);
  }
  for (const text of sets) {
    const set = parseSet(text);
    check(set, `--set ${text}`);
    tree = merge(tree, set);
  }
  const values = tree as unknown as Values;
  for (const cidr of values.clusterPodCIDRs) parseCidr(cidr);
  for (const pattern of values.policy.identityLabels) parseLabelPattern(pattern);
  if (values.healthPort === values.metricsPort)
    throw new UsageError(`healthPort and metricsPort are both ${values.healthPort}; they must differ`);
  return values;
}

const validate = new Ajv({ allErrors: true, strict: false }).compile(valuesSchema);

function check(tree: Tree, source: string): void {
  if (validate(tree)) return;
  const lines = (validate.errors ?? []).map(describe);
  throw new UsageError(
    `Invalid ${source}: ${[...new Set(lines)].join("; ")}`,
    "Nothing was changed. See docs/commands/shunt-install.md for every value.",
  );
}

function describe(error: ErrorObject): string {
  const where = error.instancePath.slice(1).replaceAll("/", ".");
  if (error.keyword === "additionalProperties")
    return `unknown key "${[where, error.params.additionalProperty].filter(Boolean).join(".")}"`;
  const allowed = error.keyword === "enum" ? `: ${error.params.allowedValues.join(", ")}` : "";
  return `${where || "it"} ${error.message}${allowed}`;
}
