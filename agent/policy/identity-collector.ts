// SPDX-License-Identifier: Apache-2.0
// Numbers that no pod has any more are given back, without a server that would have to run for it.
import { createHash } from "node:crypto";
import { errorMessage } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isConflict, isNotFound } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Logger } from "../../lib/log.ts";
import { Coalesced } from "../coalesce.ts";
import { textOfIdentity } from "./identity.ts";

/** Since when nobody has the number, as the agent saw it that wrote this. */
export const unusedSince = "shunt.dev/unused-since";

/** So often it is looked. */
const periodMs = 30_000;
/** For so long a number has been marked as unused when it goes. */
const unusedMs = 600_000;
/** Nodes take turns: the first to act spares the others. */
const perNodeMs = 1_000;
const mostSpreadMs = 120_000;
/** Most writes of a round. */
const mostAtOnce = 20;

type Step = "mark" | "unmark" | "delete";

/**
 * Marks numbers that no pod has, and deletes them when they have stayed marked. Whoever needs one meanwhile takes the mark
 * away, and a number is only deleted as it was seen: none goes that somebody has just taken.
 */
export class IdentityCollector {
  readonly #client: KubeClient;
  readonly #nodeName: string;
  readonly #nodeCount: () => number;
  readonly #log: Logger;
  readonly #list: () => Iterable<KubeObject>;
  readonly #isUsed: (text: string) => "here" | "elsewhere" | undefined;
  readonly #isKnown: () => boolean;
  readonly #times: { periodMs: number; unusedMs: number };
  readonly #work: Coalesced;
  /** What is to be done with a number, and when it is this node's turn. */
  readonly #due = new Map<string, { step: Step; dueMs: number }>();
  /** Since when this agent knows a number as marked, by the object's uid and the mark. */
  readonly #marked = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: {
    client: KubeClient;
    nodeName: string;
    nodeCount: () => number;
    log: Logger;
    /** The objects of all numbers. */
    list: () => Iterable<KubeObject>;
    /** Where pods with these labels are. */
    isUsed: (text: string) => "here" | "elsewhere" | undefined;
    /** Whether all pods are known. */
    isKnown: () => boolean;
    onError?: (part: string) => void;
    times?: { periodMs: number; unusedMs: number };
  }) {
    this.#client = options.client;
    this.#nodeName = options.nodeName;
    this.#nodeCount = options.nodeCount;
    this.#log = options.log;
    this.#list = options.list;
    this.#isUsed = options.isUsed;
    this.#isKnown = options.isKnown;
    this.#times = options.times ?? { periodMs, unusedMs };
    const onError = options.onError ?? (() => undefined);
    this.#work = new Coalesced("identities", () => this.#round(), { log: options.log, onError });
  }

  /** Looks from now on. */
  start(): void {
    this.#timer = setInterval(() => this.#work.trigger(), this.#times.periodMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#work.stop();
  }

  async #round(): Promise<void> {
    if (!this.#isKnown()) return;
    const now = performance.now();
    const names = new Set<string>();
    const marks = new Set<string>();
    const due: [KubeObject, Step][] = [];
    for (const object of this.#list()) {
      const name = object.metadata.name!;
      names.add(name);
      const mark = object.metadata.annotations?.[unusedSince];
      const key = `${object.metadata.uid} ${mark}`;
      if (mark !== undefined) {
        marks.add(key);
        if (!this.#marked.has(key)) this.#marked.set(key, now);
      }
      const used = this.#isUsed(textOfIdentity(object));
      const isOver = mark !== undefined && now - this.#marked.get(key)! >= this.#times.unusedMs;
      const step = used !== undefined ? (mark === undefined ? undefined : "unmark") : stepOf(mark, isOver);
      if (step === undefined) {
        this.#due.delete(name);
        continue;
      }
      const planned = this.#due.get(name);
      const isSame = planned?.step === step;
      const dueMs = used === "here" ? now : isSame ? planned.dueMs : now + this.#turnMs(name);
      this.#due.set(name, { step, dueMs });
      if (dueMs <= now) due.push([object, step]);
    }
    for (const name of this.#due.keys()) if (!names.has(name)) this.#due.delete(name);
    for (const key of this.#marked.keys()) if (!marks.has(key)) this.#marked.delete(key);
    await Promise.all(due.slice(0, mostAtOnce).map(([object, step]) => this.#do(object, step)));
  }

  #turnMs(name: string): number {
    const hash = createHash("sha256").update(`${this.#nodeName} ${name}`).digest().readUInt32BE(0);
    return (hash / 2 ** 32) * Math.min(mostSpreadMs, perNodeMs * this.#nodeCount());
  }

  async #do({ metadata }: KubeObject, step: Step): Promise<void> {
    const { name, uid, resourceVersion } = metadata;
    const path = resourcePath("shunt.dev/v1alpha1", "identities", undefined, name);
    this.#due.delete(name!);
    try {
      if (step === "delete") {
        await this.#client.delete(path, {
          ...{ apiVersion: "v1", kind: "DeleteOptions" },
          preconditions: { uid, resourceVersion },
        });
        this.#log.info("identity given back", { identity: name });
        return;
      }
      const mark = step === "mark" ? new Date().toISOString() : null;
      await this.#client.patch(path, "merge", {
        metadata: { uid, resourceVersion, annotations: { [unusedSince]: mark } },
      });
    } catch (error) {
      // Somebody was first: what they did is heard of.
      if (isConflict(error) || isNotFound(error)) return;
      this.#log.warn("identity not collected", { identity: name, step, error: errorMessage(error) });
    }
  }
}

const stepOf = (mark: string | undefined, isOver: boolean): Step | undefined =>
  mark === undefined ? "mark" : isOver ? "delete" : undefined;
