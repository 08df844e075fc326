// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../../../lib/kube.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Logger } from "../../../../lib/log.ts";

const remembered = 1_000;

/** Writes core/v1 Events about objects; the same event again raises the count of the first. */
export class EventRecorder {
  readonly #client: KubeClient;
  readonly #component: string;
  readonly #log: Logger;
  readonly #known = new Map<string, { name: string; count: number }>();
  #sequence = Date.now() * 1_000;

  constructor(client: KubeClient, component: string, log: Logger) {
    this.#client = client;
    this.#component = component;
    this.#log = log;
  }

  normal(object: KubeObject, reason: string, message: string): void {
    void this.#record("Normal", object, reason, message);
  }

  warning(object: KubeObject, reason: string, message: string): void {
    void this.#record("Warning", object, reason, message);
  }

  async #record(type: string, object: KubeObject, reason: string, message: string): Promise<void> {
    const namespace = object.metadata.namespace ?? "default";
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const key = [object.metadata.uid, type, reason, message].join("|");
    try {
      const known = this.#known.get(key);
      if (known !== undefined) {
        known.count++;
        const path = resourcePath("v1", "events", namespace, known.name);
        await this.#client.patch(path, "merge", { count: known.count, lastTimestamp: now });
        return;
      }
      const name = `${object.metadata.name}.${(this.#sequence++).toString(16)}`;
      this.#remember(key, name);
      await this.#client.create(resourcePath("v1", "events", namespace), {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name, namespace },
        involvedObject: {
          apiVersion: object.apiVersion,
          kind: object.kind,
          namespace: object.metadata.namespace,
          name: object.metadata.name,
          uid: object.metadata.uid,
          resourceVersion: object.metadata.resourceVersion,
        },
        reason,
        message: message.slice(0, 1024),
        type,
        count: 1,
        firstTimestamp: now,
        lastTimestamp: now,
        source: { component: this.#component },
        reportingComponent: this.#component,
        reportingInstance: "",
      });
    } catch (error) {
      // An event is a courtesy: its namespace may be going, or its first record expired.
      this.#known.delete(key);
      this.#log.debug("event not written", { reason, error: errorMessage(error) });
    }
  }

  #remember(key: string, name: string): void {
    if (this.#known.size >= remembered) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(key, { name, count: 1 });
  }
}
