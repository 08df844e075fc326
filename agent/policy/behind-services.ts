// SPDX-License-Identifier: Apache-2.0
// What is behind Services: pods by their labels, and addresses that no pod has.
import { addressBytes, addressText, hostPrefix, isAddress } from "../../lib/addresses.ts";
import type { Informer } from "../../lib/kube-informer.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Behind, ServicesPeer } from "./peer-index.ts";
import { selects } from "./selector.ts";

/** Endpoints of Services by their names, as the slices have them. */
export class BehindServices {
  readonly #services: Informer;
  readonly #slices: Informer;
  readonly #textAt: (address: string) => string | undefined;
  #byService: ReadonlyMap<string, readonly KubeObject[]> | undefined;

  /** `textAt`: labels of the pod with an address, as `identityText` has them. */
  constructor(
    { services, slices }: { services: Informer; slices: Informer },
    textAt: (address: string) => string | undefined,
  ) {
    this.#services = services;
    this.#slices = slices;
    this.#textAt = textAt;
    slices.onChange(() => {
      this.#byService = undefined;
    });
  }

  find({ namespace, name, selector }: ServicesPeer): Behind {
    this.#byService ??= Map.groupBy(this.#slices.list(), serviceOf);
    const texts = new Set<string>();
    const others = new Set<string>();
    const add = (slices: readonly KubeObject[] = []): void => {
      for (const { endpoints } of slices)
        for (const { addresses } of endpoints ?? [])
          for (const address of addresses ?? []) {
            const text = this.#textAt(address);
            if (text !== undefined) texts.add(text);
            else if (isAddress(address)) others.add(hostPrefix(addressText(addressBytes(address))));
          }
    };
    if (name !== undefined && namespace !== undefined) add(this.#byService.get(`${namespace}/${name}`));
    else
      for (const [service, slices] of this.#byService) {
        const [inNamespace, called] = service.split("/");
        if (called === undefined || (namespace !== undefined && namespace !== inNamespace)) continue;
        const labels = Object.entries<string>(this.#services.get(service)?.metadata.labels ?? {});
        if (name === undefined ? selects(selector, new Map(labels)) : name === called) add(slices);
      }
    return { texts, others };
  }
}

/** namespace/name; empty when the slice is of none. */
function serviceOf({ metadata }: KubeObject): string {
  const name = metadata.labels?.["kubernetes.io/service-name"];
  return name === undefined ? "" : `${metadata.namespace}/${name}`;
}
