// SPDX-License-Identifier: Apache-2.0
import { parse } from "yaml";
import { resourcePath } from "../../../lib/kube.ts";
import type { KubeObject } from "../../../lib/kube-object.ts";
import type { ObjectRef, OldNetwork, Platform } from "../../model/inventory.ts";
import type { Sample } from "../details.ts";
import type { NodeTally } from "../nodes.ts";
import type { ClusterSource } from "../source.ts";

/** A DaemonSet in the words that detectors ask about. */
export interface DaemonSet {
  ref: ObjectRef & { namespace: string };
  object: KubeObject;
  images: string[];
  containers: string[];
  env: ReadonlyMap<string, string>;
  args: string[];
  /** ConfigMaps that it mounts or takes variables from. */
  configMaps: string[];
  /** Writes into the folder of CNI configurations. */
  installsCni: boolean;
  /** Runs on no node: disabled by a nodeSelector, or none fits. */
  idle: boolean;
}

/** All from which the network is told. */
export interface Evidence {
  source: ClusterSource;
  daemonSets: DaemonSet[];
  nodes: NodeTally;
  platform: Platform;
}

/** The old network and what is to be known of it beside. */
export interface DetectedNetwork extends OldNetwork {
  evidence: string;
  ipam: string;
  ebpf: boolean;
  servesServices: boolean;
  plugins: string[];
  /** Objects that would put it back when it is changed, such as an operator's Deployment. */
  operator?: string;
  foreignBlocks?: Sample;
  bgpPeers?: number;
  announcesServices?: boolean;
}

/** Describes a DaemonSet of the cluster. */
export function describeDaemonSet(object: KubeObject): DaemonSet {
  const pod = object.spec?.template?.spec ?? {};
  const containers: any[] = [...(pod.containers ?? []), ...(pod.initContainers ?? [])];
  const volumes: any[] = pod.volumes ?? [];
  const env = new Map<string, string>();
  for (const container of containers)
    for (const { name, value } of container.env ?? []) if (value !== undefined) env.set(name, String(value));
  const configMaps = [
    ...volumes.map((volume) => volume.configMap?.name),
    ...containers.flatMap((container) => [
      ...(container.envFrom ?? []).map((from: any) => from.configMapRef?.name),
      ...(container.env ?? []).map((entry: any) => entry.valueFrom?.configMapKeyRef?.name),
    ]),
  ].filter((name): name is string => typeof name === "string");
  const desired = object.status?.desiredNumberScheduled;
  return {
    ref: {
      kind: "DaemonSet",
      namespace: object.metadata.namespace ?? "",
      name: object.metadata.name ?? "",
    },
    object,
    images: containers.map((container) => String(container.image ?? "")),
    containers: containers.map((container) => String(container.name ?? "")),
    env,
    args: containers
      .flatMap((container) => [...(container.command ?? []), ...(container.args ?? [])])
      .map(String),
    configMaps: [...new Set(configMaps)],
    installsCni: volumes.some((volume) => String(volume.hostPath?.path ?? "").startsWith("/etc/cni")),
    idle: desired === 0 && (object.status?.observedGeneration ?? 0) > 0,
  };
}

/** The one that runs with this name, or with an image of this name. */
export function findSet({ daemonSets }: Evidence, name: RegExp, image?: RegExp): DaemonSet | undefined {
  return (
    daemonSets.find((set) => name.test(set.ref.name)) ??
    (image === undefined ? undefined : daemonSets.find((set) => set.images.some((text) => image.test(text))))
  );
}

/** A ConfigMap's data; empty when it does not exist. */
export async function configMapData(
  { source }: Evidence,
  namespace: string,
  name: string,
): Promise<Record<string, string>> {
  const object = await source.find(resourcePath("v1", "configmaps", namespace, name));
  return object?.data ?? {};
}

/** Data of all ConfigMaps of a DaemonSet together, and their names. */
export async function configOf(
  evidence: Evidence,
  set: DaemonSet,
): Promise<{ data: Record<string, string>; refs: ObjectRef[] }> {
  const { namespace } = set.ref;
  const data: Record<string, string> = {};
  for (const name of set.configMaps) Object.assign(data, await configMapData(evidence, namespace, name));
  return { data, refs: set.configMaps.map((name) => ({ kind: "ConfigMap", namespace, name })) };
}

/** JSON or YAML that may be broken; an empty object then. */
export function readable(text: string | undefined): any {
  if (text === undefined) return {};
  try {
    return parse(text) ?? {};
  } catch {
    return {};
  }
}

/** A variable of the DaemonSet, or what it takes from its ConfigMap under a key. */
export function setting(
  set: DaemonSet,
  data: Record<string, string>,
  name: string,
  key?: string,
): string | undefined {
  const direct = set.env.get(name);
  if (direct !== undefined && direct !== "") return direct;
  return key === undefined ? undefined : data[key];
}

/** A CNI configuration among the values of a ConfigMap: names of its plugins, and the first of them. */
export function cniConfiguration(
  data: Record<string, string>,
): { plugins: string[]; first: any } | undefined {
  for (const value of Object.values(data)) {
    if (typeof value !== "string" || !/"(plugins|type)"\s*:/.test(value)) continue;
    // Placeholders such as __CNI_MTU__ stand where numbers belong.
    const conf = readable(value.replaceAll(/:\s*__(\w+)__/g, ': "__$1__"'));
    const list: any[] = Array.isArray(conf.plugins) ? conf.plugins : conf.type === undefined ? [] : [conf];
    const plugins = list.map((plugin) => String(plugin?.type ?? "")).filter((type) => type !== "");
    if (plugins.length > 0) return { plugins, first: list[0] };
  }
  return undefined;
}

/** A positive whole number, or undefined. */
export function positive(value: unknown): number | undefined {
  const number = Number(value);
  return Number.isInteger(number) && number > 0 ? number : undefined;
}

export const isTrue = (value: unknown): boolean => /^(true|1|yes|enabled)$/i.test(String(value ?? ""));

/** A network of which nothing more is known yet. */
export function blankNetwork(kind: OldNetwork["kind"], evidence: string): DetectedNetwork {
  return {
    kind,
    mode: "",
    others: [],
    configuration: [],
    podCIDRs: [],
    encapsulation: "unknown",
    enforcesPolicy: false,
    evidence,
    ipam: "unknown",
    ebpf: false,
    servesServices: false,
    plugins: [],
  };
}

/** The same for one that a DaemonSet runs. */
export function networkOf(kind: OldNetwork["kind"], { ref }: DaemonSet): DetectedNetwork {
  return { ...blankNetwork(kind, `DaemonSet ${ref.namespace}/${ref.name}`), daemonSet: ref };
}
