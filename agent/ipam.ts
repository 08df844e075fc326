// SPDX-License-Identifier: Apache-2.0
import {
  addressBytes,
  addressText,
  type Cidr,
  cidrAddress,
  cidrContains,
  cidrSize,
} from "../lib/addresses.ts";
import { ShuntError } from "../lib/errors.ts";

/** Addresses between another network's pods and ours, in ranges that are large enough. */
const farAway = 1n << 15n;

/**
 * Hands out addresses of one pod CIDR, round robin, so that a freed address rests as long as possible before
 * another pod gets it. Which addresses are taken is the caller's state (the endpoints on disk).
 */
export class AddressPool {
  readonly cidr: Cidr;
  /** First usable address: the node's gateway. */
  readonly gateway: string;
  readonly #taken = new Set<string>();
  readonly #first = 2n;
  readonly #last: bigint;
  #next: bigint;
  /** False until it is known where to go on. */
  #begun: boolean;

  constructor(cidr: Cidr, startAfter?: string) {
    this.cidr = cidr;
    this.gateway = addressText(cidrAddress(cidr, 1));
    const size = cidrSize(cidr);
    // The last one is IPv4's broadcast address; of a large IPv6 range 2^32 addresses are enough.
    const last = cidr.family === "ipv4" ? size - 2n : size - 1n;
    this.#last = last > 1n << 32n ? 1n << 32n : last;
    this.#begun = startAfter !== undefined;
    this.#next = startAfter === undefined ? this.#first : this.#offsetOf(startAfter) + 1n;
  }

  /** How many addresses pods can have, and how many have one. */
  get usage(): { total: number; taken: number } {
    return { total: Number(this.#last - this.#first + 1n), taken: this.#taken.size };
  }

  /** Takes the next free address that is none of `others`. Throws when all are taken. */
  allocate(others: ReadonlySet<string> = new Set()): string {
    const count = this.#last - this.#first + 1n;
    if (!this.#begun) this.#beginFarFrom(others);
    this.#begun = true;
    const most = BigInt(this.#taken.size + others.size);
    for (let tried = 0n; tried < count && tried <= most; tried++) {
      if (this.#next < this.#first || this.#next > this.#last) this.#next = this.#first;
      const address = addressText(cidrAddress(this.cidr, this.#next));
      this.#next++;
      if (this.#taken.has(address) || others.has(address)) continue;
      this.#taken.add(address);
      return address;
    }
    throw new ShuntError(
      `No free address in pod CIDR ${this.cidr.text}: all ${this.usage.total} are taken${others.size === 0 ? "" : ", some by pods of another network"}`,
      {
        code: "NoFreeAddress",
        remedy: "Remove pods from this node, or give nodes a larger pod CIDR (node-cidr-mask-size).",
      },
    );
  }

  /**
   * Other networks count upwards as well, and know nothing of our pods. After a node has gone back to one, pods of both
   * are there until ours are recreated: our addresses are those that it would give out last.
   */
  #beginFarFrom(others: ReadonlySet<string>): void {
    const highest = [...others]
      .filter((address) => cidrContains(this.cidr, addressBytes(address)))
      .map((address) => this.#offsetOf(address))
      .toSorted((a, b) => Number(a - b))
      .at(-1);
    if (highest === undefined || highest < this.#first) return;
    const count = this.#last - this.#first + 1n;
    const half = count / 2n < farAway ? count / 2n : farAway;
    this.#next = this.#first + ((highest - this.#first + 1n + half) % count);
  }

  /** Marks an address as taken (found on disk); of no effect for addresses outside the range. */
  take(address: string, bytes: Uint8Array): void {
    if (cidrContains(this.cidr, bytes)) this.#taken.add(address);
  }

  release(address: string): void {
    this.#taken.delete(address);
  }

  #offsetOf(address: string): bigint {
    const number = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
    return number(addressBytes(address)) - number(this.cidr.bytes);
  }
}
