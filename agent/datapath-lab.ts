// SPDX-License-Identifier: Apache-2.0
// Two nodes, three pods and an outside host in network namespaces, joined by the real programs: the ground for
// real-packet tests and benchmarks. Everything lies in namespaces, a cgroup and a bpffs of its own.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { addressBytes, hostPrefix, parseCidr } from "../lib/addresses.ts";
import { run } from "../lib/run.ts";
import * as layout from "./datapath-layout.ts";
import {
  attachCgroup,
  attachTc,
  attachXdp,
  type BpfObject,
  deviceIndex,
  inNetns,
  loadObject,
  netnsCookie,
} from "./libbpf.ts";

const objects = path.join(import.meta.dirname, "../build/bpf");
const driverObject = path.join(objects, "xdp.bpf.o");
const tunnelPort = 8473;

export interface LabOptions {
  /** Prefix of the namespaces, at most eight characters. */
  name: string;
  /** How pods of the two nodes reach each other. */
  routing: "vxlan" | "direct";
  /** Join the nodes by a plain veth pair, without the switch and the outside host on it. */
  noOutside?: boolean;
  /** Services also in the driver of node 1's uplink. */
  accelerated?: boolean;
}

interface LabNode {
  netns: string;
  number: 1 | 2;
  objects: BpfObject[];
}

/** What the two nodes, pods and the outside host are called and where they are. */
export class DatapathLab {
  readonly name: string;
  readonly #folder: string;
  readonly #cgroup: string;
  readonly #nodes: LabNode[] = [];

  constructor(name: string) {
    this.name = name;
    this.#folder = fs.mkdtempSync(path.join(os.tmpdir(), `${name}-`));
    this.#cgroup = `${cgroupRoot()}/${name}-${process.pid}`;
  }

  /** Path of a network namespace: `n1`, `n2`, `n1p1`, `n1p2`, `n2p1`, `ext`. */
  netns(part: string): string {
    return `/run/netns/${this.name}${part}`;
  }

  /** A command line that runs in a namespace, and in the cgroup whose sockets node 1's programs translate. */
  command(part: string, words: readonly string[]): [file: string, args: string[]] {
    const script = `echo $$ > ${this.#cgroup}/cgroup.procs && exec nsenter --net=${this.netns(part)} "$@"`;
    return ["sh", ["-c", script, "sh", ...words]];
  }

  /** A map of a node, by its name in agent/datapath-layout.ts. */
  map(node: 1 | 2, name: string) {
    return this.#nodes[node - 1]!.objects[0]!.map(name);
  }

  /** Publishes a service in node 1's and node 2's maps (each with its own local backends first). */
  addService(service: {
    id: number;
    address: string;
    port: number;
    protocol: number;
    backends: string[];
    flags?: number;
  }): void {
    for (const node of this.#nodes) {
      const isLocal = (address: string) => address.includes(node.number === 1 ? "244.1." : "244.2.");
      const sorted = service.backends.toSorted((a, b) => Number(isLocal(b)) - Number(isLocal(a)));
      for (const [slot, address] of sorted.entries())
        this.map(node.number, layout.maps.backends).set(
          layout.backendKey.encode({ serviceId: service.id, generation: 1, slot }),
          layout.backend.encode({ address: addressBytes(address), port: 8080, id: service.id * 100 + slot }),
        );
      this.map(node.number, layout.maps.services).set(
        layout.serviceKey.encode({ ...service, address: addressBytes(service.address) }),
        layout.service.encode({
          id: service.id,
          generation: 1,
          backendCount: sorted.length,
          localCount: 0,
          flags: service.flags ?? 0,
        }),
      );
    }
  }

  /** Builds everything; on failure `close` still cleans up. */
  async open(options: LabOptions): Promise<void> {
    fs.mkdirSync(this.#cgroup);
    await run("mount", ["-t", "bpf", "bpf", this.#folder]);
    for (const part of ["ext", "n1", "n2", "n1p1", "n1p2", "n2p1"])
      await run("ip", ["netns", "add", `${this.name}${part}`]);
    await this.#ip("ext", options.noOutside === true ? wireCommands(this.name) : outsideCommands(this.name));
    for (const number of [1, 2] as const) await this.#openNode(number, options);
    this.#attachSockets();
  }

  async #openNode(number: 1 | 2, options: LabOptions): Promise<void> {
    const part = `n${number}`;
    await this.#sysctl(part, ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    await this.#ip(part, nodeCommands(number, options.routing));
    const node: LabNode = { netns: this.netns(part), number, objects: [] };
    this.#nodes.push(node);
    const index = (device: string) => inNetns(node.netns, () => deviceIndex(device));
    const config = nodeConfig(node, options.routing, index("shunt_vxlan"), index("eth0"));
    const pinFolder = path.join(this.#folder, part);
    for (const name of ["pod", "overlay", "netdev", "socket"])
      node.objects.push(loadObject(path.join(objects, `${name}.bpf.o`), { config, pinFolder }));
    fillMaps(node, options.routing);
    this.#attach(node, "overlay", "shunt_vxlan", index("shunt_vxlan"));
    this.#attach(node, "netdev", "eth0", index("eth0"));
    if (number === 1 && options.accelerated === true) {
      this.#attachDriver(node, part, "eth0", loadObject(driverObject, { config, pinFolder }));
      // A veth device takes frames of its peer's driver only when it has a program too: this one knows no flow.
      this.#attachDriver(node, "ext", "port1", loadObject(driverObject, { config }));
    }
    for (const pod of number === 1 ? [1, 2] : [1])
      await this.#openPod(node, pod, options.routing === "vxlan" ? 1450 : 1500);
  }

  async #openPod(node: LabNode, pod: number, mtu: number): Promise<void> {
    const { number } = node;
    const device = `shv${pod}`;
    const addresses = podAddresses(number, pod);
    await this.#ip(`n${number}`, [
      `link add ${device} mtu ${mtu} type veth peer name eth0 mtu ${mtu} address ${podMac(pod)} netns ${this.name}n${number}p${pod}`,
      `link set ${device} address ${hostMac} up`,
      ...addresses.map((address) => `route add ${address} dev ${device}`),
      ...addresses.map((address) => `neigh replace ${address} lladdr ${podMac(pod)} dev ${device}`),
    ]);
    const gateways = gatewayAddresses(number);
    await this.#ip(`n${number}p${pod}`, [
      "link set lo up",
      "link set eth0 up",
      ...addresses.map(
        (address) => `address add ${address} dev eth0${address.includes(":") ? " nodad" : ""}`,
      ),
      ...gateways.map((gateway) => `neigh replace ${gateway} lladdr ${hostMac} dev eth0`),
      ...gateways.map((gateway) => `route add ${gateway} dev eth0`),
      ...gateways.map((gateway) => `route add default via ${gateway} dev eth0`),
    ]);
    const ifindex = inNetns(node.netns, () => deviceIndex(device));
    const value = layout.endpoint.encode({ ifindex, mac: macBytes(podMac(pod)), hostMac: macBytes(hostMac) });
    for (const address of addresses)
      node.objects[0]!.map(layout.maps.endpoints).set(addressBytes(address), value);
    this.#attach(node, "pod", device, ifindex);
  }

  #attach(node: LabNode, kind: "pod" | "overlay" | "netdev", device: string, ifindex: number): void {
    const object = node.objects[["pod", "overlay", "netdev"].indexOf(kind)]!;
    for (const [direction, prefix] of [
      ["ingress", "from"],
      ["egress", "to"],
    ] as const)
      inNetns(node.netns, () =>
        attachTc({
          ifindex,
          direction,
          programFd: object.programFd(`${prefix}_${kind}`),
          pinPath: path.join(this.#folder, `links-n${node.number}`, `${device}-${direction}`),
        }),
      );
  }

  #attachDriver(node: LabNode, part: string, device: string, driver: BpfObject): void {
    node.objects.push(driver);
    const pinPath = path.join(this.#folder, `links-${part}`, "xdp");
    inNetns(this.netns(part), () =>
      attachXdp({ ifindex: deviceIndex(device), programFd: driver.programFd("from_wire"), pinPath }),
    );
  }

  #attachSockets(): void {
    const object = this.#nodes[0]!.objects[3]!;
    for (const place of layout.programs)
      if (place.on === "cgroup")
        attachCgroup({
          cgroupPath: this.#cgroup,
          hook: place.hook as layout.CgroupHook,
          programFd: object.programFd(place.program),
          pinPath: path.join(this.#folder, "links-cgroup", place.program),
        });
  }

  /** Takes everything down again. Processes started inside must have ended. */
  async close(): Promise<void> {
    for (const node of this.#nodes) for (const object of node.objects) object.close();
    for (const part of ["n1p1", "n1p2", "n2p1", "n1", "n2", "ext"])
      await run("ip", ["netns", "delete", `${this.name}${part}`], { allowFailure: true });
    await run("umount", [this.#folder], { allowFailure: true });
    fs.rmdirSync(this.#folder);
    fs.rmdirSync(this.#cgroup);
  }

  async #ip(part: string, commands: readonly string[]): Promise<void> {
    await run("ip", ["-n", `${this.name}${part}`, "-batch", "-"], { input: `${commands.join("\n")}\n` });
  }

  async #sysctl(part: string, settings: readonly string[]): Promise<void> {
    await run("ip", ["netns", "exec", `${this.name}${part}`, "sysctl", "-qw", ...settings]);
  }
}

/** The cgroup version 2 hierarchy of this machine. */
export function cgroupRoot(): string {
  const unified = "/sys/fs/cgroup/unified";
  return fs.existsSync(unified) ? unified : "/sys/fs/cgroup";
}

const hostMac = "02:00:00:00:00:01";
const podMac = (pod: number) => `02:00:00:00:01:0${pod}`;
const macBytes = (mac: string) => Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));
const podAddresses = (node: number, pod: number) => [`10.244.${node}.1${pod}`, `fd10:244:0:${node}::1${pod}`];
const gatewayAddresses = (node: number) => [`10.244.${node}.1`, `fd10:244:0:${node}::1`];
const nodeAddresses = (node: number) => [`172.31.0.${node + 1}`, `fd31::${node + 1}`];
const podCidrs = (node: number) => [`10.244.${node}.0/24`, `fd10:244:0:${node}::/64`];

function outsideCommands(name: string): string[] {
  const ports = [1, 2].flatMap((node) => [
    `link add port${node} type veth peer name eth0 netns ${name}n${node}`,
    `link set port${node} master switch0 up`,
  ]);
  const addresses = ["address add 172.31.0.1/24 dev switch0", "address add fd31::1/64 dev switch0 nodad"];
  return ["link set lo up", "link add switch0 type bridge", ...ports, "link set switch0 up", ...addresses];
}

function wireCommands(name: string): string[] {
  return [`link add eth0 netns ${name}n1 type veth peer name eth0 netns ${name}n2`];
}

function nodeCommands(node: 1 | 2, routing: "vxlan" | "direct"): string[] {
  const other = node === 1 ? 2 : 1;
  const [address4, address6] = nodeAddresses(node);
  const remote = podCidrs(other).map((cidr, family) =>
    routing === "vxlan"
      ? `route add ${cidr} dev shunt_vxlan src ${gatewayAddresses(node)[family]}`
      : `route add ${cidr} via ${nodeAddresses(other)[family]} dev eth0`,
  );
  return [
    "link set lo up",
    "link set eth0 up",
    `address add ${address4}/24 dev eth0`,
    `address add ${address6}/64 dev eth0 nodad`,
    `link add shunt_vxlan mtu 1450 type vxlan external dstport ${tunnelPort}`,
    "link set shunt_vxlan arp off up",
    `address add ${gatewayAddresses(node)[0]}/32 dev shunt_vxlan`,
    `address add ${gatewayAddresses(node)[1]}/128 dev shunt_vxlan nodad`,
    "route add default via 172.31.0.1",
    "route add default via fd31::1 dev eth0",
    ...remote,
  ];
}

function nodeConfig(
  node: LabNode,
  routing: "vxlan" | "direct",
  tunnelIfindex: number,
  uplinkIfindex: number,
): Uint8Array {
  const { CONFIG_TUNNEL, CONFIG_MASQUERADE, CONFIG_SET_RETVAL, CONFIG_NODE_PORTS } = layout.configFlags;
  const [node4, node6] = nodeAddresses(node.number).map(addressBytes);
  const [gateway4, gateway6] = gatewayAddresses(node.number).map(addressBytes);
  return layout.config.encode({
    nodeAddress4: node4,
    nodeAddress6: node6,
    gateway4,
    gateway6,
    hostNetnsCookie: inNetns(node.netns, () => netnsCookie()),
    flags:
      CONFIG_MASQUERADE | CONFIG_SET_RETVAL | CONFIG_NODE_PORTS | (routing === "vxlan" ? CONFIG_TUNNEL : 0),
    tunnelIfindex,
    tunnelMtu: 1450,
    uplinkIfindex,
    uplinkMtu: 1500,
    tunnelPort,
    nodePortMin: 30000,
    nodePortMax: 32767,
    masqueradePortMin: 61000,
    masqueradePortMax: 65535,
  });
}

function fillMaps(node: LabNode, routing: "vxlan" | "direct"): void {
  const { IPCACHE_TUNNEL, IPCACHE_IN_CLUSTER, IPCACHE_NODE, IPCACHE_NEXT_HOP } = layout.ipcacheFlags;
  const { ENDPOINT_HOST, ENDPOINT_NODE_PORTS } = layout.endpointFlags;
  const other = node.number === 1 ? 2 : 1;
  const object = node.objects[0]!;
  for (const address of [...nodeAddresses(node.number), ...gatewayAddresses(node.number)])
    object
      .map(layout.maps.endpoints)
      .set(addressBytes(address), layout.endpoint.encode({ flags: ENDPOINT_HOST | ENDPOINT_NODE_PORTS }));
  const podFlags = IPCACHE_IN_CLUSTER | (routing === "vxlan" ? IPCACHE_TUNNEL : IPCACHE_NEXT_HOP);
  const write = (cidr: string, flags: number, tunnelEndpoint?: Uint8Array) =>
    object
      .map(layout.maps.ipcache)
      .set(layout.ipcachePrefix(parseCidr(cidr)), layout.ipcacheEntry.encode({ tunnelEndpoint, flags }));
  // Routed pods talk to nodes under their own address; behind a tunnel they are masqueraded.
  const nodeFlags = IPCACHE_NODE | (routing === "vxlan" ? 0 : IPCACHE_IN_CLUSTER);
  for (const [family, cidr] of podCidrs(other).entries())
    write(cidr, podFlags, addressBytes(nodeAddresses(other)[routing === "vxlan" ? 0 : family]!));
  for (const number of [node.number, other])
    for (const address of nodeAddresses(number)) write(hostPrefix(address), nodeFlags);
}

/** A lab whose nodes are joined by a plain wire, for benchmarks. */
export async function openLab(options: LabOptions): Promise<DatapathLab> {
  const lab = new DatapathLab(options.name);
  try {
    await lab.open({ noOutside: true, ...options });
    return lab;
  } catch (error) {
    await lab.close();
    throw error;
  }
}
