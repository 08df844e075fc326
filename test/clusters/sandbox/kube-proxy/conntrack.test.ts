// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { durationMs, readConfiguration } from "./configuration.ts";
import { parseFlows, staleFlows } from "./conntrack.ts";
import { planPorts } from "./port-plan.ts";

const node = { name: "n1", zone: "", addresses: ["172.30.0.3"] };
const service = {
  metadata: { namespace: "lab", name: "dns" },
  spec: {
    type: "NodePort",
    clusterIP: "10.96.0.10",
    ports: [{ port: 53, nodePort: 30053, protocol: "UDP" }],
  },
};
const slice = (endpoints: object[]) => ({
  metadata: { namespace: "lab", name: "dns-1", labels: { "kubernetes.io/service-name": "dns" } },
  addressType: "IPv4",
  ports: [{ port: 5353, protocol: "UDP" }],
  endpoints,
});
const flow = (to: string, from: string) =>
  `udp      17 29 src=10.244.1.2 dst=${to.split(":")[0]} sport=4000 dport=${to.split(":")[1]} [UNREPLIED] src=${from.split(":")[0]} dst=10.244.1.2 sport=${from.split(":")[1]} dport=4000 mark=0 use=1`;
const listing = [
  flow("10.96.0.10:53", "10.244.1.5:5353"),
  flow("10.96.0.10:53", "10.244.1.6:5353"),
  flow("10.96.0.10:53", "10.96.0.10:53"),
  flow("172.30.0.3:30053", "10.244.1.6:5353"),
  flow("192.0.2.1:53", "192.0.2.1:53"),
].join("\n");

function stale(endpoints: object[]): string[] {
  const plans = planPorts([service], [slice(endpoints)], "ipv4", node);
  return staleFlows(parseFlows(listing), plans, node).map((one) => `${one.destination}>${one.answerer}`);
}

test("UDP flows to endpoints that are gone are stale, and those from before there were any", () => {
  assert.deepEqual(stale([{ addresses: ["10.244.1.5"] }]), [
    "10.96.0.10>10.244.1.6",
    "10.96.0.10>10.96.0.10",
    "172.30.0.3>10.244.1.6",
  ]);
});

test("an endpoint that terminates and still serves keeps its flows", () => {
  const leaving = {
    addresses: ["10.244.1.6"],
    conditions: { ready: false, serving: true, terminating: true },
  };
  assert.deepEqual(stale([{ addresses: ["10.244.1.5"] }, leaving]), ["10.96.0.10>10.96.0.10"]);
});

test("a KubeProxyConfiguration is read; a mode that is not ours is refused", () => {
  const text = (mode: string) =>
    `kind: KubeProxyConfiguration\nmode: "${mode}"\nclusterCIDR: 10.244.0.0/16,fd10::/56\nnftables: {minSyncPeriod: 500ms}`;
  const config = readConfiguration(text("nftables"));
  assert.equal(config.minSyncPeriodMs, 500);
  assert.deepEqual(config.clusterCidrs, { ipv4: "10.244.0.0/16", ipv6: "fd10::/56" });
  assert.equal(readConfiguration(text("")).mode, "iptables");
  assert.throws(() => readConfiguration(text("ipvs")), /Unknown mode "ipvs"/);
  assert.equal(durationMs("1m30s"), 90_000);
  assert.throws(() => durationMs("soon"), /no duration/);
});
