// SPDX-License-Identifier: Apache-2.0
import { type Family, hostPort } from "../../lib/addresses.ts";
import { ShuntError } from "../../lib/errors.ts";
import { type PortName, portOffsets } from "./ports.ts";
import type { CommandRunner } from "./shell.ts";

/** Addresses of one thing, at most one a family. */
export type Addresses = Partial<Record<Family, string>>;

/** A pod of the test: something that answers, and from which commands run. */
export class PodEndpoint {
  readonly name: string;
  readonly pod: string;
  readonly namespace: string;
  readonly node: string;
  readonly addresses: Addresses;
  readonly runner: CommandRunner;
  readonly #portBase: number;

  constructor(options: {
    name: string;
    pod: string;
    namespace: string;
    node: string;
    addresses: Addresses;
    portBase: number;
    runner: CommandRunner;
  }) {
    this.name = options.name;
    this.pod = options.pod;
    this.namespace = options.namespace;
    this.node = options.node;
    this.addresses = options.addresses;
    this.runner = options.runner;
    this.#portBase = options.portBase;
  }

  /** Its address in this family; throws when it has none, which says that the family does not work. */
  address(family: Family): string {
    return addressOf(this.name, this.addresses, family);
  }

  port(name: PortName): number {
    return this.#portBase + portOffsets[name];
  }

  /** `http://address:port` of one of its HTTP ports. */
  url(family: Family, name: PortName = "http"): string {
    return `http://${hostPort(this.address(family), this.port(name))}`;
  }
}

/** A Service of the test, as the API server completed it. */
export class ServiceEndpoint {
  readonly name: string;
  readonly namespace: string;
  readonly clusterIps: Addresses;
  readonly #ports: Partial<Record<PortName, { port: number; nodePort?: number }>>;

  constructor(
    name: string,
    namespace: string,
    clusterIps: Addresses,
    ports: Partial<Record<PortName, { port: number; nodePort?: number }>>,
  ) {
    this.name = name;
    this.namespace = namespace;
    this.clusterIps = clusterIps;
    this.#ports = ports;
  }

  /** The name that every pod of the cluster can resolve. */
  get dnsName(): string {
    return `${this.name}.${this.namespace}.svc.cluster.local`;
  }

  address(family: Family): string {
    return addressOf(`service ${this.name}`, this.clusterIps, family);
  }

  port(name: PortName): number {
    return this.#port(name).port;
  }

  nodePort(name: PortName): number {
    const { nodePort } = this.#port(name);
    if (nodePort === undefined) throw new ShuntError(`service ${this.name} has no node port for ${name}`);
    return nodePort;
  }

  url(family: Family, name: PortName = "http"): string {
    return `http://${hostPort(this.address(family), this.port(name))}`;
  }

  #port(name: PortName): { port: number; nodePort?: number } {
    const port = this.#ports[name];
    if (port === undefined) throw new ShuntError(`service ${this.name} has no port ${name}`);
    return port;
  }
}

function addressOf(what: string, addresses: Addresses, family: Family): string {
  const address = addresses[family];
  if (address === undefined)
    throw new ShuntError(`${what} has no ${family === "ipv4" ? "IPv4" : "IPv6"} address`);
  return address;
}
