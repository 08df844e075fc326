// SPDX-License-Identifier: Apache-2.0
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { ProbeReading, ReadResults } from "./merge.ts";
import { probeNamespace, resultsConfigMap } from "./names.ts";
import { keyOf } from "./results.ts";

const labels = { "app.kubernetes.io/name": "shunt", "app.kubernetes.io/managed-by": "shunt" };
const keptName = "shunt-probe-kept";
const figuresName = "shunt-probe-before";
/** A ConfigMap takes 1 MiB. */
const maxBytes = 900_000;

async function pack(value: unknown): Promise<string> {
  return (await promisify(gzip)(JSON.stringify(value))).toString("base64");
}

async function unpack<T>(text: string): Promise<T> {
  return JSON.parse((await promisify(gunzip)(Buffer.from(text, "base64"))).toString("utf8")) as T;
}

async function write(
  kube: KubeClient,
  namespace: string,
  name: string,
  binaryData: Record<string, string>,
): Promise<void> {
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, labels }, binaryData };
  await kube.apply(resourcePath("v1", "configmaps", namespace, name), object);
}

/** Keeps the results of all probes beyond their end. */
export async function saveReading(kube: KubeClient, reading: ProbeReading): Promise<void> {
  let text = await pack(reading);
  if (text.length > maxBytes) {
    const { probes, longConnections } = reading;
    const fewer = {
      ...reading,
      probes: { ...probes, series: probes.series.slice(0, 100), losses: probes.losses.slice(0, 200) },
      longConnections: { ...longConnections, list: longConnections.list.slice(0, 500) },
    };
    text = await pack(fewer);
  }
  await write(kube, "kube-system", resultsConfigMap, { results: text });
}

/** Results that were kept when the probes were stopped. */
export async function readSaved(kube: KubeClient): Promise<ProbeReading | undefined> {
  const object = await kube.find(resourcePath("v1", "configmaps", "kube-system", resultsConfigMap));
  const text = object?.binaryData?.results;
  return text === undefined ? undefined : await unpack<ProbeReading>(text);
}

/** Keeps figures of the time before anything was switched. */
export async function saveFigures(kube: KubeClient, figures: Record<string, number>): Promise<void> {
  await write(kube, probeNamespace, figuresName, { figures: await pack(figures) });
}

/** The figures of before, while the probes run. */
export async function readFigures(kube: KubeClient): Promise<Record<string, number> | undefined> {
  const object = await kube.find(resourcePath("v1", "configmaps", probeNamespace, figuresName));
  const text = object?.binaryData?.figures;
  return text === undefined ? undefined : await unpack<Record<string, number>>(text);
}

/** Keeps what probes on cordoned nodes saw: such a node may be about to go, and its results with it. */
export async function saveCordoned(kube: KubeClient, nodes: readonly ReadResults[]): Promise<void> {
  const cordoned = await kube.list("/api/v1/nodes", { fieldSelector: "spec.unschedulable=true" });
  const names = new Set(cordoned.items.map(({ metadata }) => metadata.name));
  const going = nodes.filter(({ results }) => names.has(results.node));
  if (going.length === 0) return;
  const kept = await readKept(kube);
  for (const one of going) kept.set(keyOf(one.results), one);
  const data: Record<string, string> = {};
  for (const [node, results] of kept) data[node] = await pack(results);
  const size = Object.values(data).reduce((sum, text) => sum + text.length, 0);
  if (size <= maxBytes) await write(kube, probeNamespace, keptName, data);
}

/** What was kept of nodes, by name. */
export async function readKept(kube: KubeClient): Promise<Map<string, ReadResults>> {
  const object = await kube.find(resourcePath("v1", "configmaps", probeNamespace, keptName));
  const kept = new Map<string, ReadResults>();
  for (const [node, text] of Object.entries((object?.binaryData ?? {}) as Record<string, string>))
    kept.set(node, await unpack<ReadResults>(text));
  return kept;
}
