// SPDX-License-Identifier: Apache-2.0
import { basename } from "node:path";
import { addressBytes, parseCidr } from "../lib/addresses.ts";
import { errorMessage, ShuntError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Datapath } from "./datapath.ts";
import { policyEndpoints } from "./datapath-layout.ts";
import {
  identifyEndpoint,
  isPublished,
  publishEndpoint,
  publishedIdentity,
  withdrawEndpoint,
} from "./endpoint-map.ts";
import { type Attachment, attachmentKey, type Endpoint, type EndpointStore } from "./endpoint-store.ts";
import { ForeignPods } from "./foreign-pods.ts";
import { AddressPool } from "./ipam.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import {
  checkPodLink,
  configurePodSide,
  createPodLink,
  deletePodLink,
  listPodDevices,
  podLinkNames,
  visibleNetns,
} from "./pod-link.ts";

/** Adds, removes and checks pods' interfaces; what it made is on disk before it is in the kernel. */
export class EndpointManager {
  readonly #store: EndpointStore;
  readonly #datapath: Datapath;
  readonly #log: Logger;
  readonly #admit: (endpoint: Endpoint) => Promise<number>;
  readonly #queue = new KeyedQueue(8);
  readonly #foreign: ForeignPods;
  /** Names of the network namespaces of pods that wait for their interface. */
  readonly #waiting = new Set<string>();
  #pools: AddressPool[] = [];
  #mtu = 1500;
  #nodeIpv6: string | undefined;
  #nextId = 0;
  /** Numbers by which policies know pods, by endpoint id. */
  #identities: ReadonlyMap<number, number> = new Map();

  constructor(options: {
    store: EndpointStore;
    datapath: Datapath;
    log: Logger;
    /** Called before packets reach a new pod: resolves to its number once it is judged as policies say. */
    admit?: (endpoint: Endpoint) => Promise<number>;
    foreign?: ForeignPods;
  }) {
    this.#foreign = options.foreign ?? new ForeignPods();
    this.#admit = options.admit ?? (async () => 0);
    this.#store = options.store;
    this.#datapath = options.datapath;
    this.#log = options.log;
  }

  list(): Endpoint[] {
    return this.#store.list();
  }

  /** Address pools by pod CIDR: how full they are. */
  get pools(): { cidr: string; total: number; taken: number }[] {
    return this.#pools.map((pool) => ({ cidr: pool.cidr.text, ...pool.usage }));
  }

  /** Sets the node's pod CIDRs (IPv4 before IPv6), MTU and IPv6 address; addresses in use stay in use. */
  configure(podCIDRs: readonly string[], mtu: number, nodeIpv6: string | undefined): void {
    this.#mtu = mtu;
    this.#nodeIpv6 = nodeIpv6;
    const cidrs = podCIDRs.map(parseCidr).toSorted((a, b) => a.family.localeCompare(b.family));
    if (cidrs.map(({ text }) => text).join() === this.#pools.map(({ cidr }) => cidr.text).join()) return;
    const newest = this.list().toSorted((a, b) => a.id - b.id);
    this.#pools = cidrs.map((cidr) => {
      const last = newest
        .flatMap((endpoint) => endpoint.addresses)
        .findLast((address) => address.includes(":") === (cidr.family === "ipv6"));
      const pool = new AddressPool(cidr, last);
      for (const endpoint of newest)
        for (const address of endpoint.addresses) pool.take(address, addressBytes(address));
      return pool;
    });
    this.#nextId = Math.max(this.#nextId, newest.at(-1)?.id ?? 0);
  }

  /** Gives a pod its interface; the same answer for a second call. No work is done when nobody waits any more. */
  async add(attachment: Attachment, isAwaited: () => boolean): Promise<Endpoint> {
    const netns = basename(attachment.netns);
    this.#waiting.add(netns);
    try {
      return await this.#add(attachment, isAwaited);
    } finally {
      this.#waiting.delete(netns);
    }
  }

  #add(attachment: Attachment, isAwaited: () => boolean): Promise<Endpoint> {
    const key = attachmentKey(attachment.containerId, attachment.ifName);
    return this.#queue.run(key, async () => {
      if (!isAwaited()) throw new ShuntError("The container runtime gave up while others had their turn");
      const netns = visibleNetns(attachment.netns);
      if (netns === undefined)
        throw new ShuntError(`Network namespace ${attachment.netns} of the pod does not exist`, {
          code: "NoNetns",
          remedy: "It must be below /run/netns, which the agent's DaemonSet mounts from the node.",
        });
      const existing = this.#store.get(key);
      if (existing !== undefined) {
        if (existing.ready && existing.netns === attachment.netns) {
          const problems = await checkPodLink(existing, netns);
          if (problems.length === 0 && isPublished(this.#datapath.map("sh_endpoints"), existing))
            return existing;
        }
        await this.#remove(existing);
      }
      return await this.#make(attachment, netns);
    });
  }

  async #make(attachment: Attachment, netns: string): Promise<Endpoint> {
    if (this.#pools.length === 0) throw new ShuntError("This node has no pod CIDR yet", { code: "NotReady" });
    const own = new Set([...this.#waiting, ...this.list().map((one) => basename(one.netns))]);
    const others = await this.#foreign.addresses(own);
    const addresses: string[] = [];
    let endpoint: Endpoint | undefined;
    try {
      for (const pool of this.#pools) addresses.push(pool.allocate(others));
      endpoint = {
        ...attachment,
        ...podLinkNames(attachment.containerId, attachment.ifName),
        id: this.#freeId(),
        addresses,
        gateways: this.#pools.map((pool) => pool.gateway),
        mtu: this.#mtu,
        ready: false,
      };
      await this.#store.put(endpoint);
      this.#datapath.forgetDevice(endpoint.device);
      const ifindex = await createPodLink(endpoint, netns, this.#nodeIpv6);
      this.#datapath.attachDevice("pod host veth", endpoint.device, ifindex);
      await configurePodSide(endpoint, netns);
      const identity = await this.#admit(endpoint);
      publishEndpoint(this.#datapath.map("sh_endpoints"), endpoint, ifindex, identity);
      endpoint = { ...endpoint, ready: true };
      await this.#store.put(endpoint);
      return endpoint;
    } catch (error) {
      if (endpoint !== undefined)
        await this.#remove(endpoint).catch((second) =>
          this.#log.error("undoing a failed ADD failed", { device: endpoint?.device, error: second }),
        );
      else this.#release(addresses);
      throw error;
    }
  }

  /** The next number that no pod has: what is kept by it ends with its pod, and is not read for another soon. */
  #freeId(): number {
    const used = new Set(this.list().map(({ id }) => id));
    do this.#nextId = (this.#nextId % (policyEndpoints - 1)) + 1;
    while (used.has(this.#nextId));
    return this.#nextId;
  }

  /** Takes a pod's interface away; content when there is none. */
  remove(containerId: string, ifName: string): Promise<void> {
    const key = attachmentKey(containerId, ifName);
    return this.#queue.run(key, async () => {
      const endpoint = this.#store.get(key);
      if (endpoint !== undefined) await this.#remove(endpoint);
    });
  }

  async #remove(endpoint: Endpoint): Promise<void> {
    if (this.#datapath.loaded) withdrawEndpoint(this.#datapath.map("sh_endpoints"), endpoint);
    await deletePodLink(endpoint.device);
    this.#datapath.forgetDevice(endpoint.device);
    await this.#store.remove(endpoint);
    this.#release(endpoint.addresses);
  }

  #release(addresses: readonly string[]): void {
    for (const address of addresses) for (const pool of this.#pools) pool.release(address);
  }

  /** What is wrong with a pod's interface; empty when nothing is. */
  async check(containerId: string, ifName: string, netnsPath: string): Promise<string[]> {
    const endpoint = this.#store.get(attachmentKey(containerId, ifName));
    if (endpoint === undefined) return ["this agent knows no such attachment"];
    const netns = visibleNetns(netnsPath);
    if (netns === undefined) return [`network namespace ${netnsPath} does not exist`];
    const problems = await checkPodLink(endpoint, netns);
    if (!isPublished(this.#datapath.map("sh_endpoints"), endpoint))
      problems.push("the kernel's endpoint map lacks the pod's address");
    return problems;
  }

  /** Tells the programs by which numbers policies know pods from now on; those that are not named keep theirs. */
  setIdentities(identities: ReadonlyMap<number, number>): void {
    this.#identities = identities;
    const map = this.#datapath.map("sh_endpoints");
    for (const endpoint of this.list()) {
      const identity = identities.get(endpoint.id);
      if (endpoint.ready && identity !== undefined) identifyEndpoint(map, endpoint, identity);
    }
  }

  /** Removes every attachment that is not among the valid ones (CNI GC). Returns how many went. */
  async collect(valid: ReadonlySet<string>): Promise<number> {
    const stale = this.list().filter(
      (endpoint) => endpoint.ready && !valid.has(attachmentKey(endpoint.containerId, endpoint.ifName)),
    );
    await Promise.all(stale.map((endpoint) => this.remove(endpoint.containerId, endpoint.ifName)));
    return stale.length;
  }

  /** Makes all pods known to the programs, whichever these are. */
  async publish(): Promise<void> {
    const devices = await listPodDevices();
    for (const endpoint of this.list()) {
      const ifindex = devices.get(endpoint.device);
      if (endpoint.ready && ifindex !== undefined) this.#publish(endpoint, ifindex);
    }
  }

  #publish(endpoint: Endpoint, ifindex: number): void {
    const map = this.#datapath.map("sh_endpoints");
    const identity = this.#identities.get(endpoint.id) ?? publishedIdentity(map, endpoint);
    publishEndpoint(map, endpoint, ifindex, identity);
  }

  /**
   * Makes kernel and disk agree: pods whose device is gone are released, half-made ones removed, devices and pins
   * without an endpoint deleted, the others attached to the current programs.
   */
  async reconcile(): Promise<void> {
    const endpoints = this.list(); // before the devices: what is ready now must have one
    const devices = await listPodDevices();
    for (const endpoint of endpoints) {
      const key = attachmentKey(endpoint.containerId, endpoint.ifName);
      await this.#queue.run(key, async () => {
        const current = this.#store.get(key);
        if (current === undefined || current.id !== endpoint.id) return;
        const ifindex = devices.get(current.device);
        if (current.ready && ifindex !== undefined) return this.#refresh(current, ifindex);
        if (current.ready !== endpoint.ready) return; // made meanwhile
        this.#log.warn("removing the rest of a pod", { pod: `${current.podNamespace}/${current.podName}` });
        await this.#remove(current);
      });
    }
    const known = new Set(this.list().map((endpoint) => endpoint.device));
    for (const device of devices.keys()) if (!known.has(device)) await deletePodLink(device);
    for (const device of this.#datapath.pinnedDevices())
      if (device.startsWith("shv") && !known.has(device)) this.#datapath.forgetDevice(device);
  }

  #refresh(endpoint: Endpoint, ifindex: number): void {
    try {
      this.#datapath.attachDevice("pod host veth", endpoint.device, ifindex);
      this.#publish(endpoint, ifindex);
    } catch (error) {
      const fields = { device: endpoint.device, error: errorMessage(error) };
      if (fields.error.endsWith("ENODEV")) this.#log.info("a pod's device has just gone", fields);
      else this.#log.error("cannot attach to a pod's device", fields);
    }
  }
}
