// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import type { FedInformer } from "./fed-informer.ts";

/** What is read of a map that service flows are in: keys and values are raw bytes. */
interface FlowMap {
  entries(): [Uint8Array, Uint8Array][];
  deleteMany(keys: readonly Uint8Array[]): void;
}

/** A map that a service table writes. */
interface TableMap extends FlowMap {
  readonly capacity: number;
  setMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void;
  each(): Iterable<[Uint8Array, Uint8Array]>;
}

/** Any map of a lab. */
interface KernelMap extends TableMap {
  get(key: Uint8Array): Uint8Array | undefined;
  set(key: Uint8Array, value: Uint8Array): unknown;
}

/** Two nodes with pods joined by the product's own datapath: `n1p1` and `n1p2` on one node, `n2p1` on another. */
export interface OpenLab {
  /** Path of a part's network namespace; `n2` is the second node's own. */
  netns(part: "n1p1" | "n1p2" | "n2p1" | "n2"): string;
  /** A command line that runs in a namespace, its sockets translated as those of node 1. */
  command(part: "n1p1", words: readonly string[]): [file: string, args: string[]];
  /** A map of a node, by the name that the kernel knows. */
  map(node: 1 | 2, name: string): KernelMap;
  close(): Promise<void>;
}

/** The maps that services live in. */
export type ServiceMaps = Record<"services" | "backends" | "maglev" | "members" | "sourceRanges", TableMap> &
  Record<"nat" | "socketNat", FlowMap>;

/** What is fed to a service controller. */
export interface ServiceSources {
  services: FedInformer;
  slices: FedInformer;
  pods: FedInformer;
}

/** The product's service controller. */
export interface ServiceControl {
  /** Writes to the maps what changed. */
  sync(): void;
  /** Entries that it has in each map. */
  readonly fill: readonly { map: string; entries: number }[];
}

/** The product's service layer. */
export interface ServiceParts {
  maps(lab: OpenLab, node: 1 | 2): ServiceMaps;
  /** Makes ready to write all of these; the function then writes it into maps that are empty. */
  prepare(services: readonly KubeObject[], slices: readonly KubeObject[], maps: ServiceMaps): () => void;
  /** Empties the maps, whatever wrote to them. */
  clear(maps: ServiceMaps): void;
  control(options: {
    sources: ServiceSources;
    maps: ServiceMaps;
    nodeName: string;
    onDirty: () => void;
  }): ServiceControl;
  /** Takes out of an EndpointSlice what the agent does not keep of it. */
  forgetMostOfSlice(slice: KubeObject): void;
  /** Gathers what comes within the agent's delay into one run of `work`. */
  coalesced(work: () => void, onError: (error: unknown) => void): { trigger(): void; stop(): Promise<void> };
  /** Command line, without its folder, of the process whose memory is measured; and what to add to the environment. */
  memoryProcess(): Promise<{ command: readonly string[]; env: Record<string, string> }>;
}

/** What is fed to a policy controller. */
export interface PolicySources
  extends Record<"pods" | "namespaces" | "nodes" | "identities" | "services" | "slices", FedInformer> {
  policies: FedInformer[];
}

/** A node with the product's policies in real maps: packets run through its programs, no device carries them. */
export interface PolicyNode {
  open(): Promise<void>;
  /** Writes to the maps what changed. */
  sync(): void;
  /** By which number the programs know a pod; 0: they do not. */
  numberOf(address: string): number;
  /** How much there is. */
  readonly fill: Record<string, number>;
  /** Nanoseconds that a program took for a packet, from or to a pod of the node; it must let it through. */
  run(way: "egress" | "ingress", packet: PolicyPacket): number;
  close(): Promise<void>;
}

export interface PolicyPacket {
  source: string;
  destination: string;
  protocol: "tcp" | "udp";
  sourcePort: number;
  destinationPort: number;
  tcpFlags: number;
}

/** The product's policy layer. */
export interface PolicyParts {
  node(options: {
    /** Of its network namespace. */
    name: string;
    nodeName: string;
    sources: PolicySources;
    /** Pod CIDRs of all nodes. */
    nodes: ReadonlyMap<string, string>;
    /** Keeps the object of a new number. */
    createIdentity: (object: KubeObject) => void;
    onDirty: () => void;
  }): PolicyNode;
  /** The labels by which policies know a pod. */
  labelsOf(pod: KubeObject, namespace: KubeObject): Record<string, string>;
  coalesced: ServiceParts["coalesced"];
  /** What can be looked for. */
  fuzzNames: readonly string[];
  /** Tries random policies for about a second; a finding is in words. */
  fuzz(name: string, seed: number): { cases: number; finding: string | undefined };
}

/** What a bench needs of the product; handed in by bin/bench.ts, as test/ knows only lib/. */
export interface DatapathParts {
  openLab(options: { name: string; routing: "vxlan" | "direct" }): Promise<OpenLab>;
  /** Command line, without the number of rounds, of the `cni` bench's part on its node. */
  cniNode: readonly string[];
  services: ServiceParts;
  policies: PolicyParts;
}

/** What the benches `policy` and `policy-fuzz` are told. */
export interface PolicyOptions {
  /** How many policies there are on the two nodes that are compared; ascending. */
  counts: number[];
  identities: number;
  fuzzMs: number;
}

/** What the bench `services` is told. */
export interface ServiceOptions {
  /** How many services there are, one measurement after the other; ascending. */
  sizes: number[];
  /** Changes of endpoints under load. */
  changes: number;
  /** How long to change and load both nodes instead of measuring. */
  soakMs: number | undefined;
}

export interface BenchContext {
  parts: DatapathParts;
  /** How often each path is measured, interleaved with the others. */
  rounds: number;
  services: ServiceOptions;
  policies: PolicyOptions;
  /** Aborts when the user wants to stop: everything made goes then. */
  signal: AbortSignal;
  /** Says where it is; throws when the user wants to stop. */
  progress(line: string): void;
}

/** What a ratio should be. */
export type Goal = { atLeast: number } | { atMost: number } | { below: number };

export interface BenchResult {
  /** Flat: name of the comparison -> ratio of medians, pairwise within this run. */
  ratios: Record<string, number>;
  /** The medians behind them, with their units in the name. */
  medians: Record<string, number>;
  /** By name of the ratio. */
  goals?: Record<string, Goal>;
  /** For people: what the ratios do not tell. */
  table?: string[];
  /** Why the run as such failed; the program then ends with 1. */
  failure?: string;
}

export type Bench = (context: BenchContext) => Promise<BenchResult>;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value below which this share of them lies; `share` from 0 to 1. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** The median of the rounds' own ratios: the machine's drift touches both sides of a round alike. */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): number {
  return Math.round(median(ours.map((value, round) => value / theirs[round]!)) * 1000) / 1000;
}

/** Undoes in reverse, each whatever became of the others; throws the first error at the end. */
export async function undoAll(undos: readonly (() => Promise<void>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const undo of undos.toReversed()) await undo().catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw errors[0];
}
