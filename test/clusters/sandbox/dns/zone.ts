// SPDX-License-Identifier: Apache-2.0
import { addressBytes, addressText } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";

/** What one name of the cluster has. */
export interface NameRecords {
  addresses: string[];
  /** Name that stands for this one. */
  alias?: string;
  services: { port: number; target: string }[];
}

/** Every name of a cluster (lower case, no final dot), built from its Services and EndpointSlices. */
export class Zone {
  readonly domain: string;
  readonly #names = new Map<string, NameRecords>();
  readonly #pointers = new Map<string, string[]>();
  readonly #parents = new Set<string>();

  constructor(domain: string, services: Iterable<KubeObject>, slices: Iterable<KubeObject>) {
    this.domain = domain.toLowerCase();
    const byService = new Map<string, KubeObject[]>();
    for (const slice of slices) {
      const key = `${slice.metadata.namespace}/${slice.metadata.labels?.["kubernetes.io/service-name"]}`;
      byService.set(key, [...(byService.get(key) ?? []), slice]);
    }
    for (const service of services)
      this.#addService(
        service,
        byService.get(`${service.metadata.namespace}/${service.metadata.name}`) ?? [],
      );
  }

  /** Whether the cluster answers for this name, there or not. */
  covers(name: string): boolean {
    return name === this.domain || name.endsWith(`.${this.domain}`);
  }

  /** A name's records; an empty one for a name that only has names below it; undefined when it is not there. */
  find(name: string): NameRecords | undefined {
    const found = this.#names.get(name) ?? this.#podRecords(name);
    if (found !== undefined) return found;
    return this.#parents.has(name) || name === this.domain ? { addresses: [], services: [] } : undefined;
  }

  /** Names of an address; undefined when the cluster has none for it. */
  pointers(address: string): string[] | undefined {
    return this.#pointers.get(address);
  }

  #name(name: string): NameRecords {
    const found = this.#names.get(name);
    if (found !== undefined) return found;
    const records: NameRecords = { addresses: [], services: [] };
    this.#names.set(name, records);
    for (let parent = name.slice(name.indexOf(".") + 1); parent.endsWith(this.domain); ) {
      if (parent === this.domain || this.#parents.has(parent)) break;
      this.#parents.add(parent);
      parent = parent.slice(parent.indexOf(".") + 1);
    }
    return records;
  }

  #point(address: string, name: string): void {
    this.#pointers.set(address, [...(this.#pointers.get(address) ?? []), name]);
  }

  #addService(service: KubeObject, slices: KubeObject[]): void {
    const spec = service.spec ?? {};
    const base = `${service.metadata.name}.${service.metadata.namespace}.svc.${this.domain}`;
    if (spec.type === "ExternalName") {
      this.#name(base).alias = String(spec.externalName ?? "")
        .replace(/\.$/, "")
        .toLowerCase();
      return;
    }
    const clusterIps: string[] = (spec.clusterIPs ?? [spec.clusterIP]).filter(Boolean);
    if (clusterIps[0] === "None") {
      this.#addHeadless(base, slices, spec.publishNotReadyAddresses === true);
      return;
    }
    if (clusterIps.length === 0) return;
    this.#name(base).addresses.push(...clusterIps);
    for (const address of clusterIps) this.#point(address, base);
    for (const { name, port, protocol } of spec.ports ?? [])
      if (name) this.#name(portName(name, protocol, base)).services.push({ port, target: base });
  }

  #addHeadless(base: string, slices: KubeObject[], publishAll: boolean): void {
    for (const slice of slices)
      for (const endpoint of slice.endpoints ?? []) {
        if (!publishAll && endpoint.conditions?.ready === false) continue;
        for (const address of (endpoint.addresses ?? []) as string[]) {
          const host = endpoint.hostname ?? address.replaceAll(/[.:]/g, "-");
          const name = `${host}.${base}`.toLowerCase();
          this.#name(base).addresses.push(address);
          this.#name(name).addresses.push(address);
          if (endpoint.hostname) this.#point(address, name);
          for (const port of slice.ports ?? []) {
            if (!port.name) continue;
            const { services } = this.#name(portName(port.name, port.protocol, base));
            if (!services.some((other) => other.target === name && other.port === port.port))
              services.push({ port: port.port, target: name });
          }
        }
      }
  }

  /** `10-244-1-2.NAMESPACE.pod.DOMAIN` is the address that it spells. */
  #podRecords(name: string): NameRecords | undefined {
    const [host = "", namespace = "", kind = "", ...rest] = name.split(".");
    if (kind !== "pod" || namespace === "" || rest.join(".") !== this.domain) return undefined;
    const text = /^\d+-\d+-\d+-\d+$/.test(host) ? host.replaceAll("-", ".") : host.replaceAll("-", ":");
    try {
      return { addresses: [addressText(addressBytes(text))], services: [] };
    } catch {
      return undefined;
    }
  }
}

function portName(name: string, protocol: string | undefined, base: string): string {
  return `_${name}._${(protocol ?? "TCP").toLowerCase()}.${base}`.toLowerCase();
}

/** The address that a name of in-addr.arpa or ip6.arpa stands for; undefined for any other name. */
export function reverseAddress(name: string): string | undefined {
  const four = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name);
  if (four !== null) return four.slice(1).reverse().join(".");
  const six = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name);
  if (six === null) return undefined;
  const digits = six[1]!.split(".").reverse().join("");
  return addressText(Uint8Array.from(Buffer.from(digits, "hex")));
}
