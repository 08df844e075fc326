// SPDX-License-Identifier: Apache-2.0
import { addressBytes, addressFamily } from "../lib/addresses.ts";
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

/** The map sh_ipcache: what belongs to nodes, and over that an entry for each pod whose identity is known. */
export class Ipcache {
  readonly #map: () => IpcacheMap;
  #nodes: ReadonlyMap<string, IpcacheEntry> = new Map();
  #identities: ReadonlyMap<string, number> = new Map();
  #ofNodes: ReadonlySet<string> = new Set();

  /** `map` is asked at each use: loading programs again closes the handles of before. */
  constructor(map: () => IpcacheMap) {
    this.#map = map;
  }

  /** Entries of nodes, by key in hex. */
  setNodes(entries: ReadonlyMap<string, IpcacheEntry>): void {
    this.#nodes = entries;
    this.#write();
  }

  /** Identities of other nodes and of their pods, by address. What is for them goes where their node's prefix goes. */
  setIdentities(pods: ReadonlyMap<string, number>, nodes: ReadonlyMap<string, number> = new Map()): void {
    this.#identities = new Map([...pods, ...nodes]);
    this.#ofNodes = new Set(nodes.keys());
    this.#write();
  }

  #write(): void {
    const wanted = new Map(this.#nodes);
    const lengths = new Set([...this.#nodes.values()].map(({ key }) => ipcacheKey.decode(key).prefixLength));
    const longestFirst = [...lengths].toSorted((a, b) => b - a);
    for (const [text, identity] of this.#identities) {
      const address = addressBytes(text);
      const key = ipcacheKey.encode({ prefixLength: addressBits, address });
      const fewest = addressFamily(text) === "ipv4" ? mappedBits : 0;
      const node = this.#containing(address, longestFirst, fewest);
      // An address of a node stays one, whatever pods say that they have.
      if (node === undefined || (this.#nodes.has(hexOf(key)) && !this.#ofNodes.has(text))) continue;
      const { flags, tunnelEndpoint } = ipcacheEntry.decode(node.value);
      wanted.set(hexOf(key), { key, value: ipcacheEntry.encode({ flags, tunnelEndpoint, identity }) });
    }
    const map = this.#map();
    const present = new Map(map.entries().map(([key, value]) => [hexOf(key), value]));
    const isNew = ([hex, { value }]: [string, IpcacheEntry]): boolean => {
      const old = present.get(hex);
      return old === undefined || !Buffer.from(value).equals(old);
    };
    map.setMany([...wanted].filter(isNew).map(([, { key, value }]) => [key, value] as const));
    map.deleteMany(
      [...present.keys()].filter((hex) => !wanted.has(hex)).map((hex) => Buffer.from(hex, "hex")),
    );
  }

  /** The node's entry with the longest prefix of an address. */
  #containing(
    address: Uint8Array,
    longestFirst: readonly number[],
    fewest: number,
  ): IpcacheEntry | undefined {
    for (const prefixLength of longestFirst) {
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
