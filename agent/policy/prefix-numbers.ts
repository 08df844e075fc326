// SPDX-License-Identifier: Apache-2.0
// Numbers of the prefixes that policies name: an address has that of the longest one that holds it.
import { type Cidr, hostPrefix, parseCidr } from "../../lib/addresses.ts";
import { policyPrefixKinds } from "../datapath-layout.ts";
import { namedPrefixes } from "./compile.ts";
import { reservedIdentities } from "./entities.ts";
import type { Policy } from "./model.ts";
import type { Identity } from "./peer-index.ts";
import type { PrefixIdentity } from "./policy-table.ts";

/** Numbers of prefixes are this node's own: from here on, as Cilium has them. */
const firstPrefixNumber = 1 << 24;
const { POLICY_PREFIX_POD, POLICY_PREFIX_WORLD } = policyPrefixKinds;
const everything: Readonly<Record<string, number>> = {
  "0.0.0.0/0": reservedIdentities["world-ipv4"],
  "::/0": reservedIdentities["world-ipv6"],
};

/** A prefix with its number, and as a peer of policies. */
type NumberedPrefix = PrefixIdentity & { peer: Identity };

/** A prefix keeps its number as long as it is named, and until it is out of the maps; also from one agent to the next. */
export class PrefixNumbers {
  #named: readonly NumberedPrefix[] = [];
  #written: readonly NumberedPrefix[];
  #next: number;

  /** `left`: what is in the maps already. */
  constructor(left: readonly PrefixIdentity[] = []) {
    this.#written = left.map((one) => numbered(one, false));
    this.#next = Math.max(firstPrefixNumber, ...left.map(({ identity }) => identity + 1));
  }

  /** Those that policies name. */
  get named(): readonly PrefixIdentity[] {
    return this.#named;
  }

  /** Those, and what is in the maps still. */
  get peers(): Identity[] {
    return [...this.#written, ...this.#named].map(({ peer }) => peer);
  }

  /** `apiServers`: addresses of API servers that are no nodes. `others`: single addresses of the world that policies mean. */
  name(
    policies: readonly Policy[],
    { apiServers = [], others = [] }: { apiServers?: readonly string[]; others?: Iterable<string> } = {},
  ): void {
    const known = new Map([...this.#written, ...this.#named].map((one) => [textOf(one), one]));
    const ofApiServers = apiServers.map((address) => parseCidr(hostPrefix(address)));
    const wanted = new Map<string, NumberedPrefix>();
    const add = (cidr: Cidr, kind: number): void => {
      const isWorld = kind === POLICY_PREFIX_WORLD;
      const isApiServer = isWorld && ofApiServers.some(({ text }) => text === cidr.text);
      const reserved = isWorld && !isApiServer ? everything[cidr.text] : undefined;
      const fresh = numbered({ kind, cidr, identity: reserved ?? this.#next }, isApiServer);
      const text = textOf(fresh);
      if (wanted.has(text)) return;
      const one = known.get(text) ?? fresh;
      if (one.identity === this.#next) this.#next++;
      wanted.set(text, one);
    };
    for (const cidr of [
      ...Object.keys(everything).map(parseCidr),
      ...namedPrefixes(policies),
      ...ofApiServers,
      ...[...others].map(parseCidr),
    ])
      add(cidr, POLICY_PREFIX_WORLD);
    for (const cidr of namedPrefixes(policies, { ofPods: true })) add(cidr, POLICY_PREFIX_POD);
    this.#named = [...wanted.values()];
  }

  /** What is named is in the maps now, and nothing else. */
  written(): void {
    this.#written = this.#named;
  }
}

const textOf = ({ kind, cidr, peer }: NumberedPrefix): string =>
  `${kind} ${cidr.text}${peer.labels.has("reserved:kube-apiserver") ? " kube-apiserver" : ""}`;

function numbered({ kind, cidr, identity }: PrefixIdentity, isApiServer: boolean): NumberedPrefix {
  const labels = new Map<string, string>();
  if (kind === POLICY_PREFIX_WORLD) {
    labels.set("reserved:world", "").set(`reserved:world-${cidr.family}`, "");
    if (isApiServer) labels.set("reserved:kube-apiserver", "");
  }
  return { kind, cidr, identity, peer: { id: identity, labels, ports: [], cidr } };
}
