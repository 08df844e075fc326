// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../lib/kube-object.ts";
import { decide } from "./decide.ts";
import { apiServerAddresses, NodePeers, reachesApiServer } from "./node-peers.ts";
import { parsePolicy } from "./validate.ts";

const node = (name: string, number: number, labels: Record<string, string> = {}): KubeObject => ({
  metadata: { name, labels },
  spec: { podCIDRs: [`10.244.${number}.0/24`, `fd10:0:0:${number}::/64`] },
  status: {
    addresses: [
      { type: "InternalIP", address: `172.31.0.${number}` },
      { type: "InternalIP", address: `fd31::${number}` },
      { type: "Hostname", address: name },
    ],
  },
});
const nodes = [node("own", 1, { rack: "a" }), node("b", 2, { rack: "a" }), node("c", 3, { rack: "b" })];
const slice = (service: string, addresses: string[], namespace = "default"): KubeObject => ({
  metadata: { name: "s", namespace, labels: { "kubernetes.io/service-name": service } },
  endpoints: [{ addresses }],
});
const labelsByNumber = ({ identities }: ReturnType<NodePeers["read"]>): Record<number, string[]> =>
  Object.fromEntries(
    identities.map(({ id, labels }) => [
      id,
      [...labels].map(([key, value]) => (value === "" ? key : `${key}=${value}`)),
    ]),
  );

test("where no policy selects nodes by labels, they are host, remote nodes and those with an API server", () => {
  const slices = [
    slice("kubernetes", ["172.31.0.3", "192.0.2.9", "not an address"]),
    slice("web", ["172.31.0.2"]),
  ];
  const apiServers = apiServerAddresses([...slices, slice("kubernetes", ["172.31.0.2"], "other")]);
  const found = new NodePeers().read(nodes, { ownNode: "own", apiServers, selectedBy: new Set() });
  assert.deepEqual(labelsByNumber(found), {
    1: ["reserved:host"],
    6: ["reserved:remote-node"],
    7: ["reserved:remote-node", "reserved:kube-apiserver"],
  });
  assert.deepEqual(Object.fromEntries(found.byAddress), {
    ...{ "172.31.0.2": 6, "fd31::2": 6, "10.244.2.1": 6, "fd10:0:0:2::1": 6 },
    ...{ "172.31.0.3": 7, "fd31::3": 7, "10.244.3.1": 7, "fd10:0:0:3::1": 7 },
  });
  assert.deepEqual(found.apiServersElsewhere, ["192.0.2.9"]);
});

test("an API server on the own node is the host too", () => {
  const options = { ownNode: "own", apiServers: new Set(["fd31::1"]), selectedBy: new Set<string>() };
  assert.deepEqual(labelsByNumber(new NodePeers().read(nodes, options))[1], [
    ...["reserved:host", "reserved:kube-apiserver"],
  ]);
});

test("labels that policies select by tell nodes apart, by numbers that stay", () => {
  const peers = new NodePeers();
  const options = { ownNode: "own", apiServers: new Set(["172.31.0.3"]), selectedBy: new Set(["node:rack"]) };
  const first = peers.read(nodes, options);
  const [b, c] = ["172.31.0.2", "172.31.0.3"].map((one) => first.byAddress.get(one)!);
  assert.ok(b! >= 1 << 25 && c! >= 1 << 25 && b !== c);
  const labels = labelsByNumber(first);
  assert.deepEqual(labels[1], ["reserved:host", "node:rack=a"]);
  assert.deepEqual(labels[b!], ["reserved:remote-node", "node:rack=a"]);
  assert.deepEqual(labels[c!], ["reserved:remote-node", "reserved:kube-apiserver", "node:rack=b"]);
  const more = peers.read([...nodes, node("d", 4, { rack: "a" })], options);
  assert.equal(more.byAddress.get("10.244.4.1"), b);
  assert.equal(more.byAddress.get("10.244.3.1"), c);
});

test("a node that a policy isolates reaches the API server all the same, at its ports", () => {
  const apiServer = { ...slice("kubernetes", ["172.31.0.3"]), ports: [{ port: 6443 }, { port: null }] };
  const policies = [
    ...parsePolicy({
      ...{ apiVersion: "cilium.io/v2", kind: "CiliumClusterwideNetworkPolicy", metadata: { name: "closed" } },
      spec: { nodeSelector: { matchLabels: { rack: "a" } }, egressDeny: [{ toEntities: ["all"] }] },
    }).policies,
    reachesApiServer([apiServer, { ...slice("web", ["172.31.0.2"]), ports: [{ port: 80 }] }]),
  ];
  const verdict = (rack: string, peer: string, port: number) =>
    decide(policies, {
      subject: { labels: new Map(Object.entries({ "reserved:host": "", "node:rack": rack })), ports: [] },
      peer: { labels: new Map(Object.entries({ "reserved:remote-node": "", [peer]: "" })), ports: [] },
      ...{ direction: "egress", protocol: 6, port },
    });
  assert.equal(verdict("a", "reserved:kube-apiserver", 6443).verdict, "allowed");
  assert.equal(verdict("a", "reserved:kube-apiserver", 22).verdict, "denied");
  assert.equal(verdict("a", "node:x", 6443).verdict, "denied");
  assert.deepEqual(verdict("b", "reserved:kube-apiserver", 6443).reason, "no policy is about its egress");
});
