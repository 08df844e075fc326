// SPDX-License-Identifier: Apache-2.0
// Which identities a rule's peers are: found by their labels, not by asking each of them.
import type { Cidr } from "../../lib/addresses.ts";
import { cidrContains } from "../../lib/addresses.ts";
import type { NamedPort } from "./decide.ts";
import { identityText } from "./identity.ts";
import type { Labels, Peer, Requirement, Selector } from "./model.ts";
import { selects } from "./selector.ts";

/** A number that packets carry or addresses have, and who is behind it. Never changed, but replaced by another one. */
export interface Identity {
  id: number;
  labels: Labels;
  /** Ports of the pods with this identity, by name. */
  ports: readonly NamedPort[];
  /** The longest prefix that policies name for the addresses behind this number. */
  cidr?: Cidr;
}

/** Whose addresses have identities. */
type KnownPeer = Exclude<Peer, { kind: "network" }>;
export type ServicesPeer = Extract<Peer, { kind: "services" }>;
/** Who is behind Services. */
export interface Behind {
  /** Labels of pods, each as `identityText` has them. */
  texts: ReadonlySet<string>;
  /** Addresses that no pod has, each as a prefix's text; of them, those beyond the cluster count. */
  others: ReadonlySet<string>;
}
export type FindBehind = (peer: ServicesPeer) => Behind;

interface Answer {
  /** Of Services, what `FindBehind` said. */
  services?: { peer: ServicesPeer; behind: Behind };
  matches: (identity: Identity) => boolean;
  found: readonly Identity[];
}

const nobody: readonly Identity[] = [];
const nobodyBehind: FindBehind = () => ({ texts: new Set(), others: new Set() });

/** Beyond so many questions it is quicker to find answers anew, and only those that are asked for. */
const mostMended = 200_000;

/**
 * The identities that there are. Answers are kept: many policies have the same peers. A list that was given stays the same
 * object until another identity belongs to it.
 */
export class PeerIndex {
  /** Each with the text of its labels. */
  readonly #all = new Map<Identity, string>();
  readonly #byText = new Map<string, Set<Identity>>();
  readonly #findBehind: FindBehind;
  /** By label, with its value and without. */
  readonly #byLabel = new Map<string, Set<Identity>>();
  readonly #keys = new WeakMap<Peer, string>();
  readonly #answers = new Map<string, Answer>();
  /** Keys of answers that were asked for since `forgetUnasked`. */
  readonly #asked = new Set<string>();
  #ownNode: readonly Identity[] | undefined;
  #withPorts: readonly Identity[] | undefined;

  constructor(identities: Iterable<Identity>, findBehind: FindBehind = nobodyBehind) {
    this.#findBehind = findBehind;
    this.change([], [...identities]);
  }

  /** The identities of the node that policies know as "host". */
  get ownNode(): readonly Identity[] {
    this.#ownNode ??= [...(this.#byLabel.get("reserved:host") ?? [])];
    return this.#ownNode;
  }

  /** Those whose pods give names to ports. */
  get withPorts(): readonly Identity[] {
    this.#withPorts ??= [...this.#all.keys()].filter(({ ports }) => ports.length > 0);
    return this.#withPorts;
  }

  /** Some are no more, and others are new. */
  change(removed: readonly Identity[], added: readonly Identity[]): void {
    for (const identity of added) this.#add(identity);
    const changed = [...removed, ...added];
    if (changed.some(({ labels }) => labels.has("reserved:host"))) this.#ownNode = undefined;
    if (changed.some(({ ports }) => ports.length > 0)) this.#withPorts = undefined;
    if (changed.length * this.#answers.size > mostMended) this.#answers.clear();
    const gone = new Set(removed);
    for (const answer of this.#answers.values()) {
      const more = added.filter(answer.matches);
      if (more.length > 0 || removed.some(answer.matches))
        answer.found = [...answer.found.filter((one) => !gone.has(one)), ...more];
    }
    for (const identity of removed) this.#remove(identity);
  }

  /** Other pods may be behind Services now. */
  servicesChanged(): void {
    for (const answer of this.#answers.values()) {
      if (answer.services === undefined) continue;
      const { texts, others } = this.#findBehind(answer.services.peer);
      const { behind } = answer.services;
      if (sameSet(texts, behind.texts) && sameSet(others, behind.others)) continue;
      Object.assign(answer, this.#behindServices(answer.services.peer));
    }
  }

  /** Who these peers are. A network is addresses, whoever has them. */
  of(peer: Peer): readonly Identity[] {
    if (peer.kind === "network") return nobody;
    const key = this.#keys.get(peer) ?? keyOf(peer);
    this.#keys.set(peer, key);
    this.#asked.add(key);
    const answer = this.#answers.get(key) ?? this.#find(peer);
    this.#answers.set(key, answer);
    return answer.found;
  }

  /** Nobody has the peers any more that were not asked for since the last call. */
  forgetUnasked(): void {
    for (const key of this.#answers.keys()) if (!this.#asked.has(key)) this.#answers.delete(key);
    this.#asked.clear();
  }

  #find(peer: KnownPeer): Answer {
    if (peer.kind === "services") return this.#behindServices(peer);
    if (peer.kind === "cidr") {
      const matches = (identity: Identity) => isWithin(peer, identity);
      return { matches, found: [...this.#all.keys()].filter(matches) };
    }
    const matches = ({ labels }: Identity) => selects(peer.selector, labels);
    return { matches, found: [...this.#candidates(peer.selector)].filter(matches) };
  }

  #behindServices(peer: ServicesPeer): Answer {
    const behind = this.#findBehind(peer);
    const isOther = ({ cidr, labels }: Identity): boolean =>
      cidr !== undefined && labels.has("reserved:world") && behind.others.has(cidr.text);
    const matches = (identity: Identity) =>
      behind.texts.has(this.#all.get(identity) ?? "") || isOther(identity);
    const pods = [...behind.texts].flatMap((text) => [...(this.#byText.get(text) ?? [])]);
    const others = behind.others.size === 0 ? [] : [...this.#all.keys()].filter(isOther);
    const found = [...pods, ...others];
    return { services: { peer, behind }, matches, found };
  }

  /** The fewest among which those that a selector selects must be. */
  #candidates(selector: Selector): Iterable<Identity> {
    let fewest: { size: number; keys(): Iterable<Identity> } = this.#all;
    for (const requirement of selector) {
      const found = this.#having(requirement);
      if (found !== undefined && found.size < fewest.size) fewest = found;
    }
    return fewest.keys();
  }

  #having({ key, operator, values }: Requirement): ReadonlySet<Identity> | undefined {
    if (key.startsWith("any:")) return undefined;
    const having = (label: string) => this.#byLabel.get(label) ?? new Set<Identity>();
    if (operator === "Exists") return having(key);
    if (operator !== "In") return undefined;
    return values.length > 1 ? having(key) : having(`${key}=${values[0]}`);
  }

  #add(identity: Identity): void {
    const text = identityText(identity.labels);
    this.#all.set(identity, text);
    addTo(this.#byText, text, identity);
    for (const label of labelsOf(identity)) addTo(this.#byLabel, label, identity);
  }

  #remove(identity: Identity): void {
    takeFrom(this.#byText, this.#all.get(identity) ?? "", identity);
    for (const label of labelsOf(identity)) takeFrom(this.#byLabel, label, identity);
    this.#all.delete(identity);
  }
}

function addTo<T>(sets: Map<string, Set<T>>, key: string, one: T): void {
  const known = sets.get(key);
  if (known === undefined) sets.set(key, new Set([one]));
  else known.add(one);
}

function takeFrom<T>(sets: Map<string, Set<T>>, key: string, one: T): void {
  const known = sets.get(key);
  known?.delete(one);
  if (known?.size === 0) sets.delete(key);
}

const labelsOf = ({ labels }: Identity): string[] =>
  [...labels].flatMap(([key, value]) => [key, `${key}=${value}`]);

export const sameSet = <T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean =>
  a.size === b.size && [...a].every((one) => b.has(one));

/** The same for peers that are the same. */
function keyOf(peer: KnownPeer): string {
  if (peer.kind !== "cidr") return JSON.stringify(peer);
  const { cidr, except, ofPods } = peer;
  return JSON.stringify(["cidr", cidr.text, except.map(({ text }) => text), ofPods]);
}

function isWithin(peer: Extract<Peer, { kind: "cidr" }>, { labels, cidr }: Identity): boolean {
  if (cidr === undefined || !(peer.ofPods || labels.has("reserved:world"))) return false;
  const contains = (outer: Cidr): boolean => outer.prefix <= cidr.prefix && cidrContains(outer, cidr.bytes);
  return contains(peer.cidr) && !peer.except.some(contains);
}
