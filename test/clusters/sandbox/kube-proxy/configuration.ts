// SPDX-License-Identifier: Apache-2.0
import { parse } from "yaml";
import type { Family } from "../../../../lib/addresses.ts";
import { UsageError } from "../../../../lib/errors.ts";

export type ProxyMode = "iptables" | "nftables";

/** What this kube-proxy takes from a KubeProxyConfiguration. */
export interface ProxyConfiguration {
  mode: ProxyMode;
  kubeconfig: string | undefined;
  /** Pod ranges by family: traffic from elsewhere to a ClusterIP is masqueraded. */
  clusterCidrs: Partial<Record<Family, string>>;
  masqueradeAll: boolean;
  masqueradeBit: number;
  localhostNodePorts: boolean;
  minSyncPeriodMs: number;
  syncPeriodMs: number;
  healthzPort: number;
  metricsPort: number;
}

const defaultPorts = { healthz: 10256, metrics: 10249 };

/** Reads the YAML of a KubeProxyConfiguration. Throws UsageError for what this kube-proxy cannot do. */
export function readConfiguration(text: string): ProxyConfiguration {
  const config = (parse(text) ?? {}) as Record<string, any>;
  if (config.kind !== "KubeProxyConfiguration")
    throw new UsageError(`kind is "${config.kind}", not KubeProxyConfiguration`);
  const mode = config.mode || "iptables";
  if (mode !== "iptables" && mode !== "nftables")
    throw new UsageError(`Unknown mode "${mode}"`, "Use iptables or nftables.");
  const settings = config[mode] ?? {};
  const cidrs = String(config.clusterCIDR ?? "")
    .split(",")
    .filter((cidr) => cidr !== "");
  const clusterCidrs: ProxyConfiguration["clusterCidrs"] = {};
  for (const cidr of cidrs) clusterCidrs[cidr.includes(":") ? "ipv6" : "ipv4"] = cidr;
  return {
    mode,
    kubeconfig: config.clientConnection?.kubeconfig || undefined,
    clusterCidrs,
    masqueradeAll: settings.masqueradeAll === true,
    masqueradeBit: settings.masqueradeBit ?? 14,
    localhostNodePorts: settings.localhostNodePorts !== false,
    minSyncPeriodMs: durationMs(settings.minSyncPeriod) ?? 1_000,
    syncPeriodMs: durationMs(settings.syncPeriod) || 30_000,
    healthzPort: portOf(config.healthzBindAddress) ?? defaultPorts.healthz,
    metricsPort: portOf(config.metricsBindAddress) ?? defaultPorts.metrics,
  };
}

function portOf(address: unknown): number | undefined {
  const port = /:(\d+)$/.exec(String(address ?? ""))?.[1];
  return port === undefined ? undefined : Number(port);
}

/** Go's way to write durations: `1m30s`, `500ms`. */
export function durationMs(text: unknown): number | undefined {
  if (typeof text !== "string" || text === "") return undefined;
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)];
  if (parts.map(([part]) => part).join("") !== text)
    throw new UsageError(`"${text}" is no duration`, "Write it like 30s, 1m30s or 500ms.");
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit!]!, 0);
}
