// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { errorMessage } from "../../../../../lib/errors.ts";
import { resourcePath } from "../../../../../lib/kube.ts";
import { Informer } from "../../../../../lib/kube-informer.ts";
import { sleep } from "../../../../../lib/wait.ts";
import { ensureFirewall } from "../firewall.ts";
import { type DaemonContext, followNodes, type NodeFacts, ofFamily } from "../follow-nodes.ts";
import { ipBatch } from "../ip-command.ts";
import { Peers } from "../peers.ts";
import { ensureVxlan, type VxlanPeer, vxlanOverhead } from "../vxlan.ts";
import { type Autodetected, autodetect } from "./autodetect.ts";
import { syncEndpointRules } from "./endpoint-rules.ts";
import { ensureIpSets } from "./ip-sets.ts";
import { withRulesLock } from "./lock.ts";
import { policyFile, routeProtocol, stateDir, vtepMac, vxlanName, vxlanPort, vxlanVni } from "./names.ts";
import { policiesOf } from "./policies.ts";
import { felixTables } from "./rules.ts";

const upkeepMs = 30_000;
const policyMs = 100;
const addressAnnotation = "projectcalico.org/IPv4Address";
const tunnelAnnotation = "projectcalico.org/IPv4VXLANTunnelAddr";

/** Runs calico-node's part: what confd, Felix and the IP autodetection do for a pool that is always VXLAN. */
export async function runDaemon(context: DaemonContext): Promise<void> {
  await Promise.all([followNodes(context, new CalicoNode(context), upkeepMs), followPolicies(context)]);
}

/** Keeps the chains of this node's pods as policies say, until the signal aborts. */
async function followPolicies({ kube, nodeName, log, signal }: DaemonContext): Promise<void> {
  const [policies, pods, namespaces] = [
    resourcePath("networking.k8s.io/v1", "networkpolicies"),
    resourcePath("v1", "pods"),
    resourcePath("v1", "namespaces"),
  ].map((path) => new Informer(kube, path, log)) as [Informer, Informer, Informer];
  const all = [policies, pods, namespaces];
  let isDirty = true;
  for (const informer of all) informer.onChange(() => (isDirty = true));
  const runs = all.map((informer) => informer.run(signal));
  await Promise.all(all.map((informer) => informer.whenSynced(signal)));
  let written = "";
  while (!signal.aborted) {
    if (isDirty) {
      isDirty = false;
      const cluster = { policies: policies.list(), pods: pods.list(), namespaces: namespaces.list() };
      const text = JSON.stringify(policiesOf(cluster, nodeName));
      try {
        if (text !== written) {
          mkdirSync(stateDir, { recursive: true });
          writeFileSync(`${policyFile}.new`, text);
          renameSync(`${policyFile}.new`, policyFile);
          await withRulesLock(syncEndpointRules);
        }
        written = text;
      } catch (error) {
        isDirty = true;
        log.error("cannot write policies", { error: errorMessage(error) });
      }
    }
    await sleep(policyMs, signal).catch(() => undefined);
  }
  await Promise.all(runs);
}

class CalicoNode {
  readonly #context: DaemonContext;
  readonly #peers: Peers;

  constructor(context: DaemonContext) {
    this.#context = context;
    this.#peers = new Peers(context.log);
  }

  async nodes(self: NodeFacts, others: NodeFacts[]): Promise<void> {
    const { env } = this.#context;
    const found = await autodetect(env.IP_AUTODETECTION_METHOD ?? "first-found", self);
    const podCidr = ofFamily(self.podCidrs, "ipv4");
    if (podCidr === undefined) return;
    const tunnel = podCidr.split("/")[0]!;
    const configured = Number(env.FELIX_VXLANMTU ?? 0);
    const mtu = configured > 0 ? configured : found.mtu - vxlanOverhead(found.address);
    await ensureVxlan(
      {
        ...{ name: vxlanName, vni: vxlanVni, port: vxlanPort, mtu },
        ...{ uplink: found.device, local: found.address, address: `${tunnel}/32` },
      },
      vtepMac(self.name),
    );
    await ipBatch([`route replace blackhole ${podCidr} proto ${routeProtocol}`]);
    this.#writeState(self, mtu);
    await this.#annotate(self, found, tunnel);
    const peers = others.flatMap((node) => peerOf(node) ?? []);
    const hosts = others.flatMap((node) => ofFamily(node.addresses, "ipv4") ?? []);
    await ensureIpSets({
      "all-ipam-pools": [env.CALICO_IPV4POOL_CIDR!],
      "masq-ipam-pools": [env.CALICO_IPV4POOL_CIDR!],
      "all-vxlan-net": peers.map(({ remote }) => remote),
      "all-hosts-net": [found.address, ...hosts],
    });
    await this.#peers.set(new Map(peers.map((peer) => [peer.remote, { device: vxlanName, peer }] as const)));
  }

  /** Felix refreshes its rules now and then. */
  async upkeep(): Promise<void> {
    await withRulesLock(syncEndpointRules);
    if (await ensureFirewall("ipv4", felixTables())) this.#context.log.info("rules written");
  }

  #writeState(self: NodeFacts, mtu: number): void {
    mkdirSync(stateDir, { recursive: true });
    const files = { nodename: self.name, mtu: String(mtu), "pod-cidrs": self.podCidrs.join(",") };
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(stateDir, name), text);
  }

  async #annotate(self: NodeFacts, found: Autodetected, tunnel: string): Promise<void> {
    const annotations = {
      [addressAnnotation]: `${found.address}/${found.prefix}`,
      [tunnelAnnotation]: tunnel,
    };
    if (Object.entries(annotations).every(([key, value]) => self.annotations[key] === value)) return;
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const condition = {
      ...{ type: "NetworkUnavailable", status: "False" },
      ...{ reason: "CalicoIsUp", message: "Calico is running on this node" },
      ...{ lastTransitionTime: now, lastHeartbeatTime: now },
    };
    await this.#context.kube.patch(`/api/v1/nodes/${self.name}/status`, "strategic", {
      metadata: { annotations },
      status: { conditions: [condition] },
    });
  }
}

/** How to reach a node that has said where; undefined before it has. */
function peerOf(node: NodeFacts): VxlanPeer | undefined {
  const remote = node.annotations[addressAnnotation]?.split("/")[0];
  const gateway = node.annotations[tunnelAnnotation];
  const podCidr = ofFamily(node.podCidrs, "ipv4");
  if (remote === undefined || gateway === undefined || podCidr === undefined) return undefined;
  return { gateway, podCidr, mac: vtepMac(node.name), remote, protocol: routeProtocol };
}
