// SPDX-License-Identifier: Apache-2.0
// What the datapath is compared with, built in namespaces: a bare veth pair, a bridge with routes, Flannel's VXLAN.
import { run } from "../../lib/run.ts";

/** A path to measure: two ends in network namespaces, and the address to connect to. */
export interface MeasuredPath {
  client: string;
  server: string;
  address: string;
}

/** What `iptables-save` shows of a node whose pods' traffic to the world is masqueraded. */
const masquerade = {
  /** By the CNI plugin `bridge` with `ipMasq`. */
  bridge: (node: number) => [
    "*nat",
    ":CNI-pod - [0:0]",
    `-A POSTROUTING -s 10.9.${node}.2/32 -j CNI-pod`,
    `-A CNI-pod -d 10.9.${node}.0/24 -j ACCEPT`,
    "-A CNI-pod ! -d 224.0.0.0/4 -j MASQUERADE",
    "COMMIT",
  ],
  /** By flanneld with `--ip-masq`, as its manifest starts it. */
  flannel: (node: number) => [
    "*nat",
    ":FLANNEL-POSTRTG - [0:0]",
    "-A POSTROUTING -j FLANNEL-POSTRTG",
    "-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN",
    `-A FLANNEL-POSTRTG -s 10.9.${node}.0/24 -d 10.9.0.0/16 -j RETURN`,
    `-A FLANNEL-POSTRTG -s 10.9.0.0/16 -d 10.9.${node}.0/24 -j RETURN`,
    `-A FLANNEL-POSTRTG ! -s 10.9.0.0/16 -d 10.9.${node}.0/24 -j RETURN`,
    "-A FLANNEL-POSTRTG -s 10.9.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
    "-A FLANNEL-POSTRTG ! -s 10.9.0.0/16 -d 10.9.0.0/16 -j MASQUERADE --random-fully",
    "COMMIT",
    "*filter",
    ":FLANNEL-FWD - [0:0]",
    "-A FORWARD -j FLANNEL-FWD",
    "-A FLANNEL-FWD -s 10.9.0.0/16 -j ACCEPT",
    "-A FLANNEL-FWD -d 10.9.0.0/16 -j ACCEPT",
    "COMMIT",
  ],
};

type BridgeKind = "plain" | "masquerade" | "vxlan" | "flannel";
const parts: Record<BridgeKind, readonly [string, string]> = {
  plain: ["r1", "r2"],
  masquerade: ["m1", "m2"],
  vxlan: ["v1", "v2"],
  flannel: ["x1", "x2"],
};

/** Namespaces and links made by these benches; `close` removes them all. */
export class Baselines {
  readonly #prefix: string;
  readonly #made: string[] = [];

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  #netns(part: string): string {
    return `/run/netns/${this.#prefix}${part}`;
  }

  async #add(part: string): Promise<void> {
    await run("ip", ["netns", "add", `${this.#prefix}${part}`]);
    this.#made.push(`${this.#prefix}${part}`);
    await run("ip", ["netns", "exec", `${this.#prefix}${part}`, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    await this.#ip(part, ["link set lo up"]);
  }

  async #ip(part: string, commands: readonly string[]): Promise<void> {
    await run("ip", ["-n", `${this.#prefix}${part}`, "-batch", "-"], { input: `${commands.join("\n")}\n` });
  }

  /** Two namespaces joined by one veth pair: the most that the kernel gives. */
  async veth(): Promise<MeasuredPath> {
    for (const part of ["va", "vb"]) await this.#add(part);
    await this.#ip("va", [
      `link add eth0 type veth peer name eth0 netns ${this.#prefix}vb`,
      "link set eth0 up",
      "address add 10.9.0.1/24 dev eth0",
    ]);
    await this.#ip("vb", ["link set eth0 up", "address add 10.9.0.2/24 dev eth0"]);
    return { client: this.#netns("va"), server: this.#netns("vb"), address: "10.9.0.2" };
  }

  /**
   * Two nodes with a bridge each: joined by routes alone, the same with the masquerading that pods need to reach the
   * world, by a VXLAN device as Flannel sets it up, or that with Flannel's rules.
   */
  async bridges(kind: BridgeKind): Promise<MeasuredPath> {
    const [one, two] = parts[kind];
    for (const part of [one, two, `${one}p`, `${two}p`]) await this.#add(part);
    await this.#ip(one, [`link add eth0 type veth peer name eth0 netns ${this.#prefix}${two}`]);
    await this.#bridgeNode(one, 1, kind);
    await this.#bridgeNode(two, 2, kind);
    return { client: this.#netns(`${one}p`), server: this.#netns(`${two}p`), address: "10.9.2.2" };
  }

  async #bridgeNode(part: string, node: 1 | 2, kind: BridgeKind): Promise<void> {
    const other = 3 - node;
    const overlay = kind === "vxlan" || kind === "flannel";
    const mtu = overlay ? 1450 : 1500;
    const vxlanMac = (number: number) => `02:00:00:00:99:0${number}`;
    const remote = !overlay
      ? [`route add 10.9.${other}.0/24 via 172.29.0.${other}`]
      : [
          `link add flannel mtu 1450 address ${vxlanMac(node)} type vxlan id 1 local 172.29.0.${node} dev eth0 dstport 8472 nolearning`,
          "link set flannel up",
          `address add 10.9.${node}.0/32 dev flannel`,
          `neigh replace 10.9.${other}.0 lladdr ${vxlanMac(other)} dev flannel`,
          `route add 10.9.${other}.0/24 via 10.9.${other}.0 dev flannel onlink`,
        ];
    await this.#ip(part, [
      "link set eth0 up",
      `address add 172.29.0.${node}/24 dev eth0`,
      "link add cni0 type bridge",
      `link set cni0 mtu ${mtu} up`,
      `address add 10.9.${node}.1/24 dev cni0`,
      `link add pod mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${this.#prefix}${part}p`,
      "link set pod master cni0 up",
      ...remote,
    ]);
    const rules = {
      plain: [],
      vxlan: [],
      masquerade: masquerade.bridge(node),
      flannel: masquerade.flannel(node),
    }[kind];
    if (rules.length > 0)
      await run("nsenter", [`--net=${this.#netns(part)}`, "iptables-restore", "--noflush"], {
        input: `${rules.join("\n")}\n`,
      });
    if (overlay) {
      const entry = ["fdb", "append", vxlanMac(other), "dev", "flannel", "dst", `172.29.0.${other}`, "self"];
      await run("bridge", ["-n", `${this.#prefix}${part}`, ...entry]);
    }
    await this.#ip(`${part}p`, [
      "link set eth0 up",
      `address add 10.9.${node}.2/24 dev eth0`,
      `route add default via 10.9.${node}.1`,
    ]);
  }

  async close(): Promise<void> {
    for (const name of this.#made.reverse())
      await run("ip", ["netns", "delete", name], { allowFailure: true });
  }
}
