// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { ClusterSource } from "../inventory/source.ts";
import type { Finding } from "../model/inventory.ts";
import { canonical, comparable, differingFields, isOwn } from "./comparable.ts";
import type { ComparedKind } from "./kinds.ts";

/** How many of a kind each cluster has, and how many are the same. */
export interface KindCount {
  kind: string;
  source: number;
  target: number;
  same: number;
}

export interface ObjectComparison {
  count: KindCount;
  findings: Finding[];
}

/** Objects of one kind whose differing fields are told; of the others only that they differ. */
const mostShown = 50;

const keyOf = ({ metadata }: KubeObject): string =>
  metadata.namespace === undefined ? `${metadata.name}` : `${metadata.namespace}/${metadata.name}`;

/** Workloads whose number an autoscaler sets, as `Deployment ns/name`. */
export async function scaledWorkloads(source: ClusterSource): Promise<Set<string>> {
  const found = new Set<string>();
  await source.each(resourcePath("autoscaling/v2", "horizontalpodautoscalers"), ({ metadata, spec }) => {
    const { kind, name } = spec?.scaleTargetRef ?? {};
    found.add(`${kind} ${metadata.namespace}/${name}`);
  });
  return found;
}

/** Compares the objects of one kind; only a digest of each is kept. */
export async function compareKind(
  clusters: { source: ClusterSource; target: ClusterSource },
  { kind, apiVersion, plural }: ComparedKind,
  isScaled: (object: string) => boolean,
): Promise<ObjectComparison> {
  const path = resourcePath(apiVersion, plural);
  const form = (object: KubeObject) => comparable(kind, object, isScaled(`${kind} ${keyOf(object)}`));
  const digest = (object: KubeObject): string =>
    createHash("sha256")
      .update(canonical(form(object)))
      .digest("base64");
  const wanted = new Map<string, string>();
  await clusters.source.each(path, (object) => {
    if (!isOwn(kind, object)) wanted.set(keyOf(object), digest(object));
  });
  const count: KindCount = { kind, source: wanted.size, target: 0, same: 0 };
  const differing: string[] = [];
  const extra: string[] = [];
  await clusters.target.each(path, (object) => {
    if (isOwn(kind, object)) return;
    count.target += 1;
    const key = keyOf(object);
    const expected = wanted.get(key);
    wanted.delete(key);
    if (expected === undefined) extra.push(key);
    else if (expected === digest(object)) count.same += 1;
    else differing.push(key);
  });
  const findings = [...wanted.keys()].map((key) => missing(kind, key));
  for (const [index, key] of differing.entries()) {
    const fields = index < mostShown ? await fieldsOf(clusters, { kind, apiVersion, plural }, key, form) : [];
    findings.push(differs(kind, key, fields));
  }
  return { count, findings: [...findings, ...extra.map((key) => additional(kind, key))] };
}

async function fieldsOf(
  { source, target }: { source: ClusterSource; target: ClusterSource },
  { kind, apiVersion, plural }: ComparedKind,
  key: string,
  form: (object: KubeObject) => Record<string, any>,
): Promise<string[]> {
  const [name, namespace] = key.split("/").reverse();
  const path = resourcePath(apiVersion, plural, namespace, name);
  const [here, there] = [await source.find(path), await target.find(path)];
  return here === undefined || there === undefined ? [] : differingFields(kind, form(here), form(there));
}

/** What runs to its end, or alone, is not made anew by applying the same files. */
const passing = new Set(["Job", "Pod"]);

const missing = (kind: string, key: string): Finding => ({
  id: "object-missing",
  severity: passing.has(kind) ? "warn" : "block",
  object: `${kind} ${key}`,
  problem: "is not in the new cluster",
  remedy: `Apply it there, from where it was applied here; or leave it out with --ignore "${kind} ${key}".`,
});

const differs = (kind: string, key: string, fields: string[]): Finding => ({
  id: "object-differs",
  severity: passing.has(kind) ? "warn" : "block",
  object: `${kind} ${key}`,
  problem: `is not the same in the new cluster${fields.length === 0 ? "" : `: ${fields.join("; ")}`}`,
  remedy: `Make them the same, or accept it with --ignore "${kind} ${key}".`,
});

const additional = (kind: string, key: string): Finding => ({
  id: "object-additional",
  severity: "info",
  object: `${kind} ${key}`,
  problem: "is in the new cluster only",
  remedy: "Nothing to do if that is meant.",
});
