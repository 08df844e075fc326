// SPDX-License-Identifier: Apache-2.0
// A node whose policies are in real maps, for benchmarks: packets run through the programs, no device carries them.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { addressBytes, parseCidr } from "../../lib/addresses.ts";
import { ShuntError } from "../../lib/errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { createLogger } from "../../lib/log.ts";
import { run } from "../../lib/run.ts";
import * as layout from "../datapath-layout.ts";
import { identifyEndpoint, publishEndpoint } from "../endpoint-map.ts";
import type { Endpoint } from "../endpoint-store.ts";
import { Ipcache } from "../ipcache.ts";
import type { BpfMap } from "../libbpf.ts";
import { buildPacket, type PacketFields } from "../packet-building.ts";
import { loadFixture, makeTestNode, type PacketFixture, podMac } from "../packet-fixture.ts";
import { IdentityAllocator } from "./identity.ts";
import { PolicyController, type PolicyInformers } from "./policy-controller.ts";

const redirect = 7;
const otherNode = "172.31.0.3";

interface PolicyLabOptions {
  /** Of the network namespace. */
  name: string;
  nodeName: string;
  informers: PolicyInformers;
  /** Pod CIDRs of all nodes, by name. */
  nodes: ReadonlyMap<string, string>;
  /** Keeps the object of a new number. */
  createIdentity: (object: KubeObject) => void;
  onDirty: () => void;
}

/** The agent's policies on one node, without the agent. */
export class PolicyLab {
  readonly #options: PolicyLabOptions;
  readonly #folder: string;
  readonly #controller: PolicyController;
  readonly #endpoints: readonly Endpoint[];
  #fixtures: Record<"egress" | "ingress", PacketFixture> | undefined;
  #ipcache: Ipcache | undefined;

  constructor(options: PolicyLabOptions) {
    this.#options = options;
    this.#folder = mkdtempSync(path.join(tmpdir(), `${options.name}-`));
    const { informers, nodeName, createIdentity, onDirty } = options;
    const own = informers.pods.list().filter(({ spec }) => spec.nodeName === nodeName);
    this.#endpoints = own.map(endpointOf);
    this.#controller = new PolicyController({
      ...{ informers, nodeName, onDirty, log: createLogger(() => undefined) },
      identities: new IdentityAllocator({
        list: () => informers.identities.list(),
        get: async (name) => informers.identities.get(name),
        create: async (object) => {
          createIdentity(object);
          return object;
        },
      }),
    });
  }

  /** Makes the node; on failure `close` still cleans up. */
  async open(): Promise<void> {
    const { name, nodes, nodeName } = this.#options;
    await run("mount", ["-t", "bpf", "bpf", this.#folder]);
    await makeTestNode(name);
    const load = (object: string) =>
      loadFixture(object, name, layout.configFlags.CONFIG_POLICY, {
        pinFolder: path.join(this.#folder, "maps"),
      });
    this.#fixtures = { egress: load("pod.bpf.o"), ingress: load("netdev.bpf.o") };
    const endpoints = this.#map("endpoints");
    for (const endpoint of this.#endpoints) publishEndpoint(endpoints, endpoint, 1);
    this.#ipcache = new Ipcache(() => this.#map("ipcache"));
    const { IPCACHE_IN_CLUSTER, IPCACHE_LOCAL, IPCACHE_TUNNEL } = layout.ipcacheFlags;
    const entries = [...nodes].map(([node, cidr]) => {
      const flags = IPCACHE_IN_CLUSTER | (node === nodeName ? IPCACHE_LOCAL : IPCACHE_TUNNEL);
      const key = layout.ipcachePrefix(parseCidr(cidr));
      const value = layout.ipcacheEntry.encode({ tunnelEndpoint: addressBytes(otherNode), flags });
      return [Buffer.from(key).toString("hex"), { key, value }] as const;
    });
    this.#ipcache.setNodes(new Map(entries));
    const map = this.#map.bind(this);
    this.#controller.setMaps(
      {
        policyOf: map("policyOf"),
        policyTables: map("policyTables"),
        policyNetworks: map("policyNetworks"),
        policyPorts: map("policyPorts"),
        policyPrefixes: map("policyPrefixes"),
      },
      false,
    );
  }

  /** Brings the maps in line, as `PolicyLayer` does. */
  sync(): void {
    const found = this.#controller.sync(this.#endpoints);
    if (found === undefined) throw new ShuntError("Not all objects have been read");
    const map = this.#map("endpoints");
    for (const endpoint of this.#endpoints) identifyEndpoint(map, endpoint, found.own.get(endpoint.id) ?? 0);
    this.#ipcache!.setIdentities(found.elsewhere, found.nodes);
  }

  /** By which number the programs know a pod; 0: they do not. */
  numberOf(address: string): number {
    const own = this.#map("endpoints").get(addressBytes(address));
    if (own !== undefined) return layout.endpoint.decode(own).identity;
    const key = layout.ipcachePrefix(parseCidr(`${address}/32`));
    const other = this.#map("ipcache").get(key);
    return other === undefined ? 0 : layout.ipcacheEntry.decode(other).identity;
  }

  /** Policies in force, and entries by map. */
  get fill(): Record<string, number> {
    const { policies = 0, pods = 0 } = this.#controller.size ?? {};
    const names = ["policyTables", "policyPorts", "policyNetworks", "policyPrefixes"] as const;
    const entries = names.map((name) => [name, [...this.#map(name).keys()].length] as const);
    return { policies, pods, invalid: this.#controller.problems.length, ...Object.fromEntries(entries) };
  }

  /** Nanoseconds that the program took for a packet. Throws when it did not let it through. */
  run(way: "egress" | "ingress", fields: PacketFields): number {
    const packet = buildPacket({ ...fields, sourceMac: podMac });
    const { verdict, durationNs } = this.#fixtures![way].run(
      way === "egress" ? "from_pod" : "from_netdev",
      packet,
    );
    if (verdict !== redirect)
      throw new ShuntError(`A packet did not pass (${verdict}): ${way} ${JSON.stringify(fields)}`);
    return durationNs;
  }

  async close(): Promise<void> {
    for (const { object } of Object.values(this.#fixtures ?? {})) object.close();
    await run("umount", [this.#folder], { allowFailure: true });
    rmSync(this.#folder, { recursive: true, force: true });
    await run("ip", ["netns", "delete", this.#options.name], { allowFailure: true });
  }

  #map(name: keyof typeof layout.maps): BpfMap {
    return this.#fixtures!.egress.object.map(layout.maps[name]);
  }
}

function endpointOf({ metadata, status }: KubeObject, index: number): Endpoint {
  return {
    id: index + 1,
    ...{ podNamespace: metadata.namespace!, podName: metadata.name!, podUid: metadata.uid! },
    ...{
      containerId: `container-${index}`,
      ifName: "eth0",
      netns: "",
      device: "lo",
      mac: podMac,
      hostMac: podMac,
    },
    addresses: status.podIPs.map(({ ip }: { ip: string }) => ip),
    ...{ gateways: [], mtu: 1500, ready: true },
  };
}
