// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";

/** Says in the cluster's Events what happens. Best effort: an Event that cannot be written holds nothing up. */
export class EventWriter {
  readonly #kube: KubeClient;
  readonly #about: KubeObject;
  readonly #underWay = new Set<Promise<void>>();
  #count = 0;

  constructor(kube: KubeClient, about: KubeObject) {
    this.#kube = kube;
    this.#about = about;
  }

  write(type: "Normal" | "Warning", reason: string, message: string, node?: string): void {
    const { name, uid, resourceVersion } = this.#about.metadata;
    const involvedObject =
      node === undefined
        ? { apiVersion: "shunt.dev/v1alpha1", kind: "Migration", name, uid, resourceVersion }
        : { apiVersion: "v1", kind: "Node", name: node, uid: node };
    const now = new Date().toISOString().replace(/\.\d+/, "");
    const id = `${Date.now().toString(16)}${(this.#count++).toString(16)}`;
    const body = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${name}.${id}`, namespace: "default" },
      involvedObject,
      ...{ type, reason, message: message.slice(0, 1000), count: 1 },
      ...{ firstTimestamp: now, lastTimestamp: now },
      source: { component: "shunt-migrate" },
    };
    const sent = this.#kube
      .request("POST", resourcePath("v1", "events", "default"), { body, timeoutMs: 5_000 })
      .catch(() => undefined)
      .finally(() => this.#underWay.delete(sent));
    this.#underWay.add(sent);
  }

  /** Waits for the Events under way. */
  async flush(): Promise<void> {
    await Promise.all(this.#underWay);
  }
}
