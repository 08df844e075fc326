// SPDX-License-Identifier: Apache-2.0
import type { Backend } from "./service-model.ts";

interface Numbered {
  port: number;
  protocol: number;
  id: number;
  /** Slots that have it. */
  users: number;
  /** Another one of the same address. */
  next: Numbered | undefined;
}

/** A stable number for each (address, port, protocol) that is behind a service, by which the maps count. */
export class BackendNumbers {
  /** By address: few have more than one port, and their texts are there already. */
  readonly #byAddress = new Map<string, Numbered>();
  #next = 1;

  /** Its number, 0 when it has none. */
  of({ address, port }: Backend, protocol: number): number {
    return this.#find(address, port, protocol)?.id ?? 0;
  }

  /** Counts one more slot with this backend, and returns its number. */
  use({ address, port }: Backend, protocol: number): number {
    const known = this.#find(address, port, protocol);
    if (known === undefined) return this.#add(address, port, protocol, this.#next++, 1);
    known.users++;
    return known.id;
  }

  /** One slot less: with the last one the number goes. */
  leave({ address, port }: Backend, protocol: number): void {
    const known = this.#find(address, port, protocol);
    if (known !== undefined && --known.users <= 0) this.#remove(address, known);
  }

  /** Takes over a number that an earlier agent gave. */
  inherit(
    { address, port }: Pick<Backend, "address" | "port">,
    protocol: number | undefined,
    id: number,
  ): void {
    this.#next = Math.max(this.#next, id + 1);
    if (protocol !== undefined && this.#find(address, port, protocol) === undefined)
      this.#add(address, port, protocol, id, 0);
  }

  /** Forgets those that no slot has. */
  prune(): void {
    for (const [address, first] of this.#byAddress)
      for (let one: Numbered | undefined = first; one !== undefined; one = one.next)
        if (one.users === 0) this.#remove(address, one);
  }

  #find(address: string, port: number, protocol: number): Numbered | undefined {
    let one = this.#byAddress.get(address);
    while (one !== undefined && (one.port !== port || one.protocol !== protocol)) one = one.next;
    return one;
  }

  #add(address: string, port: number, protocol: number, id: number, users: number): number {
    this.#byAddress.set(address, { port, protocol, id, users, next: this.#byAddress.get(address) });
    return id;
  }

  #remove(address: string, gone: Numbered): void {
    let first = this.#byAddress.get(address);
    if (first === gone) first = gone.next;
    for (let one = first; one !== undefined; one = one.next) if (one.next === gone) one.next = gone.next;
    if (first === undefined) this.#byAddress.delete(address);
    else this.#byAddress.set(address, first);
  }
}
