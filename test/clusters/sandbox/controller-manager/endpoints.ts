// SPDX-License-Identifier: Apache-2.0
import { isAlreadyExists } from "../../../../lib/kube-errors.ts";
import type { Informer } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { podMember, selectedPods } from "./endpoint-members.ts";
import { followServices, hasSelector, serviceFamilies } from "./endpoint-slice.ts";
import { canonicalJson } from "./pod-template.ts";
import { pathOf, resources } from "./resources.ts";

const maxAddresses = 1_000;

/** The subsets of the classic Endpoints object: pods with equal ports together, of the first family only. */
export function endpointSubsets(service: KubeObject, pods: KubeObject[]): any[] {
  const family = serviceFamilies(service)[0]!;
  const members = pods
    .filter(
      (pod) => pod.metadata.deletionTimestamp === undefined || service.spec.publishNotReadyAddresses === true,
    )
    .map((pod) => podMember(service, pod, family, undefined))
    .filter((member) => member !== undefined)
    .slice(0, maxAddresses);
  const groups = Map.groupBy(members, ({ ports }) => canonicalJson(ports));
  return [...groups.values()].map((group) => {
    const address = ({ endpoint }: (typeof group)[number]) => ({
      ip: endpoint.addresses[0],
      ...(endpoint.hostname === undefined ? {} : { hostname: endpoint.hostname }),
      ...(endpoint.nodeName === undefined ? {} : { nodeName: endpoint.nodeName }),
      targetRef: endpoint.targetRef,
    });
    const ready = group.filter(({ endpoint }) => endpoint.conditions.ready).map(address);
    const notReady = group.filter(({ endpoint }) => !endpoint.conditions.ready).map(address);
    const ports = group[0]!.ports.map(({ name, ...port }) => (name === "" ? port : { name, ...port }));
    return {
      ...(ready.length === 0 ? {} : { addresses: ready }),
      ...(notReady.length === 0 ? {} : { notReadyAddresses: notReady }),
      ...(ports.length === 0 ? {} : { ports }),
    };
  });
}

/** Keeps the classic Endpoints object of every Service with a selector, for clients that still read it. */
export class EndpointsObjects {
  readonly #controller: Controller;
  readonly #services: Informer;
  readonly #pods: Informer;
  readonly #endpoints: Informer;

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#endpoints = controller.informer(resources.endpoints);
    const queue = controller.queue((key) => this.#reconcile(key));
    const { services, pods } = followServices(controller, queue);
    this.#services = services;
    this.#pods = pods;
  }

  async #reconcile(key: string): Promise<undefined> {
    const { client } = this.#controller;
    const service = this.#services.get(key);
    const [namespace, name] = key.split("/") as [string, string];
    if (service === undefined) {
      const left = this.#endpoints.get(key);
      // The API server writes those of its own Service, and people may write theirs for one without selector.
      if (left?.metadata.labels?.["endpoints.kubernetes.io/managed-by"] === "endpoint-controller")
        await client.deleteIfExists(pathOf(resources.endpoints, namespace, name));
      return undefined;
    }
    if (!hasSelector(service)) return undefined;
    const subsets = endpointSubsets(service, selectedPods(service, this.#pods.items.values()));
    const present = this.#endpoints.get(key);
    const labels = {
      ...service.metadata.labels,
      ...(service.spec.clusterIP === "None" ? { "service.kubernetes.io/headless": "" } : {}),
      "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    };
    const wanted = { apiVersion: "v1", kind: "Endpoints", metadata: { name, namespace, labels }, subsets };
    if (present === undefined) {
      await client.create(pathOf(resources.endpoints, namespace), wanted).catch((error) => {
        if (!isAlreadyExists(error)) throw error;
      });
    } else if (
      canonicalJson([present.metadata.labels, present.subsets ?? []]) !== canonicalJson([labels, subsets])
    )
      await client.replace(pathOf(resources.endpoints, namespace, name), {
        ...wanted,
        metadata: { ...present.metadata, labels },
      });
    return undefined;
  }
}
