// SPDX-License-Identifier: Apache-2.0

import { objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { priorityOf } from "./preemption.ts";

interface Entry {
  pod: KubeObject;
  attempts: number;
  triedAtMs: number;
  /** When to try next; Infinity waits for the cluster to change. */
  readyAtMs: number;
}

const firstBackoffMs = 1_000;
const lastBackoffMs = 10_000;
const flushAfterMs = 60_000;

/** Pods that wait for a node: important and old ones first, refused ones after a growing delay. */
export class SchedulingQueue {
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Adds a pod, or takes in its new form; a change of what it asks for makes it ready at once. */
  put(pod: KubeObject, isChanged: boolean): void {
    const key = objectKey(pod);
    const present = this.#entries.get(key);
    if (present === undefined || present.pod.metadata.uid !== pod.metadata.uid)
      this.#entries.set(key, { pod, attempts: 0, triedAtMs: 0, readyAtMs: this.#now() });
    else {
      present.pod = pod;
      if (isChanged) present.readyAtMs = this.#now();
    }
  }

  remove(key: string): void {
    this.#entries.delete(key);
  }

  /** The pod to try now, most important first, which then counts as tried; undefined when none is ready. */
  next(): KubeObject | undefined {
    const now = this.#now();
    let best: Entry | undefined;
    for (const entry of this.#entries.values())
      if (entry.readyAtMs <= now && (best === undefined || goesBefore(entry, best))) best = entry;
    if (best === undefined) return undefined;
    best.attempts++;
    best.triedAtMs = now;
    best.readyAtMs = now + flushAfterMs;
    return best.pod;
  }

  /** Tries a pod again after its back-off although nothing changed: what failed was the API. */
  retry(key: string): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.readyAtMs = entry.triedAtMs + backoffMs(entry.attempts);
  }

  /** Something changed in the cluster: refused pods become ready, at once when a node changed. */
  wake(cause: "node" | "pod"): void {
    for (const entry of this.#entries.values()) {
      const delayMs = cause === "node" ? 0 : backoffMs(entry.attempts);
      entry.readyAtMs = Math.min(entry.readyAtMs, entry.triedAtMs + delayMs);
    }
  }

  /** Milliseconds until a pod is ready; undefined when none waits. */
  untilReadyMs(): number | undefined {
    let earliest: number | undefined;
    for (const { readyAtMs } of this.#entries.values())
      if (earliest === undefined || readyAtMs < earliest) earliest = readyAtMs;
    return earliest === undefined ? undefined : Math.max(0, earliest - this.#now());
  }
}

function backoffMs(attempts: number): number {
  return attempts === 0 ? 0 : Math.min(firstBackoffMs * 2 ** (attempts - 1), lastBackoffMs);
}

function goesBefore(a: Entry, b: Entry): boolean {
  const order = priorityOf(b.pod) - priorityOf(a.pod);
  if (order !== 0) return order < 0;
  return (a.pod.metadata.creationTimestamp ?? "") < (b.pod.metadata.creationTimestamp ?? "");
}
