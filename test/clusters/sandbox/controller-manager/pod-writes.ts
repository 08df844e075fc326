// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { isNotFound } from "../../../../lib/kube-errors.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import type { Expectations } from "./expectations.ts";
import { pathOf, resources } from "./resources.ts";

/** Creates and deletes an owner's pods, with expectations and events. */
export class PodWrites {
  readonly #controller: Controller;
  readonly #expectations: Expectations;

  constructor(controller: Controller, expectations: Expectations) {
    this.#controller = controller;
    this.#expectations = expectations;
  }

  async create(owner: KubeObject, key: string, pod: KubeObject): Promise<void> {
    const { client, events } = this.#controller;
    this.#expectations.expectCreation(key);
    try {
      const created = await client.create(pathOf(resources.pods, owner.metadata.namespace), pod);
      events.normal(owner, "SuccessfulCreate", `Created pod: ${created.metadata.name}`);
    } catch (error) {
      this.#expectations.creationSeen(key);
      events.warning(owner, "FailedCreate", `Error creating: ${errorMessage(error)}`);
      throw error;
    }
  }

  /** Creates 1, 2, 4, … pods at a time, so that what is refused is refused once and not a hundred times. */
  async createAll(owner: KubeObject, key: string, pods: KubeObject[]): Promise<void> {
    for (let done = 0, size = 1; done < pods.length; done += size, size *= 2)
      await Promise.all(pods.slice(done, done + size).map((pod) => this.create(owner, key, pod)));
  }

  async delete(owner: KubeObject, key: string, pod: KubeObject): Promise<void> {
    const { client, events } = this.#controller;
    const { namespace, name, uid } = pod.metadata;
    this.#expectations.expectDeletion(key, uid!);
    try {
      await client.delete(pathOf(resources.pods, namespace, name), {
        apiVersion: "v1",
        kind: "DeleteOptions",
        preconditions: { uid },
      });
      events.normal(owner, "SuccessfulDelete", `Deleted pod: ${name}`);
    } catch (error) {
      this.#expectations.deletionSeen(key, uid!);
      if (isNotFound(error)) return;
      events.warning(owner, "FailedDelete", `Error deleting: ${errorMessage(error)}`);
      throw error;
    }
  }

  async deleteAll(owner: KubeObject, key: string, pods: KubeObject[]): Promise<void> {
    for (let done = 0; done < pods.length; done += 50)
      await Promise.all(pods.slice(done, done + 50).map((pod) => this.delete(owner, key, pod)));
  }
}
