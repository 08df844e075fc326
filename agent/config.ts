// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { Ajv } from "ajv";
import { parse } from "yaml";
import { parseCidr } from "../lib/addresses.ts";
import { errorMessage, ShuntError } from "../lib/errors.ts";
import { parseLabelPattern } from "../lib/label-patterns.ts";
import type { LogLevel } from "../lib/log.ts";

/** How each layer of a node is set. */
export interface Modes {
  podNetwork: "standby" | "active";
  services: "off" | "shadow" | "handover" | "on";
  policy: "off" | "audit" | "enforce";
  security: "observe" | "enforce";
}

/** The agent's configuration file. */
export interface AgentConfig {
  /** UDP port of the overlay. */
  tunnelPort: number;
  routing: "vxlan" | "direct";
  /** Bytes of a pod's MTU; 0 means from the uplink. */
  mtu: number;
  masquerade: boolean;
  nodePortMin: number;
  nodePortMax: number;
  /** Prefixes of the node addresses on which node ports answer; "primary" stands for the node's InternalIPs. */
  nodePortAddresses: string[];
  /** How packets for a backend on another node come back: through this one, or by themselves. */
  forwarding: "snat" | "dsr" | "hybrid";
  /** Whether flows to backends on other nodes turn round in the uplink's driver (XDP). */
  acceleration: "disabled" | "best-effort" | "native";
  /** Most entries by map, for maps that are not made yet. */
  mapSizes: Record<string, number>;
  /** Patterns of labels that make identities, or do not, before the usual ones. */
  identityLabels: string[];
  /** Modes of a node whose ShuntNode object does not say. */
  defaults: Modes;
  logLevel: LogLevel;
  clusterPodCIDRs: string[];
  serviceCIDRs: string[];
  healthPort: number;
  metricsPort: number;
  /** Where load balancers ask for the node's health, as they do of kube-proxy; 0 is nowhere. */
  proxyHealthPort: number;
}

const port = { type: "integer", minimum: 1, maximum: 65535 };
const cidrs = { type: "array", items: { type: "string" } };
const closed = { type: "object", additionalProperties: false };

const mapSize = { type: "integer", minimum: 1024, maximum: 16_777_216 };
/** The kernel's maps by the names under which the configuration sizes them. */
const mapsOf = {
  services: {
    services: "sh_services",
    backends: "sh_backends",
    flows: "sh_nat",
    affinity: "sh_affinity",
  },
  policy: {
    tables: "sh_policy_tables",
    ports: "sh_policy_ports",
    networks: "sh_policy_networks",
    prefixes: "sh_policy_prefixes",
    flows: "sh_policy_flows",
  },
} as const;
const sizesOf = (part: keyof typeof mapsOf) => ({
  ...closed,
  properties: Object.fromEntries(Object.keys(mapsOf[part]).map((name) => [name, mapSize])),
});

export const modeValues = {
  podNetwork: ["standby", "active"],
  services: ["off", "shadow", "handover", "on"],
  policy: ["off", "audit", "enforce"],
  security: ["observe", "enforce"],
} as const;

const schema = {
  ...closed,
  properties: {
    tunnelPort: port,
    routing: { enum: ["vxlan", "direct"] },
    mtu: { type: "integer", anyOf: [{ const: 0 }, { minimum: 1280, maximum: 65535 }] },
    masquerade: { type: "boolean" },
    services: {
      ...closed,
      properties: {
        nodePortRange: { type: "string", pattern: "^\\d{1,5}-\\d{1,5}$" },
        nodePortAddresses: cidrs,
        healthPort: { ...port, minimum: 0 },
        forwarding: { enum: ["snat", "dsr", "hybrid"] },
        acceleration: { enum: ["disabled", "best-effort", "native"] },
        maps: sizesOf("services"),
      },
    },
    policy: {
      ...closed,
      properties: {
        identityLabels: { type: "array", items: { type: "string", minLength: 1 } },
        maps: sizesOf("policy"),
      },
    },
    defaults: {
      ...closed,
      properties: Object.fromEntries(
        Object.entries(modeValues).map(([layer, values]) => [layer, { enum: values }]),
      ),
    },
    logLevel: { enum: ["debug", "info", "warn", "error"] },
    clusterPodCIDRs: cidrs,
    serviceCIDRs: cidrs,
    healthPort: port,
    metricsPort: port,
  },
};

const validate = new Ajv({ allErrors: true, strict: true, strictTypes: false }).compile<any>(schema);

const invalid = (where: string, problem: string): ShuntError =>
  new ShuntError(`Configuration ${where} is invalid: ${problem}`, {
    code: "BadConfig",
    exitCode: 2,
    remedy: "Mend the ConfigMap shunt-config in kube-system (or run shunt upgrade with right values).",
  });

/** Checks parsed YAML and fills in defaults. Throws ShuntError that names every wrong key. */
export function parseConfig(content: unknown, where: string): AgentConfig {
  const given: any = content ?? {};
  if (!validate(given)) {
    const problems = (validate.errors ?? []).map((error) => {
      const extra = error.params.additionalProperty ?? error.params.allowedValues?.join(", ") ?? "";
      return `${error.instancePath || "/"} ${error.message}${extra === "" ? "" : ` (${extra})`}`;
    });
    throw invalid(where, problems.join("; "));
  }
  const range = (given.services?.nodePortRange ?? "30000-32767").split("-").map(Number);
  if (range[0] < 1 || range[1] > 65535 || range[0] > range[1])
    throw invalid(where, `services.nodePortRange ${range.join("-")} is no range of ports`);
  const nodePortAddresses: string[] = given.services?.nodePortAddresses ?? [];
  const prefixes = nodePortAddresses.filter((text) => text !== "primary");
  for (const text of [...(given.clusterPodCIDRs ?? []), ...(given.serviceCIDRs ?? []), ...prefixes])
    try {
      parseCidr(text);
    } catch (error) {
      throw invalid(where, errorMessage(error));
    }
  const identityLabels: string[] = given.policy?.identityLabels ?? [];
  for (const pattern of identityLabels)
    try {
      parseLabelPattern(pattern);
    } catch (error) {
      throw invalid(where, `policy.identityLabels: ${errorMessage(error)}`);
    }
  return {
    tunnelPort: given.tunnelPort ?? 8473,
    routing: given.routing ?? "vxlan",
    mtu: given.mtu ?? 0,
    masquerade: given.masquerade ?? true,
    nodePortMin: range[0],
    nodePortMax: range[1],
    nodePortAddresses,
    forwarding: given.services?.forwarding ?? "snat",
    acceleration: given.services?.acceleration ?? "disabled",
    mapSizes: Object.fromEntries(
      Object.entries(mapsOf).flatMap(([part, names]) =>
        Object.entries(names).flatMap(([name, map]) => {
          const size: number | undefined = given[part]?.maps?.[name];
          return size === undefined ? [] : [[map, size]];
        }),
      ),
    ),
    identityLabels,
    defaults: { podNetwork: "active", services: "on", policy: "off", security: "observe", ...given.defaults },
    logLevel: given.logLevel ?? "info",
    clusterPodCIDRs: given.clusterPodCIDRs ?? [],
    serviceCIDRs: given.serviceCIDRs ?? [],
    healthPort: given.healthPort ?? 9879,
    metricsPort: given.metricsPort ?? 9962,
    proxyHealthPort: given.services?.healthPort ?? 10_256,
  };
}

/** Reads the configuration file. */
export function loadConfig(file: string): AgentConfig {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new ShuntError(`Cannot read configuration ${file}: ${errorMessage(cause)}`, {
      code: "BadConfig",
      exitCode: 2,
      remedy: "The DaemonSet mounts the ConfigMap shunt-config there; name another file with --config.",
      cause,
    });
  }
  let content: unknown;
  try {
    content = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw invalid(file, errorMessage(cause));
  }
  return parseConfig(content, file);
}
