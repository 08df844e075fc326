// SPDX-License-Identifier: Apache-2.0
import { addressBytes, type Cidr, cidrContains, parseCidr } from "../../lib/addresses.ts";

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

/** Whether an address lies in one of the ranges; false for what is no address. */
export function inRanges(address: string, cidrs: readonly Cidr[]): boolean {
  try {
    const bytes = addressBytes(address);
    return cidrs.some((cidr) => cidrContains(cidr, bytes));
  } catch {
    return false;
  }
}

/**
 * The smallest range of at least `shortest` bits that holds all the addresses: a guess at the range from which they
 * were given. Undefined without addresses.
 */
export function enclosingRange(addresses: readonly string[], longestPrefix: number): string | undefined {
  const [first, ...rest] = readableCidrs(addresses.map((address) => `${address}/${longestPrefix}`));
  if (first === undefined) return undefined;
  for (let prefix = longestPrefix; prefix > 0; prefix--) {
    const range = parseCidr(`${first.text.split("/")[0]}/${prefix}`);
    if (rest.every((other) => cidrContains(range, other.bytes))) return range.text;
  }
  return undefined;
}
