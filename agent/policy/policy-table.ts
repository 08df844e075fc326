// SPDX-License-Identifier: Apache-2.0
// Policies in the kernel's maps: what is compiled is written as sets of tables, and an endpoint's word says which is its.
import { createHash } from "node:crypto";
import { addressText, type Cidr, parseCidr } from "../../lib/addresses.ts";
import { ShuntError } from "../../lib/errors.ts";
import {
  directions,
  policyActions,
  policyEndpoints,
  policyEverybody,
  policyFlagBits,
  policyFlags,
  policyNetworkKey,
  policyPortKey,
  policyPrefixKey,
  policyPrefixKinds,
  policyTable,
  policyTableKey,
  policyVerdict,
} from "../datapath-layout.ts";
import type { CompiledDirection, PortTable, Verdict } from "./compile.ts";
import { lastPort } from "./ports.ts";

/** A map as the table writes it. */
export interface PolicyMap {
  /** Most entries that it takes. */
  readonly capacity: number;
  keys(): Iterable<Uint8Array>;
  get(key: Uint8Array): Uint8Array | undefined;
  set(key: Uint8Array, value: Uint8Array): unknown;
  setMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void;
  deleteMany(keys: readonly Uint8Array[]): void;
}

/** The maps that policies live in. */
export interface PolicyMaps {
  policyOf: PolicyMap;
  policyTables: PolicyMap;
  policyPorts: PolicyMap;
  policyNetworks: PolicyMap;
  policyPrefixes: PolicyMap;
}

/** What holds for one endpoint; a direction that is undefined is not judged. */
export interface EndpointPolicy {
  ingress: CompiledDirection | undefined;
  egress: CompiledDirection | undefined;
  /** What is denied is counted, and passes. */
  audit: boolean;
}

/** The number for addresses of a prefix, beyond the cluster or of pods. */
export interface PrefixIdentity {
  /** Of policyPrefixKinds, without the family. */
  kind: number;
  cidr: Cidr;
  identity: number;
}

type Entry = [key: Uint8Array, value: Uint8Array];

/** Something in the maps that goes when nobody uses it. */
interface Kept {
  /** What it holds. */
  text: string;
  number: number;
  users: number;
  keys: Uint8Array[];
}

/** The tables of one direction, by identity: everybody's, and those that are others. */
interface DirectionTables {
  text: string;
  tables: ReadonlyMap<number, PortTable>;
}

/** Where sets name it, this is what they hold. `keys` are those of its ports. */
interface KeptTable extends Kept {
  value: Uint8Array;
  /** Keys of its networks, and the tables that these have: sets hold them too. */
  networks: Uint8Array[];
  inner: KeptTable[];
}

interface KeptSet extends Kept {
  flags: number;
  tables: Set<KeptTable>;
}

const actionOf: Record<Verdict, number> = {
  allow: policyActions.POLICY_ALLOW,
  deny: policyActions.POLICY_DENY,
  unless: policyActions.POLICY_UNLESS,
};
/** What maps are called where the installation sizes them. */
const sizeValues = {
  policyPorts: "policy.maps.ports",
  policyNetworks: "policy.maps.networks",
  policyTables: "policy.maps.tables",
  policyPrefixes: "policy.maps.prefixes",
} as const;
type SetMap = Exclude<keyof typeof sizeValues, "policyPrefixes">;
/** Those that sets and their tables are in, in the order in which they are written: what is named first. */
const setMaps: readonly SetMap[] = ["policyPorts", "policyNetworks", "policyTables"];
const ofEach = <T>(one: (name: SetMap) => T): Record<SetMap, T> => ({
  policyPorts: one("policyPorts"),
  policyNetworks: one("policyNetworks"),
  policyTables: one("policyTables"),
});
const word32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const read32 = (value: Uint8Array): number => new DataView(value.buffer, value.byteOffset).getUint32(0, true);
const textOf = (key: Uint8Array): string => Buffer.from(key).toString("latin1");
/**
 * For how long a program that has read an endpoint's word may still look into its set: far less in truth, and a packet that
 * finds none is sent again. Sets of so long lie in the maps beside those in force, however quickly changes come.
 */
const graceMs = 200;

/** Keeps the policy maps equal to what it was given. */
export class PolicyTable {
  readonly #maps: PolicyMaps;
  readonly #now: () => number;
  readonly #tables = new Map<string, KeptTable>();
  readonly #sets = new Map<string, KeptSet>();
  readonly #directions = new WeakMap<CompiledDirection, DirectionTables>();
  readonly #tableTexts = new WeakMap<PortTable, string>();
  /** The set and the word of each endpoint. */
  readonly #endpoints = new Map<number, { set: KeptSet | undefined; word: number }>();
  readonly #prefixes = new Map<string, Entry>();
  /** What the prefixes were made from. */
  #given: readonly PrefixIdentity[] | undefined;
  /** Rules by number; flows and denials name them. */
  readonly #rules = new Map<string, number>();
  readonly #ruleTexts: string[] = [""];
  #retired: { at: number; keys: Record<SetMap, Uint8Array[]> }[] = [];
  #nextTable = 1;
  #nextSet = 1;
  readonly #used: Record<SetMap, number>;
  /** Keys of an earlier agent's sets. */
  readonly #leftTables: Uint8Array[];

  /** Takes over what an earlier agent wrote: it stays in force until the first `apply`. */
  constructor(maps: PolicyMaps, now: () => number = () => performance.now()) {
    this.#maps = maps;
    this.#now = now;
    const left = ofEach((name) => [...maps[name].keys()]);
    for (const key of left.policyTables) {
      const { set } = policyTableKey.decode(key);
      this.#nextSet = Math.max(this.#nextSet, set + 1);
    }
    const tables = [
      ...left.policyPorts.map((key) => policyPortKey.decode(key).table),
      ...left.policyNetworks.map((key) => policyNetworkKey.decode(key).table),
    ];
    for (const table of tables) this.#nextTable = Math.max(this.#nextTable, table + 1);
    for (const key of maps.policyPrefixes.keys())
      this.#prefixes.set(textOf(key), [key, maps.policyPrefixes.get(key) ?? word32(0)]);
    for (let id = 0; id < policyEndpoints; id++) {
      const value = maps.policyOf.get(word32(id));
      const word = value === undefined ? 0 : read32(value);
      if (word !== 0) this.#endpoints.set(id, { set: undefined, word });
    }
    this.#used = ofEach((name) => left[name].length);
    this.#leftTables = left.policyTables;
    this.#retired.push({ at: Number.POSITIVE_INFINITY, keys: left });
  }

  /** The prefixes in the maps. */
  get prefixes(): PrefixIdentity[] {
    return [...this.#prefixes.values()].map(([key, value]) => {
      const { prefixLength, kind, address } = policyPrefixKey.decode(key);
      const isIpv6 = (kind & policyPrefixKinds.POLICY_PREFIX_IPV6) !== 0;
      const cidr = parseCidr(`${addressText(address)}/${prefixLength - (isIpv6 ? 32 : 128)}`);
      return { kind: kind & ~policyPrefixKinds.POLICY_PREFIX_IPV6, cidr, identity: read32(value) };
    });
  }

  /**
   * Judges endpoints by these policies from now on, and addresses by these prefixes; endpoints that are not named are not
   * judged. Each endpoint changes at once. `prefixes` are known to every policy here, and so are those that were in the maps
   * before. Those of `kept` go on as before. Throws `PolicyMapFull`, and changes nothing, when it does not fit.
   */
  apply(
    endpoints: ReadonlyMap<number, EndpointPolicy>,
    prefixes: readonly PrefixIdentity[],
    kept: ReadonlySet<number> = new Set(),
  ): void {
    this.collect();
    const contents = new Map<number, string>();
    const fresh = new Map<string, EndpointPolicy>();
    for (const [id, policy] of endpoints) {
      const content = this.#contentOf(policy);
      contents.set(id, content);
      if (content !== "" && !this.#sets.has(content)) fresh.set(content, policy);
    }
    const wanted = prefixes === this.#given ? this.#prefixes : prefixEntries(prefixes);
    this.#requireRoom("policyPrefixes", new Set([...wanted.keys(), ...this.#prefixes.keys()]).size);
    this.#makeSets(fresh, new Set(contents.values()));
    this.#addPrefixes(wanted);
    const left: (KeptSet | undefined)[] = [];
    for (const [id, { audit }] of endpoints) {
      const set = this.#sets.get(contents.get(id)!);
      const word = wordOf(set, audit);
      const before = this.#endpoints.get(id);
      if (before?.word !== word) this.#maps.policyOf.set(word32(id), word32(word));
      this.#endpoints.set(id, { set, word });
      if (set !== undefined) set.users++;
      left.push(before?.set);
    }
    for (const [id, { set }] of this.#endpoints)
      if (!endpoints.has(id) && !kept.has(id)) {
        this.#maps.policyOf.set(word32(id), word32(0));
        this.#endpoints.delete(id);
        left.push(set);
      }
    for (const set of left) this.#leave(set);
    this.#removePrefixes(wanted);
    this.#given = prefixes;
    const isLeft = ({ set, word }: { set: KeptSet | undefined; word: number }) =>
      set === undefined && word !== 0;
    if ([...this.#endpoints.values()].some(isLeft)) return;
    for (const left of this.#retired)
      if (left.at === Number.POSITIVE_INFINITY) left.at = this.#now() + graceMs;
  }

  /** Removes what no packet can be judged by any more. */
  collect(now = this.#now()): void {
    for (const { keys } of this.#retired.filter(({ at }) => at <= now))
      for (const name of setMaps.toReversed()) {
        this.#maps[name].deleteMany(keys[name]);
        this.#used[name] -= keys[name].length;
      }
    this.#retired = this.#retired.filter(({ at }) => at > now);
  }

  /** The rule of a number in a flow or a denial, e.g. "NetworkPolicy shop/web spec.ingress[0]"; empty when none decided. */
  ruleText(number: number): string {
    return this.#ruleTexts[number] ?? "";
  }

  /** By which word an endpoint is judged now; 0 when it is not judged. */
  wordOf(endpoint: number): number {
    return this.#endpoints.get(endpoint)?.word ?? 0;
  }

  #contentOf({ ingress, egress }: EndpointPolicy): string {
    if (ingress === undefined && egress === undefined) return "";
    return `${this.#direction(ingress)?.text ?? ""}\n${this.#direction(egress)?.text ?? ""}`;
  }

  #direction(compiled: CompiledDirection | undefined): DirectionTables | undefined {
    if (compiled === undefined) return undefined;
    const known = this.#directions.get(compiled);
    if (known !== undefined) return known;
    const everybody = this.#tableText(compiled.everybody);
    const tables = new Map([[policyEverybody as number, compiled.everybody]]);
    for (const [identity, table] of [...compiled.tables].toSorted(([a], [b]) => a - b))
      if (this.#tableText(table) !== everybody) tables.set(identity, table);
    const named = [...tables].map(([identity, table]) => `${identity}:${this.#tableText(table)}`).join("|");
    // Another set, so that connections to what is excepted now are judged anew.
    const text = `${named}!${compiled.excepts?.join() ?? ""}`;
    const made = { text, tables };
    this.#directions.set(compiled, made);
    return made;
  }

  #tableText(table: PortTable): string {
    const known = this.#tableTexts.get(table);
    if (known !== undefined) return known;
    const parts = table.ports.map(
      ({ protocol, first, last, verdict, by }) =>
        `${protocol}/${first}-${last}=${actionOf[verdict]}${this.#ruleNumber(by)}`,
    );
    const plain = `${parts.join(",")};${actionOf[table.rest.verdict]}${this.#ruleNumber(table.rest.by)}`;
    const text = table.networks === undefined ? plain : this.#textWithNetworks(plain, table.networks);
    this.#tableTexts.set(table, text);
    return text;
  }

  /** Of one length, for a set's text has it for each identity. */
  #textWithNetworks(plain: string, networks: NonNullable<PortTable["networks"]>): string {
    const hash = createHash("sha256").update(plain);
    for (const { cidr, table } of networks) hash.update(`\n${cidr.text} ${this.#tableText(table)}`);
    return hash.digest("base64");
  }

  #ruleNumber(by: string): number {
    if (by === "") return 0;
    const known = this.#rules.get(by);
    if (known !== undefined) return known;
    const number = this.#ruleTexts.push(by) - 1;
    this.#rules.set(by, number);
    return number;
  }

  /** Writes what new sets need, tables of ports first. `contents`: of all sets that will be in force. */
  #makeSets(fresh: ReadonlyMap<string, EndpointPolicy>, contents: ReadonlySet<string>): void {
    const entries = ofEach((): Entry[] => []);
    const madeTables = new Map<string, KeptTable>();
    const madeSets = new Map<string, KeptSet>();
    const tableOf = (compiled: PortTable): KeptTable => {
      const text = this.#tableText(compiled);
      const known = this.#tables.get(text) ?? madeTables.get(text);
      if (known !== undefined) return known;
      const networks = compiled.networks ?? [];
      const inner = networks.map(({ table }) => tableOf(table));
      const number = this.#nextTable + madeTables.size;
      const { entries: ports, lengths } = this.#portEntries(number, compiled);
      const value = policyTable.encode({
        ...{ table: number, lengths, ...this.#verdict(compiled.rest) },
        networks: networks.length === 0 ? 0 : 1,
      });
      const places = networks.map(({ cidr }, at): Entry => [networkKey(number, cidr), inner[at]!.value]);
      entries.policyPorts.push(...ports);
      entries.policyNetworks.push(...places);
      const made = { text, number, users: 0, keys: keysOf(ports), value, networks: keysOf(places), inner };
      madeTables.set(text, made);
      return made;
    };
    for (const [content, policy] of fresh) {
      const set: KeptSet = {
        text: content,
        number: this.#nextSet + madeSets.size,
        users: 0,
        keys: [],
        flags: 0,
        tables: new Set(),
      };
      for (const [compiled, direction, flag] of [
        [policy.ingress, directions.DIRECTION_INGRESS, policyFlags.POLICY_INGRESS],
        [policy.egress, directions.DIRECTION_EGRESS, policyFlags.POLICY_EGRESS],
      ] as const) {
        const made = this.#direction(compiled);
        if (made === undefined) continue;
        set.flags |= flag;
        for (const [identity, compiledTable] of made.tables) {
          const table = tableOf(compiledTable);
          const key = policyTableKey.encode({ set: set.number, identity, direction });
          set.keys.push(key);
          if (!set.tables.has(table)) for (const one of [table, ...table.inner]) set.tables.add(one);
          entries.policyTables.push([key, table.value]);
        }
      }
      madeSets.set(content, set);
    }
    if (madeSets.size === 0) return;
    const inForce = [...contents].flatMap((content) => this.#sets.get(content) ?? []);
    const oldTables = new Set(inForce.flatMap((set) => [...set.tables]));
    // The next agent writes all of it anew, beside what this one has written.
    const old = {
      policyPorts: [...oldTables].map(({ keys }) => keys.length),
      policyNetworks: [...oldTables].map(({ networks }) => networks.length),
      policyTables: inForce.map(({ keys }) => keys.length),
    };
    for (const name of setMaps)
      this.#requireRoom(name, 2 * old[name].reduce((sum, one) => sum + one, entries[name].length));
    const needed = (name: SetMap) => this.#used[name] + entries[name].length;
    if (setMaps.some((name) => needed(name) > this.#maps[name].capacity)) this.#awaitRetired();
    for (const name of setMaps) this.#requireRoom(name, needed(name));
    // Numbers are used up, and entries counted, also when not all could be written: none may be found under another's number.
    this.#nextSet += madeSets.size;
    this.#nextTable += madeTables.size;
    for (const name of setMaps) this.#used[name] += entries[name].length;
    try {
      for (const name of setMaps) this.#maps[name].setMany(entries[name]);
    } catch (error) {
      this.#retired.push({ at: this.#now(), keys: ofEach((name) => keysOf(entries[name])) });
      throw error;
    }
    for (const [text, table] of madeTables) this.#tables.set(text, table);
    for (const [content, set] of madeSets) {
      for (const table of set.tables) table.users++;
      this.#sets.set(content, set);
    }
  }

  /** Changes come so quickly that what they replaced fills the maps: a moment is better than a failure. */
  #awaitRetired(): void {
    const times = this.#retired.map(({ at }) => at).filter(Number.isFinite);
    if (times.length === 0) return;
    const last = Math.max(...times);
    const mostMs = Math.min(graceMs, last - this.#now());
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, mostMs);
    this.collect(last);
  }

  #requireRoom(name: keyof typeof sizeValues, entries: number): void {
    const { capacity } = this.#maps[name];
    if (entries <= capacity) return;
    throw new ShuntError(`Policies need ${entries} entries of the map ${name}, which takes ${capacity}`, {
      code: "PolicyMapFull",
      remedy: `What was in force stays so. Raise ${sizeValues[name]} for nodes made anew, or select with fewer different rules.`,
    });
  }

  #verdict({ verdict, by }: { verdict: Verdict; by: string }): { rule: number; action: number } {
    return { rule: this.#ruleNumber(by), action: actionOf[verdict] };
  }

  /** Entries for a table's ports, and which numbers of bits they name ports by. */
  #portEntries(table: number, { ports }: PortTable): { entries: Entry[]; lengths: number } {
    const entries: Entry[] = [];
    let lengths = 0;
    for (const one of ports)
      for (const [port, bits] of portPrefixes(one.first, one.last)) {
        lengths |= 1 << bits;
        entries.push([
          policyPortKey.encode({ table, port, bits, protocol: one.protocol }),
          policyVerdict.encode(this.#verdict(one)),
        ]);
      }
    return { entries, lengths };
  }

  /** An endpoint is judged by this set no more. */
  #leave(set: KeptSet | undefined): void {
    if (set === undefined || --set.users > 0) return;
    this.#sets.delete(set.text);
    const unused = [...set.tables].filter((table) => --table.users === 0);
    for (const { text } of unused) this.#tables.delete(text);
    const keys = {
      policyPorts: unused.flatMap(({ keys }) => keys),
      policyNetworks: unused.flatMap(({ networks }) => networks),
      policyTables: set.keys,
    };
    this.#retired.push({ at: this.#now() + graceMs, keys });
  }

  /**
   * Writes new prefixes, of which sets in force know nothing: there they are as what has held their addresses so far. A set that
   * goes on to be in force says the same of them itself, for its rules name both.
   */
  #addPrefixes(wanted: ReadonlyMap<string, Entry>): void {
    const fresh = [...wanted].filter(([text, [, value]]) => {
      const before = this.#prefixes.get(text);
      return before === undefined || read32(before[1]) !== read32(value);
    });
    if (fresh.length === 0) return;
    const { policyTables, policyPrefixes } = this.#maps;
    // The map finds the longest prefix that holds another one.
    const names = fresh.map(([, [key, value]]) => ({ from: policyPrefixes.get(key), to: read32(value) }));
    const sets = new Map(
      [...this.#endpoints.values()]
        .filter(({ word }) => word !== 0)
        .map(({ set, word }) => [word >>> policyFlagBits, set] as const),
    );
    for (const [number, set] of sets) {
      const entries: Entry[] = [];
      for (const { from, to } of names)
        for (const direction of [directions.DIRECTION_INGRESS, directions.DIRECTION_EGRESS]) {
          const nameOf = (identity: number) => policyTableKey.encode({ set: number, identity, direction });
          const table = from === undefined ? undefined : policyTables.get(nameOf(read32(from)));
          if (table !== undefined) entries.push([nameOf(to), table]);
        }
      this.#requireRoom("policyTables", this.#used.policyTables + entries.length);
      const keys = set?.keys ?? this.#leftTables;
      keys.push(...keysOf(entries));
      this.#used.policyTables += entries.length;
      policyTables.setMany(entries);
    }
    for (const [text, entry] of fresh) {
      policyPrefixes.set(...entry);
      this.#prefixes.set(text, entry);
    }
  }

  #removePrefixes(wanted: ReadonlyMap<string, Entry>): void {
    const stale = [...this.#prefixes].filter(([text]) => !wanted.has(text));
    this.#maps.policyPrefixes.deleteMany(stale.map(([, [key]]) => key));
    for (const [text] of stale) this.#prefixes.delete(text);
  }
}

const kindOf = ({ kind, cidr }: PrefixIdentity): number =>
  kind | (cidr.family === "ipv4" ? 0 : policyPrefixKinds.POLICY_PREFIX_IPV6);
const bitsOf = ({ family, prefix }: Cidr): number => 32 + prefix + (family === "ipv4" ? 96 : 0);

/** What the map of prefixes is to have, by the texts of its keys. */
const prefixEntries = (prefixes: readonly PrefixIdentity[]): Map<string, Entry> =>
  new Map(
    prefixes.map((one) => {
      const { cidr, identity } = one;
      const key = policyPrefixKey.encode({
        ...{ prefixLength: bitsOf(cidr), kind: kindOf(one), address: cidr.bytes },
      });
      return [textOf(key), [key, word32(identity)]];
    }),
  );

const keysOf = (entries: readonly Entry[]): Uint8Array[] => entries.map(([key]) => key);

function networkKey(table: number, { family, prefix, bytes }: Cidr): Uint8Array {
  const isIpv4 = family === "ipv4";
  return policyNetworkKey.encode({
    prefixLength: 64 + prefix + (isIpv4 ? 96 : 0),
    ...{ table, ipVersion: isIpv4 ? 4 : 6, address: bytes },
  });
}

function wordOf(set: KeptSet | undefined, audit: boolean): number {
  if (set === undefined) return 0;
  const flags = set.flags | (audit ? policyFlags.POLICY_AUDIT : 0);
  return ((set.number << policyFlagBits) | flags) >>> 0;
}

/** The fewest prefixes of 16 bits that cover ports first to last: the first port of each, and how many bits count. */
export function portPrefixes(first: number, last: number): [port: number, bits: number][] {
  const found: [number, number][] = [];
  for (let port = first; port <= last; ) {
    let size = 1;
    while (size <= lastPort && port % (2 * size) === 0 && port + 2 * size - 1 <= last) size *= 2;
    found.push([port, 16 - Math.log2(size)]);
    port += size;
  }
  return found;
}
