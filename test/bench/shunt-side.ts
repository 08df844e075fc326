// SPDX-License-Identifier: Apache-2.0
// Our side of the bench `services`: the two nodes of a lab, a pod with many addresses behind the services.
import { addressBytes } from "../../lib/addresses.ts";
import { run } from "../../lib/run.ts";
import type { DatapathParts, OpenLab, ServiceMaps } from "./bench.ts";
import { type MadeServices, makeServices } from "./made-services.ts";
import type { ServiceClient } from "./service-samples.ts";

/** Addresses that a target's endpoints turn through. */
export const poolSize = 50;

/** A lab whose pod `n2p1` has more addresses than its own: each looks like a pod of its own to services. */
export class ShuntSide {
  readonly #parts: DatapathParts;
  readonly #name: string;
  #lab: OpenLab | undefined;

  constructor(parts: DatapathParts, name: string) {
    this.#parts = parts;
    this.#name = name;
  }

  /** Addresses of the server's pod, `count` of them. */
  static backends(count: number): string[] {
    return Array.from({ length: count }, (_, index) => `10.244.2.${100 + index}`);
  }

  get lab(): OpenLab {
    if (this.#lab === undefined) throw new Error(`${this.#name} is not open`);
    return this.#lab;
  }

  /** The service maps of a node: the first is where clients are. */
  maps(node: 1 | 2): ServiceMaps {
    return this.#parts.services.maps(this.lab, node);
  }

  /** How the client's pod reaches something: translated as on a node with Shunt, or straight. */
  client(address: string, port: number, isTranslated: boolean): ServiceClient {
    const command = (words: readonly string[]): [string, string[]] =>
      isTranslated
        ? this.lab.command("n1p1", words)
        : ["nsenter", [`--net=${this.lab.netns("n1p1")}`, ...words]];
    return { address, port, command };
  }

  async open(backends: readonly string[]): Promise<void> {
    this.#lab = await this.#parts.openLab({ name: this.#name, routing: "direct" });
    const endpoints = this.lab.map(2, "sh_endpoints");
    const pod = endpoints.get(addressBytes("10.244.2.11"))!;
    for (const address of backends) endpoints.set(addressBytes(address), pod);
    const lines = backends.map((address) => `address add ${address}/32 dev eth0`);
    await run("ip", ["-n", `${this.#name}n2p1`, "-batch", "-"], { input: `${lines.join("\n")}\n` });
  }

  /** Writes these Services and nothing else; returns the milliseconds, without what was before. */
  program({ services, slices }: MadeServices): number {
    const maps = this.maps(1);
    this.#parts.services.clear(maps);
    const write = this.#parts.services.prepare(services, slices, maps);
    const start = performance.now();
    write();
    return performance.now() - start;
  }

  /** Fills the maps with this many Services whose last one leads to the pod. */
  fill(count: number, backends: readonly string[]): MadeServices {
    const made = makeServices(count, backends);
    this.program(made);
    return made;
  }

  async close(): Promise<void> {
    await this.#lab?.close();
  }
}
