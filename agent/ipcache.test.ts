// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { addressBytes, addressText, parseCidr } from "../lib/addresses.ts";
import { ipcacheEntry, ipcacheFlags, ipcacheKey, ipcachePrefix } from "./datapath-layout.ts";
import { Ipcache } from "./ipcache.ts";

/** A map in memory, and how often it was written. */
class Memory {
  readonly held = new Map<string, Uint8Array>();
  writes = 0;

  entries(): [Uint8Array, Uint8Array][] {
    return [...this.held].map(([hex, value]) => [Buffer.from(hex, "hex"), value]);
  }
  setMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    this.writes += entries.length;
    for (const [key, value] of entries) this.held.set(Buffer.from(key).toString("hex"), value);
  }
  deleteMany(keys: readonly Uint8Array[]): void {
    for (const key of keys) this.held.delete(Buffer.from(key).toString("hex"));
  }

  /** `address/bits identity flags node`. */
  get words(): string[] {
    return this.entries()
      .map(([key, value]) => {
        const { prefixLength, address } = ipcacheKey.decode(key);
        const { identity, flags, tunnelEndpoint } = ipcacheEntry.decode(value);
        return `${addressText(address)}/${prefixLength} ${identity} ${flags} ${addressText(tunnelEndpoint)}`;
      })
      .toSorted();
  }
}

const { IPCACHE_IN_CLUSTER, IPCACHE_NODE, IPCACHE_TUNNEL } = ipcacheFlags;
const nodes = new Map(
  [
    ["10.244.0.0/16", IPCACHE_IN_CLUSTER, "::"],
    ["10.244.2.0/24", IPCACHE_IN_CLUSTER | IPCACHE_TUNNEL, "172.31.0.3"],
    ["fd10:244:0:2::/64", IPCACHE_IN_CLUSTER | IPCACHE_TUNNEL, "172.31.0.3"],
    ["172.31.0.3/32", IPCACHE_NODE, "172.31.0.3"],
  ].map(([cidr, flags, node]) => {
    const key = ipcachePrefix(parseCidr(cidr as string));
    const tunnelEndpoint = addressBytes(node as string);
    const value = ipcacheEntry.encode({ flags: flags as number, tunnelEndpoint });
    return [Buffer.from(key).toString("hex"), { key, value }] as const;
  }),
);

test("what an agent before knew holds until all is known again", () => {
  const map = new Memory();
  const before = new Ipcache(() => map);
  before.setNodes(nodes);
  before.setIdentities(
    new Map([
      ["10.244.2.7", 300],
      ["fd10:244:0:2::8", 301],
    ]),
    new Map([["172.31.0.3", 6]]),
  );
  const known = map.words;
  const after = new Ipcache(() => map);
  map.writes = 0;
  after.setNodes(nodes);
  assert.deepEqual([map.words, map.writes], [known, 0]);
  after.setIdentities(new Map([["10.244.2.7", 300]]), new Map([["172.31.0.3", 7]]));
  assert.deepEqual(
    map.words
      .filter((word) => / (30\d|6|7) /.test(word))
      .map((word) => word.split(" ").slice(0, 2).join(" ")),
    ["10.244.2.7/128 300", "172.31.0.3/128 7"],
  );
  assert.equal(map.held.size, 5);
});

test("pods go where their node's prefix goes, in both families, and addresses of nodes stay those", () => {
  const map = new Memory();
  const ipcache = new Ipcache(() => map);
  ipcache.setNodes(nodes);
  assert.equal(map.held.size, 4);
  ipcache.setIdentities(
    new Map([
      ["10.244.2.7", 300],
      ["10.244.9.1", 301],
      ["fd10:244:0:2::7", 302],
      ["172.31.0.3", 303],
      ["192.0.2.1", 304],
    ]),
  );
  const both = IPCACHE_IN_CLUSTER | IPCACHE_TUNNEL;
  const own = map.words.filter((line) => !/ 0 /.test(line));
  assert.deepEqual(own, [
    `10.244.2.7/128 300 ${both} 172.31.0.3`,
    `10.244.9.1/128 301 ${IPCACHE_IN_CLUSTER} ::`,
    `fd10:244:0:2::7/128 302 ${both} 172.31.0.3`,
  ]);
  ipcache.setIdentities(
    new Map([["172.31.0.3", 300]]),
    new Map([
      ["172.31.0.3", 7],
      ["10.244.2.1", 7],
    ]),
  );
  assert.deepEqual(
    map.words.filter((line) => !/ 0 /.test(line)),
    [`10.244.2.1/128 7 ${both} 172.31.0.3`, `172.31.0.3/128 7 ${IPCACHE_NODE} 172.31.0.3`],
    "nodes have numbers too, and keep what else is known of them",
  );
  ipcache.setIdentities(new Map([["10.244.2.7", 300]]));
  const before = map.writes;
  ipcache.setIdentities(new Map([["10.244.2.7", 300]]));
  assert.equal(map.writes, before, "what is as it should be is not written again");
  assert.equal(map.held.size, 5);
  ipcache.setNodes(new Map([...nodes].filter(([, { value }]) => ipcacheEntry.decode(value).flags !== both)));
  assert.deepEqual(
    map.words.filter((line) => line.startsWith("10.244.2.7")),
    [`10.244.2.7/128 300 ${IPCACHE_IN_CLUSTER} ::`],
  );
});
