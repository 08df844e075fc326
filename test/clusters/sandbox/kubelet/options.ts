// SPDX-License-Identifier: Apache-2.0
import os from "node:os";
import { parseArgs } from "node:util";
import { addressFamily } from "../../../../lib/addresses.ts";
import { errorMessage, UsageError } from "../../../../lib/errors.ts";
import type { LogLevel } from "../../../../lib/log.ts";
import { parseQuantity } from "./quantity.ts";

/** How this kubelet is set up; flags are named as the real kubelet's where it has them. */
export interface KubeletOptions {
  kubeconfig: string;
  runtimeEndpoint: string;
  nodeName: string;
  nodeIps: string[];
  clusterDns: string[];
  clusterDomain: string;
  address: string;
  port: number;
  tlsCertFile: string | undefined;
  tlsKeyFile: string | undefined;
  clientCaFile: string | undefined;
  podManifestPath: string | undefined;
  rootDir: string;
  podLogsDir: string;
  resolvConf: string;
  registerNode: boolean;
  nodeLabels: Record<string, string>;
  /** Taints of a node that registers, as `key=value:Effect`. */
  nodeTaints: { key: string; value?: string; effect: string }[];
  /** Quantities by resource name: cpu, memory, pods, ephemeral-storage. */
  capacity: Record<string, string>;
  logLevel: LogLevel;
}

const text = { type: "string" } as const;

function readFlags(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      allowNegative: true,
      options: {
        kubeconfig: text,
        "container-runtime-endpoint": { ...text, default: "unix:///run/containerd/containerd.sock" },
        "hostname-override": text,
        "node-ip": text,
        "cluster-dns": { ...text, default: "" },
        "cluster-domain": { ...text, default: "cluster.local" },
        address: { ...text, default: "" },
        port: { ...text, default: "10250" },
        "tls-cert-file": text,
        "tls-private-key-file": text,
        "client-ca-file": text,
        "pod-manifest-path": text,
        "root-dir": { ...text, default: "/var/lib/kubelet" },
        "pod-logs-dir": { ...text, default: "/var/log/pods" },
        "resolv-conf": { ...text, default: "/etc/resolv.conf" },
        "register-node": { type: "string", default: "true" },
        "node-labels": { ...text, default: "" },
        "register-with-taints": { ...text, default: "" },
        capacity: { ...text, default: "" },
        v: { ...text, default: "2" },
      },
    }).values;
  } catch (cause) {
    throw new UsageError(`kubelet: ${errorMessage(cause)}`);
  }
}

const listOf = (value: string): string[] => value.split(",").filter((item) => item !== "");

function pairsOf(flag: string, value: string): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const item of listOf(value)) {
    const at = item.indexOf("=");
    if (at < 1) throw new UsageError(`kubelet: --${flag}: "${item}" is not name=value`);
    pairs[item.slice(0, at)] = item.slice(at + 1);
  }
  return pairs;
}

function taintOf(text: string): KubeletOptions["nodeTaints"][number] {
  const [, key, value, effect] = /^([^=:]+)(?:=([^:]*))?:(\w+)$/.exec(text) ?? [];
  if (key === undefined || effect === undefined)
    throw new UsageError(`kubelet: --register-with-taints: "${text}" is not key=value:Effect`);
  return { key, ...(value === undefined || value === "" ? {} : { value }), effect };
}

/** Reads the command line. Throws UsageError. */
export function parseOptions(argv: string[]): KubeletOptions {
  const flags = readFlags(argv);
  if (flags.kubeconfig === undefined) throw new UsageError("kubelet: --kubeconfig is missing");
  const capacity = pairsOf("capacity", flags.capacity);
  for (const quantity of Object.values(capacity)) parseQuantity(quantity);
  const nodeIps = listOf(flags["node-ip"] ?? "");
  for (const address of nodeIps) addressFamily(address);
  return {
    kubeconfig: flags.kubeconfig,
    runtimeEndpoint: flags["container-runtime-endpoint"],
    nodeName: (flags["hostname-override"] ?? os.hostname()).toLowerCase(),
    nodeIps: nodeIps.length > 0 ? nodeIps : defaultNodeIps(),
    clusterDns: listOf(flags["cluster-dns"]),
    clusterDomain: flags["cluster-domain"],
    address: flags.address === "" ? "::" : flags.address,
    port: Number(flags.port),
    tlsCertFile: flags["tls-cert-file"],
    tlsKeyFile: flags["tls-private-key-file"],
    clientCaFile: flags["client-ca-file"],
    podManifestPath: flags["pod-manifest-path"],
    rootDir: flags["root-dir"],
    podLogsDir: flags["pod-logs-dir"],
    resolvConf: flags["resolv-conf"],
    registerNode: flags["register-node"] === "true",
    nodeLabels: pairsOf("node-labels", flags["node-labels"]),
    nodeTaints: listOf(flags["register-with-taints"]).map(taintOf),
    capacity: {
      cpu: String(os.cpus().length),
      memory: `${Math.floor(os.totalmem() / 1024)}Ki`,
      pods: "110",
      "ephemeral-storage": "10Gi",
      ...capacity,
    },
    logLevel: Number(flags.v) >= 4 ? "debug" : "info",
  };
}

function defaultNodeIps(): string[] {
  const addresses = Object.values(os.networkInterfaces()).flatMap((list) => list ?? []);
  return addresses
    .filter((entry) => !entry.internal && entry.family === "IPv4")
    .map((entry) => entry.address)
    .slice(0, 1);
}
