// SPDX-License-Identifier: Apache-2.0
import { addressBytes, addressFamily, addressText } from "../lib/addresses.ts";
import { ipcacheEntry, ipcacheKey } from "./datapath-layout.ts";
import type { BpfMap } from "./libbpf.ts";

export interface IpcacheEntry {
  key: Uint8Array;
  value: Uint8Array;
}

type IpcacheMap = Pick<BpfMap, "entries" | "setMany" | "deleteMany">;

const hexOf = (key: Uint8Array): string => Buffer.from(key).toString("hex");
const addressBits = 128;
/** Bits that an IPv4 address has in front of it, in the form that maps have. */
const mappedBits = 96;
const noIdentities: ReadonlyMap<string, number> = new Map();

/** The map sh_ipcache: what belongs to nodes, and over that an entry for each pod whose identity is known. */
export class Ipcache {
  readonly #map: () => IpcacheMap;
  #nodes: ReadonlyMap<string, IpcacheEntry> = new Map();
  /** Lengths of the nodes' prefixes. */
  #longestFirst: readonly number[] = [];
  #identities: ReadonlyMap<string, number> = new Map();
  #ofNodes: ReadonlySet<string> = new Set();
  /** What the identities were made from. */
  #given: readonly ReadonlyMap<string, number>[] = [];
  #isFirst = true;

  /** `map` is asked at each use: loading programs again closes the handles of before. */
  constructor(map: () => IpcacheMap) {
    this.#map = map;
  }

  /** Entries of nodes, by key in hex. Compares the whole map, also with what others left in it. */
  setNodes(entries: ReadonlyMap<string, IpcacheEntry>): void {
    const lengths = new Set([...entries.values()].map(({ key }) => ipcacheKey.decode(key).prefixLength));
    this.#nodes = entries;
    this.#longestFirst = [...lengths].toSorted((a, b) => b - a);
    const map = this.#map();
    const found = map.entries();
    if (this.#isFirst) this.#takeOver(found);
    this.#isFirst = false;
    const wanted = new Map(entries);
    for (const text of this.#identities.keys()) {
      const entry = this.#entryOf(text);
      if (entry !== undefined) wanted.set(hexOf(entry.key), entry);
    }
    const present = new Map(found.map(([key, value]) => [hexOf(key), value]));
    const isNew = ([hex, { value }]: [string, IpcacheEntry]): boolean => {
      const old = present.get(hex);
      return old === undefined || !Buffer.from(value).equals(old);
    };
    map.setMany([...wanted].filter(isNew).map(([, { key, value }]) => [key, value] as const));
    map.deleteMany(
      [...present.keys()].filter((hex) => !wanted.has(hex)).map((hex) => Buffer.from(hex, "hex")),
    );
  }

  /** Identities that an agent before has written hold until all are known again: policies that are in force ask for them. */
  #takeOver(found: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    const identities = new Map<string, number>();
    const ofNodes = new Set<string>();
    for (const [key, value] of found) {
      const { prefixLength, address } = ipcacheKey.decode(key);
      const { identity } = ipcacheEntry.decode(value);
      if (prefixLength !== addressBits || identity === 0) continue;
      identities.set(addressText(address), identity);
      if (this.#nodes.has(hexOf(key))) ofNodes.add(addressText(address));
    }
    this.#identities = identities;
    this.#ofNodes = ofNodes;
  }

  /**
   * Identities of other nodes and of their pods, by address. What is for them goes where their node's prefix goes. Writes
   * what is not as in the call before: there are many, and each change of a pod is one of these calls.
   */
  setIdentities(pods: ReadonlyMap<string, number>, nodes: ReadonlyMap<string, number> = noIdentities): void {
    if (this.#given[0] === pods && this.#given[1] === nodes) return;
    const before = { identities: this.#identities, ofNodes: this.#ofNodes };
    const now = { identities: new Map([...pods, ...nodes]), ofNodes: new Set(nodes.keys()) };
    const isSame = (text: string): boolean =>
      before.identities.get(text) === now.identities.get(text) &&
      before.ofNodes.has(text) === now.ofNodes.has(text);
    const values = new Map<string, Uint8Array | undefined>();
    for (const text of before.identities.keys()) {
      const key = isSame(text) ? undefined : this.#entryOf(text, before)?.key;
      if (key !== undefined) values.set(hexOf(key), this.#nodes.get(hexOf(key))?.value);
    }
    for (const text of now.identities.keys()) {
      const entry = isSame(text) ? undefined : this.#entryOf(text, now);
      if (entry !== undefined) values.set(hexOf(entry.key), entry.value);
    }
    const map = this.#map();
    const all = [...values].map(([hex, value]) => [Buffer.from(hex, "hex"), value] as const);
    map.setMany(all.flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const])));
    map.deleteMany(all.flatMap(([key, value]) => (value === undefined ? [key] : [])));
    this.#identities = now.identities;
    this.#ofNodes = now.ofNodes;
    this.#given = [pods, nodes];
  }

  /** Of an address; undefined when nothing leads to it. One of a node stays that, whatever pods say that they have. */
  #entryOf(
    text: string,
    { identities, ofNodes } = { identities: this.#identities, ofNodes: this.#ofNodes },
  ): IpcacheEntry | undefined {
    const address = addressBytes(text);
    const key = ipcacheKey.encode({ prefixLength: addressBits, address });
    const fewest = addressFamily(text) === "ipv4" ? mappedBits : 0;
    const node = this.#containing(address, fewest);
    if (node === undefined || (this.#nodes.has(hexOf(key)) && !ofNodes.has(text))) return undefined;
    const identity = identities.get(text) ?? 0;
    const { flags, tunnelEndpoint } = ipcacheEntry.decode(node.value);
    return { key, value: ipcacheEntry.encode({ flags, tunnelEndpoint, identity }) };
  }

  /** The node's entry with the longest prefix of an address. */
  #containing(address: Uint8Array, fewest: number): IpcacheEntry | undefined {
    for (const prefixLength of this.#longestFirst) {
      if (prefixLength < fewest) return undefined;
      const key = ipcacheKey.encode({ prefixLength, address: firstBits(address, prefixLength) });
      const found = this.#nodes.get(hexOf(key));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

function firstBits(address: Uint8Array, bits: number): Uint8Array {
  return address.map((byte, index) => {
    const left = Math.min(8, Math.max(0, bits - 8 * index));
    return byte & (0xff << (8 - left)) & 0xff;
  });
}
