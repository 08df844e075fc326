// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from "node:util";
import { parseCidr } from "../../../../lib/addresses.ts";
import { errorMessage, UsageError } from "../../../../lib/errors.ts";

/** The flags of the real kube-controller-manager that the small one knows. */
export interface ManagerFlags {
  kubeconfig: string;
  /** Pod networks, at most one a family; empty when node CIDRs are not allocated. */
  clusterCidrs: string[];
  nodeCidrMaskSize: { ipv4: number; ipv6: number };
  allocateNodeCidrs: boolean;
  /** PEM file of the cluster's CA, published to every namespace. */
  rootCaFile: string | undefined;
  /** PEM file that signs the tokens of secrets of type service-account-token. */
  serviceAccountPrivateKeyFile: string | undefined;
  /** Act as `system:serviceaccount:kube-system:<controller>`; "auto" when the own user may not do the work. */
  useServiceAccountCredentials: boolean | "auto";
  leaderElect: boolean;
  nodeMonitorGraceMs: number;
  logLevel: "debug" | "info";
}

const options = {
  kubeconfig: { type: "string" },
  "cluster-cidr": { type: "string", default: "" },
  "node-cidr-mask-size": { type: "string" },
  "node-cidr-mask-size-ipv4": { type: "string" },
  "node-cidr-mask-size-ipv6": { type: "string" },
  "allocate-node-cidrs": { type: "string" },
  "root-ca-file": { type: "string" },
  "service-account-private-key-file": { type: "string" },
  "use-service-account-credentials": { type: "string", default: "auto" },
  "leader-elect": { type: "string", default: "true" },
  "node-monitor-grace-period": { type: "string", default: "40s" },
  v: { type: "string", default: "0" },
} as const;

/** Parses the arguments. Throws UsageError for what it does not know. */
export function parseFlags(argv: string[]): ManagerFlags {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(spelledOut(argv));
  } catch (cause) {
    throw new UsageError(`controller-manager: ${errorMessage(cause)}`);
  }
  if (values.kubeconfig === undefined) throw new UsageError("controller-manager: --kubeconfig is required");
  const clusterCidrs = values["cluster-cidr"].split(",").filter((text) => text !== "");
  for (const text of clusterCidrs) parseCidr(text);
  const credentials = values["use-service-account-credentials"];
  return {
    kubeconfig: values.kubeconfig,
    clusterCidrs,
    nodeCidrMaskSize: {
      ipv4: Number(values["node-cidr-mask-size-ipv4"] ?? values["node-cidr-mask-size"] ?? 24),
      ipv6: Number(values["node-cidr-mask-size-ipv6"] ?? values["node-cidr-mask-size"] ?? 64),
    },
    allocateNodeCidrs: (values["allocate-node-cidrs"] ?? String(clusterCidrs.length > 0)) === "true",
    rootCaFile: values["root-ca-file"],
    serviceAccountPrivateKeyFile: values["service-account-private-key-file"],
    useServiceAccountCredentials: credentials === "auto" ? "auto" : credentials === "true",
    leaderElect: values["leader-elect"] === "true",
    nodeMonitorGraceMs: durationMs(values["node-monitor-grace-period"]),
    logLevel: Number(values.v) > 1 ? "debug" : "info",
  };
}

function parse(args: string[]) {
  return parseArgs({ args, options, strict: true, allowPositionals: false }).values;
}

/** Go's flag package lets a boolean stand alone. */
function spelledOut(argv: string[]): string[] {
  return argv.map((word) =>
    /^--(allocate-node-cidrs|leader-elect|use-service-account-credentials)$/.test(word)
      ? `${word}=true`
      : word,
  );
}

function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (match === null) throw new UsageError(`controller-manager: "${text}" is not a duration such as 40s`);
  return Number(match[1]) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match[2] as "ms"]!;
}
