// SPDX-License-Identifier: Apache-2.0
// Which identities a rule's peers are: found by their labels, not by asking each of them.
import type { Cidr } from "../../lib/addresses.ts";
import { cidrContains } from "../../lib/addresses.ts";
import type { BehindService, NamedPort } from "./decide.ts";
import type { Labels, Peer, Requirement, Selector } from "./model.ts";
import { selects } from "./selector.ts";

/** A number that packets carry or addresses have, and who is behind it. */
export interface Identity {
  id: number;
  labels: Labels;
  /** Ports of the pods with this identity, by name. */
  ports: readonly NamedPort[];
  /** The longest prefix that policies name for the addresses behind this number. */
  cidr?: Cidr;
}

/** Identities at one time. Answers are kept: many policies have the same peers. */
export class PeerIndex {
  readonly #all: readonly Identity[];
  readonly #behindService: BehindService;
  /** By label, with its value and without. */
  readonly #byLabel = new Map<string, Identity[]>();
  readonly #ofPrefixes: Identity[] = [];
  readonly #bySelector = new Map<string, readonly Identity[]>();
  readonly #byPeer = new WeakMap<Peer, readonly Identity[]>();

  constructor(identities: Iterable<Identity>, behindService: BehindService = () => false) {
    this.#all = [...identities];
    this.#behindService = behindService;
    for (const identity of this.#all) {
      for (const [key, value] of identity.labels) {
        this.#add(key, identity);
        this.#add(`${key}=${value}`, identity);
      }
      if (identity.cidr !== undefined) this.#ofPrefixes.push(identity);
    }
  }

  /** The identities of the node that policies know as "host". */
  get ownNode(): readonly Identity[] {
    return this.#byLabel.get("reserved:host") ?? [];
  }

  /** Those whose pods give names to ports. */
  get withPorts(): readonly Identity[] {
    return this.#all.filter(({ ports }) => ports.length > 0);
  }

  /** Who these peers are. */
  of(peer: Peer): readonly Identity[] {
    const known = this.#byPeer.get(peer);
    if (known !== undefined) return known;
    const found = this.#find(peer);
    this.#byPeer.set(peer, found);
    return found;
  }

  #find(peer: Peer): readonly Identity[] {
    if (peer.kind === "services") return this.#all.filter((identity) => this.#behindService(peer, identity));
    if (peer.kind === "cidr") return this.#ofPrefixes.filter((identity) => isWithin(peer, identity));
    const key = JSON.stringify(peer.selector);
    const known = this.#bySelector.get(key);
    if (known !== undefined) return known;
    const found = this.#candidates(peer.selector).filter(({ labels }) => selects(peer.selector, labels));
    this.#bySelector.set(key, found);
    return found;
  }

  /** The fewest among which those that a selector selects must be. */
  #candidates(selector: Selector): readonly Identity[] {
    let fewest = this.#all;
    for (const requirement of selector) {
      const found = this.#having(requirement);
      if (found !== undefined && found.length < fewest.length) fewest = found;
    }
    return fewest;
  }

  #having({ key, operator, values }: Requirement): readonly Identity[] | undefined {
    if (key.startsWith("any:")) return undefined;
    if (operator === "Exists") return this.#byLabel.get(key) ?? [];
    if (operator !== "In") return undefined;
    const [only, ...more] = values;
    if (more.length > 0) return this.#byLabel.get(key) ?? [];
    return this.#byLabel.get(`${key}=${only}`) ?? [];
  }

  #add(label: string, identity: Identity): void {
    const known = this.#byLabel.get(label);
    if (known === undefined) this.#byLabel.set(label, [identity]);
    else known.push(identity);
  }
}

function isWithin(peer: Extract<Peer, { kind: "cidr" }>, { labels, cidr }: Identity): boolean {
  if (cidr === undefined || !(peer.ofPods || labels.has("reserved:world"))) return false;
  const contains = (outer: Cidr): boolean => outer.prefix <= cidr.prefix && cidrContains(outer, cidr.bytes);
  return contains(peer.cidr) && !peer.except.some(contains);
}
