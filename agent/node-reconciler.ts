// SPDX-License-Identifier: Apache-2.0
import { addressBytes, type Cidr, cidrContains, parseCidr } from "../lib/addresses.ts";
import { errorMessage, ShuntError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { AgentConfig, Modes } from "./config.ts";
import type { Datapath, DatapathConfig } from "./datapath.ts";
import { configFlags } from "./datapath-layout.ts";
import type { EndpointManager } from "./endpoint-manager.ts";
import { pruneEndpoints, publishOwnAddresses } from "./endpoint-map.ts";
import { ipJson } from "./ip-command.ts";
import type { Ipcache } from "./ipcache.ts";
import { netnsCookie } from "./libbpf.ts";
import { routesServices } from "./node-mode.ts";
import { gatewayOf, ipcacheEntries, masqueradePorts, type NodeFacts, underlayAddress } from "./node-model.ts";
import {
  ensureGateways,
  ensureOverlay,
  ensureRoutes,
  type Preference,
  type WantedRoute,
} from "./node-network.ts";
import { type CarryingDevice, readOtherNetwork } from "./other-network.ts";
import { overlayDevice } from "./paths.ts";
import { reservedIdentities } from "./policy/entities.ts";
import { ensureSysctls, ephemeralPorts } from "./sysctl.ts";
import { findUplinks, isNeighbour, linkLocalAddresses, ownAddresses, podMtu, type Uplink } from "./uplink.ts";

/** What the last reconciliation found, for the status. */
export interface NodeNetworkReport {
  uplinks: Uplink[];
  mtu: number;
  gateways: string[];
  addresses: string[];
  /** What is not as it should be although the rest works. */
  problems: string[];
}

/** Keeps devices, routes, kernel settings, programs and node maps of this node as the cluster wants them. */
export class NodeReconciler {
  readonly #config: AgentConfig;
  readonly #datapath: Datapath;
  readonly #endpoints: EndpointManager;
  readonly #ipcache: Ipcache;
  readonly #log: Logger;
  readonly #nodePortPrefixes: Cidr[];
  readonly #beforeTakeover: (modes: Modes) => Promise<void>;
  #reconciledOnce = false;
  /** Programs were loaded, and not everything runs them yet. */
  #mustAttach = false;
  #canSetRetval = true;
  report: NodeNetworkReport | undefined;

  constructor(options: {
    config: AgentConfig;
    datapath: Datapath;
    endpoints: EndpointManager;
    ipcache: Ipcache;
    log: Logger;
    /** Fills what the programs look into besides, where those of an agent with another layout still run. */
    beforeTakeover: (modes: Modes) => Promise<void>;
  }) {
    this.#config = options.config;
    this.#beforeTakeover = options.beforeTakeover;
    this.#datapath = options.datapath;
    this.#endpoints = options.endpoints;
    this.#ipcache = options.ipcache;
    this.#log = options.log;
    this.#nodePortPrefixes = options.config.nodePortAddresses
      .filter((text) => text !== "primary")
      .map(parseCidr);
  }

  /** Whether node ports answer on this address of a node. */
  #hasNodePorts(node: NodeFacts, address: string): boolean {
    const { nodePortAddresses } = this.#config;
    if (nodePortAddresses.length === 0) return true;
    if (nodePortAddresses.includes("primary") && Object.values(node.addresses).includes(address)) return true;
    const bytes = addressBytes(address);
    return this.#nodePortPrefixes.some((prefix) => cidrContains(prefix, bytes));
  }

  /** True once pods can get interfaces. */
  get ready(): boolean {
    return this.#reconciledOnce;
  }

  /** Names of the other nodes whose pods are ours, as far as routes lead there. */
  activePeers: readonly string[] = [];

  /** Brings everything in place. Safe to call again; throws at the first thing without which pods cannot work. */
  async reconcile(
    own: NodeFacts,
    others: readonly NodeFacts[],
    modes: Modes,
    isActive: (node: string) => boolean,
  ): Promise<void> {
    const { routing } = this.#config;
    if (own.podCIDRs.length === 0)
      throw new ShuntError(`Node ${own.name} has no pod CIDR (spec.podCIDRs)`, {
        code: "NotReady",
        remedy: "Start kube-controller-manager with --allocate-node-cidrs and --cluster-cidr.",
      });
    const uplinks = await findUplinks(own);
    const underlay = own.addresses.ipv4 !== undefined ? "ipv4" : "ipv6";
    const mtu = podMtu(uplinks, { configured: this.#config.mtu, routing, underlay });
    const gateways = own.podCIDRs.map(gatewayOf);
    let tunnelIfindex = 0;
    if (routing === "vxlan")
      tunnelIfindex = await ensureOverlay({ port: this.#config.tunnelPort, mtu, nodeName: own.name });
    await ensureGateways(routing === "vxlan" ? overlayDevice : "lo", gateways);
    const problems = ensureSysctls({
      six: own.podCIDRs.some((cidr) => cidr.family === "ipv6"),
      overlay: routing === "vxlan",
      log: this.#log,
    });
    const [uplink] = uplinks as [Uplink, ...Uplink[]];
    const devices = { tunnelIfindex, tunnelMtu: mtu, uplinkIfindex: uplink.ifindex, uplinkMtu: uplink.mtu };
    if (this.#load(own, gateways, devices, modes)) this.#mustAttach = true;
    const carried = await readOtherNetwork(others.flatMap(({ podCIDRs }) => podCIDRs));
    const present = ownAddresses();
    const addresses = new Set([...present, ...gateways, ...Object.values(own.addresses)]);
    const ofLinks = linkLocalAddresses(uplinks);
    const hasMoved = (other: NodeFacts) => modes.podNetwork === "active" && isActive(other.name);
    this.#writeNodeMaps(own, others, {
      addresses,
      uplink,
      // Between nodes that have moved, our overlay; else the other network, whose programs at both ends see all of
      // a connection's packets that way.
      isBeside: (other, cidr) => !hasMoved(other) && carried.get(cidr.text)?.ethernet === true,
    });
    if (this.#datapath.hasOlder) {
      await this.#endpoints.publish();
      await this.#beforeTakeover(modes);
      if (this.#mustAttach) this.#datapath.takeOverFlows();
    }
    if (this.#mustAttach || routing === "vxlan") this.#attachOverlay(tunnelIfindex);
    publishOwnAddresses(this.#datapath.map("sh_endpoints"), ofLinks, () => false);
    await this.#attachUplinks(uplinks, carried, modes);
    problems.push(...this.#accelerate(uplinks, modes));
    const routes = this.#routes(own, others, uplink, (other, cidr) => {
      const device = isActive(other.name) ? carried.get(cidr.text) : undefined;
      return device === undefined ? undefined : device.ethernet ? "node" : "all";
    });
    const uplinkAddresses = uplinks.flatMap(({ addresses: own }) => own);
    const routeErrors = await ensureRoutes(routes, gateways, uplinkAddresses);
    this.activePeers = others.map(({ name }) => name).filter(isActive);
    if (routeErrors !== "") problems.push(`routes: ${routeErrors.trim()}`);
    this.#endpoints.configure(
      own.podCIDRs.map((cidr) => cidr.text),
      mtu,
      present.has(own.addresses.ipv6 ?? "") ? own.addresses.ipv6 : undefined,
    );
    if (this.#mustAttach) await this.#endpoints.reconcile();
    this.#mustAttach = false;
    const kept = new Set([...addresses, ...ofLinks]);
    pruneEndpoints(this.#datapath.map("sh_endpoints"), this.#endpoints.list(), kept);
    this.#reconciledOnce = true;
    this.report = { uplinks, mtu, gateways, addresses: [...addresses], problems };
  }

  #load(
    own: NodeFacts,
    gateways: readonly string[],
    devices: Pick<DatapathConfig, "tunnelIfindex" | "tunnelMtu" | "uplinkIfindex" | "uplinkMtu">,
    modes: Modes,
  ): boolean {
    const config = this.#config;
    const bytesOf = (address: string | undefined) =>
      address === undefined ? new Uint8Array(16) : addressBytes(address);
    const {
      CONFIG_DSR_TCP,
      CONFIG_DSR_UDP,
      CONFIG_HANDOVER,
      CONFIG_MASQUERADE,
      CONFIG_NODE_PORTS,
      CONFIG_POLICY,
      CONFIG_POD_SERVICES,
      CONFIG_SET_RETVAL,
      CONFIG_TUNNEL,
    } = configFlags;
    const flags =
      (config.routing === "vxlan" ? CONFIG_TUNNEL : 0) |
      (config.masquerade ? CONFIG_MASQUERADE : 0) |
      (routesServices(modes) ? CONFIG_NODE_PORTS : 0) |
      (routesServices(modes) && modes.podNetwork === "active" ? CONFIG_POD_SERVICES : 0) |
      (config.forwarding !== "snat" ? CONFIG_DSR_TCP : 0) |
      (config.forwarding === "dsr" ? CONFIG_DSR_UDP : 0) |
      (modes.services === "handover" ? CONFIG_HANDOVER : 0) |
      (modes.policy !== "off" ? CONFIG_POLICY : 0);
    const ports = masqueradePorts([
      ephemeralPorts(),
      [config.nodePortMin, config.nodePortMax],
      ...(config.routing === "vxlan" ? [[config.tunnelPort, config.tunnelPort] as const] : []),
    ]);
    const wanted: DatapathConfig = {
      nodeAddress4: bytesOf(own.addresses.ipv4),
      nodeAddress6: bytesOf(own.addresses.ipv6),
      gateway4: bytesOf(gateways.find((address) => !address.includes(":"))),
      gateway6: bytesOf(gateways.find((address) => address.includes(":"))),
      hostNetnsCookie: netnsCookie(),
      localIdentityHost: reservedIdentities.host,
      ...devices,
      tunnelPort: config.tunnelPort,
      nodePortMin: config.nodePortMin,
      nodePortMax: config.nodePortMax,
      masqueradePortMin: ports.min,
      masqueradePortMax: ports.max,
    };
    if (this.#canSetRetval)
      try {
        return this.#datapath.load({ ...wanted, flags: flags | CONFIG_SET_RETVAL });
      } catch (error) {
        // Kernels before 5.18 refuse the helper: tried once, then without.
        this.#log.debug("loading without bpf_set_retval", { error: errorMessage(error) });
      }
    const isNew = this.#datapath.load({ ...wanted, flags });
    this.#canSetRetval = false;
    return isNew;
  }

  #attachOverlay(tunnelIfindex: number): void {
    if (tunnelIfindex !== 0) this.#datapath.attachDevice("vxlan", overlayDevice, tunnelIfindex);
  }

  /** The programs of uplinks also run where another pod network brings packets from other nodes. */
  async #attachUplinks(
    uplinks: readonly Uplink[],
    carried: ReadonlyMap<string, CarryingDevice>,
    modes: Modes,
  ): Promise<void> {
    const hasPods = this.#endpoints.list().length > 0;
    const isWanted = modes.podNetwork === "active" || routesServices(modes) || hasPods;
    const ethernet = [...carried.values()].filter(
      (device) => device.ethernet && device.name !== overlayDevice,
    );
    // Clients come in by the uplinks: those are last, so that whatever answers them is translated back.
    const wanted = new Map<string, number>(
      isWanted ? [...ethernet, ...uplinks].map(({ name, ifindex }) => [name, ifindex]) : [],
    );
    for (const direction of ["egress", "ingress"] as const)
      for (const [name, ifindex] of wanted) this.#datapath.attachDevice("uplink", name, ifindex, direction);
    const late = this.#datapath.pinnedDevices().filter((name) => name !== overlayDevice && !wanted.has(name));
    if (late.length === 0) return;
    const present = new Map((await ipJson(["link", "show"])).map(({ ifname, ifindex }) => [ifname, ifindex]));
    for (const name of late) {
      const ifindex = present.get(name);
      if (ifindex === undefined) this.#datapath.forgetDevice(name);
      else this.#datapath.detachDevice(name, ifindex);
    }
  }

  /** Services from outside also in the uplinks' drivers, when that is wanted; returns what then is not as it should be. */
  #accelerate(uplinks: readonly Uplink[], modes: Modes): string[] {
    const { acceleration } = this.#config;
    // While connections are handed over, netfilter must see all packets.
    const isWanted = acceleration !== "disabled" && modes.services === "on";
    const failures: string[] = [];
    const devices: string[] = [];
    for (const { name, ifindex, kind } of isWanted ? uplinks : [])
      try {
        if (kind === "veth") throw new Error("the other end of a veth pair takes no packets of its driver");
        this.#datapath.attachDriver(name, ifindex);
        devices.push(name);
      } catch (error) {
        failures.push(`services are not accelerated on ${name}: ${errorMessage(error)}`);
      }
    this.#datapath.keepDrivers(devices);
    if (acceleration === "native") return failures;
    for (const failure of failures) this.#log.debug(failure, {});
    return [];
  }

  #writeNodeMaps(
    own: NodeFacts,
    others: readonly NodeFacts[],
    seen: {
      addresses: ReadonlySet<string>;
      uplink: Uplink;
      isBeside: (other: NodeFacts, cidr: Cidr) => boolean;
    },
  ): void {
    publishOwnAddresses(this.#datapath.map("sh_endpoints"), seen.addresses, (address) =>
      this.#hasNodePorts(own, address),
    );
    const entries = ipcacheEntries(own, others, {
      routing: this.#config.routing,
      clusterPodCIDRs: this.#config.clusterPodCIDRs,
      ownAddresses: seen.addresses,
      isNeighbour: (address) => isNeighbour(seen.uplink, address),
      isBeside: seen.isBeside,
      hasNodePorts: (node, address) => this.#hasNodePorts(node, address),
    });
    this.#ipcache.setNodes(entries);
  }

  #routes(
    own: NodeFacts,
    others: readonly NodeFacts[],
    uplink: Uplink,
    preference: (other: NodeFacts, cidr: Cidr) => Preference | undefined,
  ): WantedRoute[] {
    const direct = this.#config.routing === "direct";
    const routes: WantedRoute[] = own.podCIDRs.map((cidr) => ({ cidr, device: "lo", unreachable: true }));
    for (const other of others) {
      if (underlayAddress(own, other) === undefined) continue;
      for (const cidr of other.podCIDRs) {
        const via = other.addresses[cidr.family];
        if (!direct) {
          const preferred = preference(other, cidr);
          routes.push({ cidr, device: overlayDevice });
          if (preferred !== undefined) routes.push({ cidr, device: overlayDevice, preferred });
        }
        // Behind a router, the network itself must know where the pods are.
        else if (via !== undefined && isNeighbour(uplink, via))
          routes.push({ cidr, via, device: uplink.name });
      }
    }
    return routes;
  }
}
