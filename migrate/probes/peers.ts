// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import type { KubeObject } from "../../lib/kube-object.ts";

/** Another probe pod. */
export interface Peer {
  uid: string;
  node: string;
  /** Its addresses, one a family. */
  addresses: string[];
  hostAddress: string;
}

/**
 * The probe pods that there are. A pod counts from the time that it was first ready until it is told to go: one
 * that turns unready in between may be cut off, which is what probes are there to see.
 */
export class Peers {
  readonly #own: string;
  readonly #limit: number;
  readonly #onGone: (peer: Peer) => void;
  readonly #peers = new Map<string, Peer>();
  /** Addresses of all nodes that ever had a probe: one's own goodbye may come before the word that its node goes. */
  readonly #addressOf = new Map<string, string>();
  /** Pods that said goodbye, or are being deleted. */
  readonly #leaving = new Set<string>();

  /** @param own UID of this pod */
  constructor(own: string, limit: number, onGone: (peer: Peer) => void) {
    this.#own = own;
    this.#limit = limit;
    this.#onGone = onGone;
  }

  /** Takes in what the API server says of a pod. */
  update(pod: KubeObject, isDeleted: boolean): void {
    const uid = pod.metadata.uid ?? "";
    if (isDeleted || pod.metadata.deletionTimestamp !== undefined) {
      this.leave(uid);
      return;
    }
    const { podIP, podIPs, hostIP, conditions } = pod.status ?? {};
    const isReady = (conditions ?? []).some((one: any) => one.type === "Ready" && one.status === "True");
    if (this.#leaving.has(uid) || podIP === undefined || (!isReady && !this.#peers.has(uid))) return;
    this.#addressOf.set(pod.spec.nodeName, hostIP);
    const addresses = (podIPs ?? [{ ip: podIP }]).map(({ ip }: { ip: string }) => ip);
    this.#peers.set(uid, { uid, node: pod.spec.nodeName, addresses, hostAddress: hostIP });
  }

  /** A pod goes: nothing is sent to it from now on. */
  leave(uid: string): void {
    const peer = this.#peers.get(uid);
    this.#leaving.add(uid);
    this.#peers.delete(uid);
    if (peer !== undefined && uid !== this.#own) this.#onGone(peer);
  }

  /** A node goes, and its pods with it. Returns its address; undefined when there never was a probe. */
  leaveNode(node: string): string | undefined {
    for (const { uid } of [...this.#peers.values()].filter((peer) => peer.node === node)) this.leave(uid);
    return this.#addressOf.get(node);
  }

  isLeaving(uid: string): boolean {
    return this.#leaving.has(uid);
  }

  /** Number of pods that send, this one included. */
  get total(): number {
    return Math.max(1, this.#peers.size);
  }

  isTarget(address: string): Peer | undefined {
    return [...this.#peers.values()].find(({ addresses }) => addresses.includes(address));
  }

  /** The pods to send to: all others, or the next few on a ring that gives each node as many senders. */
  targets(): Peer[] {
    const all = [...this.#peers.values()].sort((a, b) => (ringKey(a) < ringKey(b) ? -1 : 1));
    const at = all.findIndex(({ uid }) => uid === this.#own);
    const others = at < 0 ? all : [...all.slice(at + 1), ...all.slice(0, at)];
    return others.slice(0, this.#limit);
  }
}

function ringKey(peer: Peer): string {
  return createHash("sha256").update(peer.node).digest("hex");
}
