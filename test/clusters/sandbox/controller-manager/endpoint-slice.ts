// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../../lib/addresses.ts";
import { isNotFound } from "../../../../lib/kube-errors.ts";
import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesLabels } from "../../../../lib/label-selector.ts";
import type { Controller } from "./controllers.ts";
import { podMember, selectedPods } from "./endpoint-members.ts";
import { managedByLabel, manager, planSlices, serviceNameLabel } from "./endpoint-slice-plan.ts";
import { pathOf, resources } from "./resources.ts";
import type { WorkQueue } from "./work-queue.ts";

/** Queues the Services whose endpoints a change of a pod, a node or themselves can change. */
export function followServices(controller: Controller, queue: WorkQueue) {
  const services = controller.informer(resources.services);
  const pods = controller.informer(resources.pods);
  services.onChange(({ object }) => queue.add(objectKey(object)));
  const queueSelecting = (pod: KubeObject) => {
    for (const service of services.items.values())
      if (
        service.metadata.namespace === pod.metadata.namespace &&
        hasSelector(service) &&
        matchesLabels(service.spec.selector, pod.metadata.labels)
      )
        queue.add(objectKey(service));
  };
  pods.onChange(({ object, previous }) => {
    queueSelecting(object);
    if (previous !== undefined && previous.metadata.labels !== object.metadata.labels)
      queueSelecting(previous);
  });
  return { services, pods };
}

/** Whether a Service's endpoints are made from pods; others are somebody else's to write. */
export function hasSelector(service: KubeObject): boolean {
  return Object.keys(service.spec.selector ?? {}).length > 0 && service.spec.type !== "ExternalName";
}

/** The address families that a Service has endpoints of. */
export function serviceFamilies(service: KubeObject): Family[] {
  const families: string[] = service.spec.ipFamilies ?? [];
  if (families.length > 0) return families.map((name) => (name === "IPv6" ? "ipv6" : "ipv4"));
  return [service.spec.clusterIP?.includes(":") ? "ipv6" : "ipv4"];
}

/** Writes the EndpointSlices of every Service that has a selector. */
export class EndpointSlices {
  readonly #controller: Controller;
  readonly #services: Informer;
  readonly #pods: Informer;
  readonly #nodes: Informer;
  readonly #slices: Informer;

  constructor(controller: Controller) {
    this.#controller = controller;
    const queue = controller.queue((key) => this.#reconcile(key));
    this.#nodes = controller.informer(resources.nodes);
    this.#slices = controller.informer(resources.endpointSlices);
    const { services, pods } = followServices(controller, queue);
    this.#services = services;
    this.#pods = pods;
    const zoneOf = (node: KubeObject | undefined) => node?.metadata.labels?.["topology.kubernetes.io/zone"];
    this.#nodes.onChange(({ object, previous }) => {
      if (zoneOf(object) !== zoneOf(previous)) for (const key of services.items.keys()) queue.add(key);
    });
    this.#slices.onChange(({ object }) => {
      const name = object.metadata.labels?.[serviceNameLabel];
      if (name !== undefined && object.metadata.labels?.[managedByLabel] === manager)
        queue.add(`${object.metadata.namespace}/${name}`);
    });
  }

  async #reconcile(key: string): Promise<undefined> {
    const service = this.#services.get(key);
    const existing = this.#slicesOf(key);
    if (service === undefined || service.metadata.deletionTimestamp !== undefined) return undefined;
    if (!hasSelector(service)) return undefined;
    const pods = selectedPods(service, this.#pods.items.values());
    const families = serviceFamilies(service);
    for (const family of families) {
      const members = pods
        .map((pod) => podMember(service, pod, family, this.#nodes.get(pod.spec.nodeName ?? "")))
        .filter((member) => member !== undefined);
      const plan = planSlices(service, family, members, existing);
      await this.#write(service, plan);
    }
    const kept = new Set(families.map((family) => (family === "ipv4" ? "IPv4" : "IPv6")));
    const strays = existing.filter((slice) => !kept.has(slice.addressType));
    await this.#write(service, { create: [], update: [], remove: strays });
    return undefined;
  }

  #slicesOf(key: string): KubeObject[] {
    return this.#slices
      .list()
      .filter(
        (slice) =>
          slice.metadata.labels?.[managedByLabel] === manager &&
          `${slice.metadata.namespace}/${slice.metadata.labels?.[serviceNameLabel]}` === key,
      );
  }

  async #write(service: KubeObject, plan: ReturnType<typeof planSlices>): Promise<void> {
    const { client } = this.#controller;
    const { namespace } = service.metadata;
    const path = (slice: KubeObject) => pathOf(resources.endpointSlices, namespace, slice.metadata.name);
    for (const slice of plan.update) this.#remember(await client.replace(path(slice), slice));
    for (const slice of plan.create)
      this.#remember(await client.create(pathOf(resources.endpointSlices, namespace), slice));
    for (const slice of plan.remove)
      await client.delete(path(slice)).catch((error) => {
        if (!isNotFound(error)) throw error;
      });
  }

  /** Puts what was just written into the cache, so that the next look does not write it again. */
  #remember(slice: KubeObject): void {
    const key = objectKey(slice);
    if (!this.#slices.items.has(key)) this.#slices.items.set(key, slice);
  }
}
