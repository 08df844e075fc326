// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../lib/errors.ts";
import type { ProbeRole } from "./names.ts";
import type { Peer, Peers } from "./peers.ts";
import { type Answer, askDns, askHttp, SpoiledPorts, type Target, UdpAsker } from "./requests.ts";
import type { ProbeKind, ProbePath } from "./results.ts";
import { ProbeStream, type StreamHost } from "./stream.ts";
import type { Sent } from "./tally.ts";

/** Where the probes' own Services are, and what name to ask for. */
export interface SenderSettings {
  /** One in its node's own network asks by Services only: there is no pod network between such probes. */
  role: ProbeRole;
  clusterIPs: string[];
  nodePorts: { http: number; stream: number; udp: number };
  servicePorts: { http: number; stream: number; udp: number };
  podPorts: { http: number; stream: number; udp: number };
  dnsServer: Target;
  /** Full names, with a dot at the end. */
  serviceName: string;
  headlessName: string;
  /** Requests a second of all probe pods together. */
  totalRate: number;
}

/** One thing to ask, over and over. */
interface Slot {
  kind: ProbeKind;
  path: ProbePath;
  to: string;
  /** Same for the same path to the same pod or Service. */
  key: string;
  /** The node asked; undefined when a Service chooses. */
  node?: string;
  /** UID of the pod asked; undefined when a Service chooses. */
  uid?: string;
  /** @param isTrial true: only to see whether the path is there */
  ask(sequence: number, isTrial: boolean): Promise<Answer | undefined>;
}

const maxCatchUp = 5;
/** For so long at most, the first pod of a node, and a path to a node that is new, may need until it works. */
const warmUpMs = 30_000;

/** So long after the start of one that follows another, the list of the peers that there were may be coming in. */
const listMs = 5_000;

/**
 * kube-proxy from 1.32 on forgets, whenever it writes rules, what a pod's node tracks of UDP to NodePorts of other
 * nodes (CleanStaleEntries in pkg/proxy/conntrack/cleanup.go), and with it the answer that is under way to a
 * masqueraded pod. Such a request has a second try; those from nodes, which nobody masquerades, have none.
 */
const nodePortAgainMs = 1_000;

/** What tells the streams of pods apart, and whether there were probes on this node before. */
export interface SenderIdentity {
  name: string;
  isFirst: boolean;
}

/** Sends requests at a constant rate by every path in turn, and keeps long streams open. */
export class Sender {
  readonly #settings: SenderSettings;
  readonly #peers: Peers;
  readonly #host: StreamHost;
  readonly #udp = new Map<string, UdpAsker>();
  readonly #spoiled = new SpoiledPorts();
  readonly #streams = new Map<string, { stream: ProbeStream; address: string }>();
  /** Nodes that count: those whose paths worked at the beginning, and later ones once every path there has. */
  readonly #known = new Set<string>();
  /** Since when there are paths, by key, to nodes that do not count yet. */
  readonly #new = new Map<string, number>();
  readonly #name: string;
  readonly #startedAtMs: number;
  readonly #listedUntilMs: number;
  /** Paths that worked once; undefined once everything counts. */
  #warm: Set<string> | undefined;
  /** Paths that never worked: a firewall between nodes may allow none to their own ports. */
  #closed = new Set<string>();
  #slots: Slot[] = [];
  #next = 0;
  #trial = 0;
  #underWay = 0;
  #round = 0;
  #stopped = false;
  #dueAtMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(settings: SenderSettings, peers: Peers, host: StreamHost, identity: SenderIdentity) {
    this.#settings = settings;
    this.#peers = peers;
    this.#host = host;
    this.#name = identity.name;
    this.#warm = identity.isFirst ? new Set() : undefined;
    this.#startedAtMs = host.now();
    this.#listedUntilMs = this.#startedAtMs + (identity.isFirst ? 0 : listMs);
    this.#dueAtMs = this.#startedAtMs;
  }

  start(): void {
    this.#timer = setInterval(() => this.#tick(), 5);
  }

  /** False while Services and names of new probes still have to come into being. */
  get isCounting(): boolean {
    return this.#warm === undefined;
  }

  /** Peers have changed: who is asked is worked out anew. */
  refresh(): void {
    if (this.#stopped) return;
    this.#slots = this.#makeSlots().filter(({ key }) => !this.#closed.has(key));
    for (const { key, node } of this.#slots)
      if (node === undefined) continue;
      else if (!this.isCounting || this.#host.now() < this.#listedUntilMs) this.#known.add(node);
      else if (!this.#known.has(node) && !this.#new.has(key)) this.#new.set(key, this.#host.now());
    for (const [key, asker] of this.#udp)
      if (this.#peers.isLeaving(key.split(" ")[1]!)) {
        asker.close();
        this.#udp.delete(key);
      }
    if (this.isCounting) this.#openStreams();
  }

  /** The node with this address goes: what passes through it, to whomever, ends in good order. */
  leaveNode(hostAddress: string | undefined): void {
    for (const { stream, address } of [...this.#streams.values()])
      if (address === hostAddress) stream.end("moved");
    for (const [key, asker] of this.#udp)
      if (key.split(" ")[1] === hostAddress) {
        asker.close();
        this.#udp.delete(key);
      }
  }

  /** Sends nothing more and waits until everything that was sent is judged. */
  async stop(why: "moved" | "stopped"): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const { stream } of [...this.#streams.values()]) stream.end(why);
    while (this.#underWay > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    for (const asker of this.#udp.values()) asker.close();
  }

  #tick(): void {
    const periodMs = (1_000 * this.#peers.total) / this.#settings.totalRate;
    const now = this.#host.now();
    // After a stall of this process the backlog is not sent in one burst.
    this.#dueAtMs = Math.max(this.#dueAtMs, now - maxCatchUp * periodMs);
    while (this.#dueAtMs <= now && this.#slots.length > 0) {
      this.#dueAtMs += periodMs;
      const slot = this.#slots[this.#next++ % this.#slots.length]!;
      void this.#send(slot);
    }
  }

  async #send(slot: Slot): Promise<void> {
    if (this.#warm !== undefined) return await this.#try(slot, this.#warm);
    const newSinceMs = this.#new.get(slot.key);
    if (newSinceMs !== undefined) return await this.#tryNew(slot, newSinceMs);
    const { tally } = this.#host;
    const sent: Sent = tally.sent(slot.kind, slot.path, slot.to);
    this.#underWay++;
    try {
      const answer = await slot.ask(sent.sequence, false);
      tally.answered(sent);
      if (answer?.leaving === true) this.#host.onBye(answer.uid);
    } catch (error) {
      if (slot.uid !== undefined && this.#peers.isLeaving(slot.uid)) tally.leaving(sent);
      else tally.lost(sent, errorMessage(error));
    } finally {
      this.#underWay--;
    }
  }

  /** Asks without counting, until every path has worked once. */
  async #try(slot: Slot, warm: Set<string>): Promise<void> {
    try {
      await slot.ask(++this.#trial, true);
      warm.add(slot.key);
    } catch {
      // The next round tries again.
    }
    const isLate = this.#host.now() - this.#startedAtMs > warmUpMs;
    if (this.#warm === undefined || !(isLate || this.#slots.every(({ key }) => warm.has(key)))) return;
    if (this.#settings.role === "host")
      this.#closed = new Set(this.#slots.flatMap(({ key }) => (warm.has(key) ? [] : [key])));
    this.#warm = undefined;
    this.refresh();
  }

  /** Asks a node that is new, without counting, until it answers on this path. */
  async #tryNew(slot: Slot, sinceMs: number): Promise<void> {
    try {
      await slot.ask(++this.#trial, true);
    } catch {
      if (this.#host.now() - sinceMs < warmUpMs) return;
      if (this.#settings.role === "host") this.#closed.add(slot.key);
    }
    if (
      !this.#new.delete(slot.key) ||
      this.#slots.some((one) => one.node === slot.node && this.#new.has(one.key))
    )
      return;
    this.#known.add(slot.node!);
    this.refresh();
  }

  #makeSlots(): Slot[] {
    const settings = this.#settings;
    const targets = this.#peers.targets();
    const slots: Slot[] = [];
    const inPodNetwork = settings.role === "pod";
    for (const kind of ["http", "udp"] as const) {
      for (const peer of targets) {
        if (inPodNetwork) slots.push(this.#podSlot(kind, peer));
        slots.push({
          ...this.#serviceSlot(kind, "node-port", peer.node, {
            address: peer.hostAddress,
            port: settings.nodePorts[kind],
          }),
          node: peer.node,
        });
      }
      for (const address of settings.clusterIPs)
        slots.push(
          this.#serviceSlot(kind, "cluster-ip", "service", { address, port: settings.servicePorts[kind] }),
        );
      if (inPodNetwork && targets.length > 0) slots.push(this.#headlessSlot(kind));
    }
    if (!inPodNetwork) return slots;
    slots.push(this.#dnsSlot("cluster-ip", settings.serviceName));
    if (targets.length > 0) slots.push(this.#dnsSlot("headless", settings.headlessName));
    return slots;
  }

  #podSlot(kind: "http" | "udp", peer: Peer): Slot {
    const port = this.#settings.podPorts[kind];
    const ask = (sequence: number, isTrial: boolean) => {
      const address = peer.addresses[sequence % peer.addresses.length]!;
      return this.#ask({ kind, use: `pod ${peer.uid}`, target: { address, port } }, sequence, isTrial);
    };
    return {
      key: `${kind} ${peer.uid}`,
      kind,
      path: "pod",
      to: peer.node,
      node: peer.node,
      uid: peer.uid,
      ask,
    };
  }

  #serviceSlot(kind: "http" | "udp", path: ProbePath, to: string, target: Target): Slot {
    const key = `${kind} ${path} ${target.address}`;
    const ask = (sequence: number, isTrial: boolean) =>
      this.#ask({ kind, use: path, target }, sequence, isTrial);
    return { key, kind, path, to, ask };
  }

  /** Asks for the name first. What a cached answer still names after it has gone is not asked. */
  #headlessSlot(kind: "http" | "udp"): Slot {
    const port = this.#settings.podPorts[kind];
    const ask = async (sequence: number, isTrial: boolean) => {
      const addresses = await this.#resolve(this.#settings.headlessName);
      const live = addresses.filter((address) => this.#peers.isTarget(address) !== undefined);
      const address = live[sequence % Math.max(1, live.length)];
      if (address === undefined) return undefined;
      const uid = this.#peers.isTarget(address)!.uid;
      try {
        const target = { address, port };
        return await this.#ask({ kind, use: `headless ${uid}`, target }, sequence, isTrial);
      } catch (error) {
        if (this.#peers.isLeaving(uid)) return undefined;
        throw error;
      }
    };
    return { key: `${kind} headless`, kind, path: "headless", to: "service", ask };
  }

  #dnsSlot(path: ProbePath, name: string): Slot {
    const ask = async () => {
      await this.#resolve(name);
      return undefined;
    };
    return { key: `dns ${path}`, kind: "dns", path, to: "service", ask };
  }

  #resolve(name: string): Promise<string[]> {
    const isIpv6 = this.#settings.clusterIPs[0]?.includes(":") === true;
    return askDns(this.#settings.dnsServer, name, isIpv6 ? "AAAA" : "A");
  }

  async #ask(
    { kind, use, target }: { kind: "http" | "udp"; use: string; target: Target },
    sequence: number,
    isTrial: boolean,
  ): Promise<Answer> {
    if (kind === "http") return await askHttp(target, this.#spoiled, isTrial);
    const key = `${use} ${target.address} ${target.port}`;
    const name = `${this.#name}-${isTrial ? "trial-" : ""}${sequence}`;
    let asker = this.#udp.get(key);
    if (asker === undefined) {
      const isMasqueraded = use === "node-port" && this.#settings.role === "pod";
      asker = new UdpAsker(target, isMasqueraded ? nodePortAgainMs : undefined);
      this.#udp.set(key, asker);
    }
    return await asker.ask(name);
  }

  /** Long streams of a pod: to two peers directly, and by ClusterIP, NodePort and headless name. */
  #openStreams(): void {
    const { role, podPorts, nodePorts } = this.#settings;
    if (role === "host") {
      this.#openHostStreams();
      return;
    }
    const targets = this.#peers.targets().filter(({ node }) => this.#known.has(node));
    const [first, second] = targets;
    if (first === undefined) return;
    const last = targets.at(-1)!;
    const pod = (peer: Peer): Target => ({ address: peer.addresses[0]!, port: podPorts.stream });
    this.#open("pod", first.node, pod(first), "pod-1");
    if (second !== undefined) this.#open("pod", second.node, pod(second), "pod-2");
    this.#open("headless", last.node, pod(last), "headless");
    this.#openToService("cluster-ip");
    this.#open("node-port", first.node, { address: first.hostAddress, port: nodePorts.stream }, "node-port");
  }

  /**
   * Long streams of a node's own: two by ClusterIP, and three by the NodePorts of others. No end of them is moved
   * when a node is, so they have to stand to the end.
   */
  #openHostStreams(): void {
    this.#openToService("cluster-ip-1");
    this.#openToService("cluster-ip-2");
    const targets = this.#peers.targets().filter(({ node }) => this.#known.has(node));
    if (targets.length === 0) return;
    const port = this.#settings.nodePorts.stream;
    for (const index of [0, 1, 2]) {
      const { node, hostAddress: address } = targets[index % targets.length]!;
      if (!this.#closed.has(`http node-port ${address}`))
        this.#open("node-port", node, { address, port }, `node-port-${index + 1}`);
    }
  }

  #openToService(name: string): void {
    const address = this.#settings.clusterIPs[0];
    if (address === undefined || this.#closed.has(`http cluster-ip ${address}`)) return;
    this.#open("cluster-ip", "service", { address, port: this.#settings.servicePorts.stream }, name);
  }

  #open(path: ProbePath, to: string, target: Target, name: string): void {
    if (this.#streams.has(name)) return;
    const id = `${this.#name}-${name}-${++this.#round}`;
    const reopen = (): void => {
      this.#streams.delete(name);
      setTimeout(() => this.refresh(), 1_000).unref();
    };
    const stream = new ProbeStream(id, path, to, target, this.#host, reopen);
    this.#streams.set(name, { stream, address: target.address });
  }
}
