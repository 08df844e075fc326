// SPDX-License-Identifier: Apache-2.0
// Rules by networks are about addresses, whoever has them: a pod, a node or the world.
import { type Cidr, cidrContains } from "../../lib/addresses.ts";
import type { Rule } from "./model.ts";
import type { Identity } from "./peer-index.ts";

/** A network that rules name. */
export interface Network {
  cidr: Cidr;
  /** The rules that are about all its addresses, by their places. */
  rules: readonly number[];
  /** The longest other one that holds it. */
  around: Network | undefined;
}

/** The networks that rules name, shorter prefixes first. */
export function networksOf(rules: readonly Rule[]): Network[] {
  const named = new Map<string, { cidr: Cidr; own: Set<number> }>();
  for (const [index, { peers = [] }] of rules.entries())
    for (const peer of peers) {
      if (peer.kind !== "network") continue;
      const known = named.get(peer.cidr.text);
      if (known === undefined) named.set(peer.cidr.text, { cidr: peer.cidr, own: new Set([index]) });
      else known.own.add(index);
    }
  const found: Network[] = [];
  for (const { cidr, own } of [...named.values()].toSorted((a, b) => a.cidr.prefix - b.cidr.prefix)) {
    const around = found.findLast((one) => holds(one.cidr, cidr));
    found.push({ cidr, around, rules: [...new Set([...(around?.rules ?? []), ...own])] });
  }
  return found;
}

/** What networks say of an identity: rules about all its addresses, and networks that hold some of them. */
export function networksAt(
  networks: readonly Network[],
  identity: Identity | undefined,
): { around: readonly number[]; inside: readonly Network[] } {
  const within = identity?.cidr;
  if (within === undefined) return { around: [], inside: networks };
  // A prefix that is not the world's is asked only where no network has decided.
  if (!identity?.labels.has("reserved:world")) return { around: [], inside: [] };
  const around = networks.findLast(({ cidr }) => holds(cidr, within));
  const inside = networks.filter((one) => one !== around && holds(within, one.cidr));
  return { around: around?.rules ?? [], inside };
}

const holds = (outer: Cidr, inner: Cidr): boolean =>
  outer.prefix <= inner.prefix && cidrContains(outer, inner.bytes);
