// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "../../../../lib/log.ts";
import { addPeer, removePeer, type VxlanPeer } from "./vxlan.ts";

/** The other nodes that this one is connected to. */
export class Peers {
  readonly #known = new Map<string, { device: string; peer: VxlanPeer }>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Connects to exactly these, by any key that tells them apart. */
  async set(wanted: ReadonlyMap<string, { device: string; peer: VxlanPeer }>): Promise<void> {
    for (const [key, { device, peer }] of this.#known) {
      if (JSON.stringify(wanted.get(key)?.peer) === JSON.stringify(peer)) continue;
      await removePeer(device, peer);
      this.#known.delete(key);
    }
    for (const [key, entry] of wanted) {
      if (this.#known.has(key)) continue;
      await addPeer(entry.device, entry.peer);
      this.#known.set(key, entry);
      this.#log.info("connected", { node: key, ...entry.peer });
    }
  }
}
