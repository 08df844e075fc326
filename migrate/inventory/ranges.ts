// SPDX-License-Identifier: Apache-2.0
import { addressText, type Cidr, cidrContains, parseCidr } from "../../lib/addresses.ts";

/** Parses those that are CIDRs and leaves out the rest: what a cluster's objects hold is not ours to trust. */
export function readableCidrs(texts: readonly unknown[]): Cidr[] {
  return texts.flatMap((text) => {
    try {
      return [parseCidr(String(text).trim())];
    } catch {
      return [];
    }
  });
}

/** The CIDRs of a list written with commas, canonical; what is none is left out. */
export function cidrList(text: unknown): string[] {
  return typeof text === "string" ? readableCidrs(text.split(",")).map((cidr) => cidr.text) : [];
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Finds the node to whose pod range an address belongs, among thousands. */
export class NodeRanges {
  readonly #nodes = new Map<string, string>();
  readonly #prefixes = new Map<string, Cidr>();

  add(node: string, podCIDRs: readonly string[]): void {
    for (const cidr of readableCidrs(podCIDRs)) {
      this.#nodes.set(`${cidr.prefix} ${hex(cidr.bytes)}`, node);
      this.#prefixes.set(`${cidr.family} ${cidr.prefix}`, cidr);
    }
  }

  get empty(): boolean {
    return this.#nodes.size === 0;
  }

  /** The node that owns the address; undefined when none does, or when it is no address. */
  ownerOf(address: string): string | undefined {
    for (const sample of this.#prefixes.values()) {
      if (address.includes(":") !== (sample.family === "ipv6")) continue;
      let network: Cidr;
      try {
        network = parseCidr(`${address}/${sample.prefix}`);
      } catch {
        return undefined;
      }
      const node = this.#nodes.get(`${network.prefix} ${hex(network.bytes)}`);
      if (node !== undefined) return node;
    }
    return undefined;
  }
}

/** The smallest range that holds all of these (an address counts as its own /32 or /128); undefined without any. */
export function enclosingRange(texts: readonly string[]): string | undefined {
  const own = (text: string): string => `${text}/${text.includes(":") ? 128 : 32}`;
  const [first, ...rest] = readableCidrs(texts.map((text) => (text.includes("/") ? text : own(text))));
  if (first === undefined) return undefined;
  let range = first;
  for (const other of rest)
    while (range.prefix > other.prefix || !cidrContains(range, other.bytes)) {
      if (range.prefix === 0) return undefined;
      range = parseCidr(`${addressText(range.bytes)}/${range.prefix - 1}`);
    }
  return range.text;
}
