// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../../../lib/kube.ts";
import { isNotFound } from "../../../../lib/kube-errors.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Logger } from "../../../../lib/log.ts";

interface Sent {
  name: string;
  count: number;
  atMs: number;
}

/** Tells the cluster what happens to pods and the node; an event that repeats is counted, not made anew. */
export class EventRecorder {
  readonly #client: KubeClient;
  readonly #nodeName: string;
  readonly #log: Logger;
  readonly #sent = new Map<string, Sent>();
  #queue: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(client: KubeClient, nodeName: string, log: Logger) {
    this.#client = client;
    this.#nodeName = nodeName;
    this.#log = log;
  }

  /** Never throws and never waits; events are lost when the API server is away for long. */
  record(
    object: KubeObject,
    type: "Normal" | "Warning",
    reason: string,
    message: string,
    fieldPath?: string,
  ): void {
    if (this.#waiting > 500) return;
    this.#waiting += 1;
    this.#queue = this.#queue
      .then(() => this.#send(object, type, reason, message.slice(0, 1024), fieldPath))
      .catch((error) => this.#log.debug("event lost", { reason, error: errorMessage(error) }))
      .finally(() => {
        this.#waiting -= 1;
      });
  }

  /** Resolves when everything recorded so far was sent or lost. */
  async flush(): Promise<void> {
    await this.#queue;
  }

  async #send(object: KubeObject, type: string, reason: string, message: string, fieldPath?: string) {
    const { namespace = "default", name = "", uid } = object.metadata;
    const key = [namespace, name, uid, type, reason, message, fieldPath].join("\u0000");
    const now = new Date();
    const lastTimestamp = `${now.toISOString().slice(0, 19)}Z`;
    const before = this.#sent.get(key);
    if (before !== undefined && now.getTime() - before.atMs < 10 * 60_000) {
      before.count += 1;
      before.atMs = now.getTime();
      const path = resourcePath("v1", "events", namespace, before.name);
      try {
        await this.#client.patch(path, "merge", { count: before.count, lastTimestamp });
        return;
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    const eventName = `${name}.${(BigInt(now.getTime()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n)).toString(16)}`;
    const involved = { kind: object.kind, apiVersion: object.apiVersion ?? "v1", name, uid, fieldPath };
    const scoped = object.metadata.namespace === undefined ? {} : { namespace };
    await this.#client.create(resourcePath("v1", "events", namespace), {
      kind: "Event",
      apiVersion: "v1",
      metadata: { name: eventName, namespace },
      involvedObject: { ...involved, ...scoped, resourceVersion: object.metadata.resourceVersion },
      reason,
      message,
      type,
      count: 1,
      firstTimestamp: lastTimestamp,
      lastTimestamp,
      source: { component: "kubelet", host: this.#nodeName },
      reportingComponent: "kubelet",
      reportingInstance: this.#nodeName,
    });
    this.#sent.set(key, { name: eventName, count: 1, atMs: now.getTime() });
    if (this.#sent.size > 2000) this.#sent.delete(this.#sent.keys().next().value ?? "");
  }
}
