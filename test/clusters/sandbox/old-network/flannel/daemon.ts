// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { addressText, cidrAddress, type Family, parseCidr } from "../../../../../lib/addresses.ts";
import { ensureFirewall } from "../firewall.ts";
import { type DaemonContext, followNodes, type NodeFacts, ofFamily, podFamilies } from "../follow-nodes.ts";
import { deviceOf } from "../ip-command.ts";
import { Peers } from "../peers.ts";
import { ensureVxlan, type VxlanPeer, vxlanOverhead } from "../vxlan.ts";
import { annotationPrefix, familyAnnotations } from "./annotations.ts";
import { firewallTables } from "./rules.ts";
import { formatSubnetEnv, type SubnetEnv, subnetFile } from "./subnet-env.ts";

const vni = 1;
const port = 8472;
const upkeepMs = 5_000;

/** net-conf.json of the ConfigMap. */
interface NetConf {
  Network?: string;
  EnableIPv6?: boolean;
  IPv6Network?: string;
  Backend: { Type: string; Port?: number };
}

/** Runs flanneld's part: device, annotations, subnet.env, rules, and the way to every other node. */
export async function runDaemon(context: DaemonContext): Promise<void> {
  const conf = JSON.parse(readFileSync("/etc/kube-flannel/net-conf.json", "utf8")) as NetConf;
  await followNodes(context, new Flanneld(context, conf), upkeepMs);
}

class Flanneld {
  readonly #context: DaemonContext;
  readonly #conf: NetConf;
  #self: NodeFacts | undefined;
  readonly #peers: Peers;

  constructor(context: DaemonContext, conf: NetConf) {
    this.#context = context;
    this.#conf = conf;
    this.#peers = new Peers(context.log);
  }

  async nodes(self: NodeFacts, others: NodeFacts[]): Promise<void> {
    this.#self = self;
    const families = podFamilies(self).filter((family) => this.#network(family) !== undefined);
    const uplinks = new Map<Family, { name: string; mtu: number; address: string }>();
    for (const family of families) {
      const address = ofFamily(self.addresses, family);
      if (address !== undefined) uplinks.set(family, { ...(await deviceOf(address)), address });
    }
    const mtu = Math.min(
      ...[...uplinks.values()].map((uplink) => uplink.mtu - vxlanOverhead(uplink.address)),
    );
    const annotations: Record<string, string> = {};
    for (const [family, uplink] of uplinks) {
      const cidr = ofFamily(self.podCidrs, family)!;
      const keys = familyAnnotations[family];
      const mac = await ensureVxlan(
        {
          ...{ name: deviceName(family), vni, port: this.#conf.Backend.Port ?? port },
          ...{ uplink: uplink.name, local: uplink.address, mtu },
          address: `${cidr.split("/")[0]}/${family === "ipv4" ? 32 : 128}`,
        },
        vtepMac(self, family),
      );
      annotations[keys.data] = JSON.stringify({ VNI: vni, VtepMAC: mac });
      annotations[keys.publicIp] = uplink.address;
    }
    await this.#annotate(self, annotations);
    this.#writeSubnetEnv(self, [...uplinks.keys()], mtu);
    await this.#connect([...uplinks.keys()], others);
  }

  /** flanneld looks at its rules every few seconds. */
  async upkeep(): Promise<void> {
    if (this.#self === undefined) return;
    for (const family of podFamilies(this.#self)) {
      const network = this.#network(family);
      if (network === undefined) continue;
      const tables = firewallTables(family, network, ofFamily(this.#self.podCidrs, family)!);
      if (await ensureFirewall(family, tables)) this.#context.log.info("rules written", { family });
    }
  }

  #network(family: Family): string | undefined {
    return family === "ipv4" ? this.#conf.Network : this.#conf.IPv6Network;
  }

  async #annotate(self: NodeFacts, values: Record<string, string>): Promise<void> {
    const wanted: Record<string, string> = {
      ...values,
      [`${annotationPrefix}/backend-type`]: "vxlan",
      [`${annotationPrefix}/kube-subnet-manager`]: "true",
    };
    if (Object.entries(wanted).every(([key, value]) => self.annotations[key] === value)) return;
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const condition = {
      ...{ type: "NetworkUnavailable", status: "False" },
      ...{ reason: "FlannelIsUp", message: "Flannel is running on this node" },
      ...{ lastTransitionTime: now, lastHeartbeatTime: now },
    };
    await this.#context.kube.patch(`/api/v1/nodes/${self.name}/status`, "strategic", {
      metadata: { annotations: wanted },
      status: { conditions: [condition] },
    });
    this.#context.log.info("node annotated", wanted);
  }

  #writeSubnetEnv(self: NodeFacts, families: Family[], mtu: number): void {
    const range = (family: Family) => {
      if (!families.includes(family)) return {};
      const cidr = parseCidr(ofFamily(self.podCidrs, family)!);
      const subnet = `${addressText(cidrAddress(cidr, 1))}/${cidr.prefix}`;
      return { [family]: { network: this.#network(family)!, subnet } };
    };
    const env: SubnetEnv = { ...range("ipv4"), ...range("ipv6"), mtu, ipMasq: true };
    mkdirSync(path.dirname(subnetFile), { recursive: true });
    writeFileSync(`${subnetFile}.new`, formatSubnetEnv(env));
    renameSync(`${subnetFile}.new`, subnetFile);
  }

  async #connect(families: Family[], others: NodeFacts[]): Promise<void> {
    const wanted = new Map<string, { device: string; peer: VxlanPeer }>();
    for (const node of others)
      for (const family of families) {
        const peer = peerOf(node, family);
        if (peer !== undefined) wanted.set(`${node.name} ${family}`, { device: deviceName(family), peer });
      }
    await this.#peers.set(wanted);
  }
}

function deviceName(family: Family): string {
  return family === "ipv4" ? `flannel.${vni}` : `flannel-v6.${vni}`;
}

function vtepMac(node: NodeFacts, family: Family): string | undefined {
  const data = node.annotations[familyAnnotations[family].data];
  if (data === undefined) return undefined;
  const mac = (JSON.parse(data) as { VtepMAC?: string } | null)?.VtepMAC;
  return mac !== undefined && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) ? mac : undefined;
}

/** How to reach a node that has said where; undefined before it has. */
function peerOf(node: NodeFacts, family: Family): VxlanPeer | undefined {
  const podCidr = ofFamily(node.podCidrs, family);
  const remote = node.annotations[familyAnnotations[family].publicIp];
  const mac = vtepMac(node, family);
  if (podCidr === undefined || remote === undefined || mac === undefined) return undefined;
  return { gateway: podCidr.split("/")[0]!, podCidr, mac, remote };
}
