// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import { ClusterSource, type KubeReader } from "../inventory/source.ts";
import type { Finding, Severity } from "../model/inventory.ts";
import { builtInKinds, customKinds } from "./kinds.ts";
import { compareKind, type KindCount, scaledWorkloads } from "./objects.ts";
import { readinessOf } from "./readiness.ts";

export interface ComparisonOptions {
  signal?: AbortSignal;
  /** Objects whose absence or difference is meant: `Kind namespace/name`, `*` for any run of characters. */
  ignore?: readonly string[];
  /** Objects asked for at a time. */
  pageSize?: number;
}

/** Whether a parallel cluster could take the place of this one. */
export interface Comparison {
  version: 1;
  source: { server: string; uid: string };
  target: { server: string; uid: string };
  /** Nothing blocks: the traffic can be moved. */
  ready: boolean;
  kinds: KindCount[];
  findings: Finding[];
}

const order: Record<Severity, number> = { block: 0, warn: 1, info: 2 };

/** Compares two clusters object by object and tells whether the second is ready; changes nothing in either. */
export async function compareClusters(
  sourceKube: KubeReader,
  targetKube: KubeReader,
  options: ComparisonOptions = {},
): Promise<Comparison> {
  const source = new ClusterSource(sourceKube, options);
  const target = new ClusterSource(targetKube, options);
  const uids = { source: await uidOf(source), target: await uidOf(target) };
  refuseSame(uids, sourceKube, targetKube);
  const scaled = await scaledWorkloads(source);
  const kinds: KindCount[] = [];
  const findings: Finding[] = [];
  for (const kind of [...builtInKinds, ...(await customKinds(source))]) {
    const result = await compareKind({ source, target }, kind, (object) => scaled.has(object));
    if (result.count.source > 0 || result.count.target > 0) kinds.push(result.count);
    findings.push(...result.findings);
  }
  findings.push(...(await readinessOf(source, target)));
  findings.push(...gapsOf("old", source), ...gapsOf("new", target));
  const ignored = (options.ignore ?? []).map(patternOf);
  const kept = findings
    .map((found): Finding => {
      if (found.severity !== "block" || !ignored.some((pattern) => pattern.test(found.object))) return found;
      return { ...found, severity: "info", problem: `ignored: ${found.problem}` };
    })
    .sort((a, b) => order[a.severity] - order[b.severity]);
  return {
    version: 1,
    source: { server: sourceKube.server, uid: uids.source },
    target: { server: targetKube.server, uid: uids.target },
    ready: !kept.some(({ severity }) => severity === "block"),
    kinds,
    findings: kept,
  };
}

async function uidOf(cluster: ClusterSource): Promise<string> {
  const system = await cluster.find(resourcePath("v1", "namespaces", undefined, "kube-system"));
  return system?.metadata.uid ?? "";
}

function refuseSame(
  uids: { source: string; target: string },
  { server: from }: KubeReader,
  { server: to }: KubeReader,
): void {
  const isSame = uids.source === "" || uids.target === "" ? from === to : uids.source === uids.target;
  if (!isSame) return;
  throw new ShuntError(`The new cluster at ${to} is the old one`, {
    code: "SameCluster",
    exitCode: 2,
    remedy: "Name the new cluster's context with --target-context, or its file with --target-kubeconfig.",
  });
}

const gapsOf = (which: string, { gaps }: ClusterSource): Finding[] =>
  [...new Map(gaps.map((gap) => [gap.resource, gap])).values()].map(({ resource, reason }) => ({
    id: "not-readable",
    severity: "block",
    object: `${which} cluster, ${resource}`,
    problem: `cannot be read: ${reason}`,
    remedy: "Use a context that may read it; without it nobody knows whether the clusters agree.",
  }));

const patternOf = (text: string): RegExp =>
  new RegExp(
    `^${text
      .split("*")
      .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`,
  );
