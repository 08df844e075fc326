// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../../../lib/kube.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";

/** Reads the ConfigMaps and Secrets that pods name, one by one, as a node may (it may not list them). */
export class ObjectCache {
  readonly #client: KubeClient;
  readonly #found = new Map<string, { object: KubeObject | undefined; atMs: number }>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** The object, at most `maxAgeMs` old; undefined when there is none. */
  async find(
    plural: "configmaps" | "secrets",
    namespace: string,
    name: string,
    maxAgeMs: number,
  ): Promise<KubeObject | undefined> {
    const path = resourcePath("v1", plural, namespace, name);
    const cached = this.#found.get(path);
    if (cached !== undefined && Date.now() - cached.atMs < maxAgeMs) return cached.object;
    const object = await this.#client.find(path, { timeoutMs: 10_000 });
    if (this.#found.size > 5000) this.#found.clear();
    this.#found.set(path, { object, atMs: Date.now() });
    return object;
  }
}
