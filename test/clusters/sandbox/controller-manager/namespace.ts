// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import type { KubeClient } from "../../../../lib/kube.ts";
import { isNotFound } from "../../../../lib/kube-errors.ts";
import type { Informer } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { discoverResources, type ServedResource } from "./discovery.ts";
import type { Condition } from "./pod-state.ts";
import { pathOf, resources } from "./resources.ts";
import { withCondition, writeStatus } from "./status-write.ts";

const lookAgainMs = 500;

interface Remains {
  discoveryError?: string;
  deletionErrors: string[];
  /** How many objects of each resource are left. */
  left: Map<string, number>;
  finalizers: Map<string, number>;
}

/** Empties namespaces that are being deleted, and lets them go when nothing is left in them. */
export class Namespaces {
  readonly #controller: Controller;
  readonly #client: KubeClient;
  readonly #namespaces: Informer;

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#client = controller.client;
    this.#namespaces = controller.informer(resources.namespaces);
    const queue = controller.queue((name) => this.#reconcile(name));
    this.#namespaces.onChange(({ type, object }) => {
      if (type !== "deleted" && object.metadata.deletionTimestamp !== undefined)
        queue.add(object.metadata.name!);
    });
  }

  async #reconcile(name: string): Promise<number | undefined> {
    if (this.#namespaces.get(name)?.metadata.deletionTimestamp === undefined) return undefined;
    const namespace = await this.#client.find(pathOf(resources.namespaces, undefined, name));
    if (namespace?.metadata.deletionTimestamp === undefined) return undefined;
    const finalizers: string[] = namespace.spec?.finalizers ?? [];
    if (!finalizers.includes("kubernetes")) return undefined;
    const remains = await this.#empty(name);
    const isEmpty = remains.left.size === 0 && remains.deletionErrors.length === 0;
    if (!isEmpty || remains.discoveryError !== undefined) {
      const conditions = deletionConditions(namespace.status?.conditions, remains);
      await writeStatus(this.#client, resources.namespaces, namespace, { ...namespace.status, conditions });
      return lookAgainMs;
    }
    await this.#finalize(namespace);
    return undefined;
  }

  async #finalize(namespace: KubeObject): Promise<void> {
    const finalizers = namespace.spec.finalizers.filter((name: string) => name !== "kubernetes");
    try {
      await this.#client.replace(
        `${pathOf(resources.namespaces, undefined, namespace.metadata.name)}/finalize`,
        { ...namespace, spec: { ...namespace.spec, finalizers } },
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async #empty(name: string): Promise<Remains> {
    const { served, complete } = await discoverResources(
      this.#controller.shared.reader,
      this.#controller.log,
    );
    const remains: Remains = { deletionErrors: [], left: new Map(), finalizers: new Map() };
    if (!complete) remains.discoveryError = "some API groups could not be read";
    const deletable = served.filter(
      ({ namespaced, verbs }) => namespaced && verbs.includes("delete") && verbs.includes("list"),
    );
    for (const resource of deletable) {
      try {
        await this.#emptyResource(name, resource, remains);
      } catch (error) {
        if (!isNotFound(error)) remains.deletionErrors.push(errorMessage(error));
      }
    }
    return remains;
  }

  async #emptyResource(name: string, resource: ServedResource, remains: Remains): Promise<void> {
    const path = pathOf(resource, name);
    const before = await this.#client.list(path);
    if (before.items.length === 0) return;
    const options = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" };
    const isDeletedAtOnce = resource.verbs.includes("deletecollection");
    if (isDeletedAtOnce) await this.#client.delete(path, options);
    else
      for (const { metadata } of before.items)
        await this.#client.deleteIfExists(pathOf(resource, name, metadata.name), options);
    const { items } = await this.#client.list(path);
    if (items.length === 0) return;
    remains.left.set(groupResource(resource), items.length);
    for (const { metadata } of items)
      for (const finalizer of metadata.finalizers ?? [])
        remains.finalizers.set(finalizer, (remains.finalizers.get(finalizer) ?? 0) + 1);
  }
}

function groupResource({ apiVersion, plural }: ServedResource): string {
  return apiVersion.includes("/") ? `${plural}.${apiVersion.split("/")[0]}` : `${plural}.`;
}

function deletionConditions(present: Condition[] | undefined, remains: Remains): Condition[] {
  const { discoveryError, deletionErrors, left, finalizers } = remains;
  const instances = [...left].map(([resource, count]) => `${resource} has ${count} resource instances`);
  const holders = [...finalizers].map(([finalizer, count]) => `${finalizer} in ${count} resource instances`);
  const state = (bad: boolean, type: string, reason: string, message: string, good: [string, string]) => ({
    type,
    status: bad ? "True" : "False",
    reason: bad ? reason : good[0],
    message: bad ? message : good[1],
  });
  const wanted: Condition[] = [
    state(
      discoveryError !== undefined,
      "NamespaceDeletionDiscoveryFailure",
      "DiscoveryFailed",
      `Discovery failed for some groups: ${discoveryError}`,
      ["ResourcesDiscovered", "All resources successfully discovered"],
    ),
    state(
      deletionErrors.length > 0,
      "NamespaceDeletionContentFailure",
      "ContentDeletionFailed",
      `Failed to delete all resource types, ${deletionErrors.length} remaining: ${deletionErrors.join(", ")}`,
      ["ContentDeleted", "All content successfully deleted, may be waiting on finalization"],
    ),
    state(
      left.size > 0,
      "NamespaceContentRemaining",
      "SomeResourcesRemain",
      `Some resources are remaining: ${instances.join(", ")}`,
      ["ContentRemoved", "All content successfully removed"],
    ),
    state(
      finalizers.size > 0,
      "NamespaceFinalizersRemaining",
      "SomeFinalizersRemain",
      `Some content in the namespace has finalizers remaining: ${holders.join(", ")}`,
      ["ContentHasNoFinalizers", "All content-preserving finalizers finished"],
    ),
  ];
  return wanted.reduce<Condition[]>((conditions, next) => withCondition(conditions, next), present ?? []);
}
