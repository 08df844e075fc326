// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planCluster } from "../plan.ts";
import { endpointTable } from "./calico/endpoint-rules.ts";
import { interfaceOf, vtepMac } from "./calico/names.ts";
import { type PolicyChains, policiesOf } from "./calico/policies.ts";
import { delegateConfig } from "./flannel/plugin.ts";
import { formatSubnetEnv, parseSubnetEnv } from "./flannel/subnet-env.ts";
import { type NodeFacts, nodeFacts } from "./follow-nodes.ts";
import { kindnetConfiguration } from "./kindnet/daemon.ts";
import { oldNetworkManifests } from "./manifests.ts";
import { routesTo } from "./node-routes.ts";

const dual: NodeFacts = {
  name: "demo-worker",
  addresses: ["172.30.0.3", "fd30::3"],
  podCidrs: ["10.244.1.0/24", "fd10:244:0:1::/64"],
  annotations: {},
};

describe("the flannel plugin", () => {
  const env = {
    ipv4: { network: "10.244.0.0/16", subnet: "10.244.1.17/28" },
    ipv6: { network: "fd10:244::/56", subnet: "fd10:244:0:1::1/64" },
    mtu: 1430,
    ipMasq: true,
  };

  it("reads the subnet.env that flanneld writes", () => {
    assert.deepEqual(parseSubnetEnv(formatSubnetEnv(env)), env);
    const { ipv6: _, ...four } = env;
    assert.deepEqual(parseSubnetEnv(formatSubnetEnv(four)), four);
  });

  it("hands bridge the node's ranges, and masquerading only where flanneld does none", () => {
    const config = {
      name: "cbr0",
      type: "flannel",
      cniVersion: "0.3.1",
      delegate: { hairpinMode: true, isDefaultGateway: true },
    };
    assert.deepEqual(delegateConfig(config, env), {
      type: "bridge",
      hairpinMode: true,
      isDefaultGateway: true,
      name: "cbr0",
      cniVersion: "0.3.1",
      ipMasq: false,
      mtu: 1430,
      isGateway: true,
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "10.244.1.16/28" }], [{ subnet: "fd10:244:0:1::/64" }]],
        routes: [{ dst: "10.244.0.0/16" }, { dst: "fd10:244::/56" }],
      },
    });
    assert.equal(delegateConfig(config, { ...env, ipMasq: false }).ipMasq, true);
  });
});

it("routes to other nodes' pods by the node's address of the same family", () =>
  assert.deepEqual(routesTo([dual]), ["10.244.1.0/24 via 172.30.0.3", "fd10:244:0:1::/64 via fd30::3"]));

it("takes the internal addresses of a Node, no others", () =>
  assert.deepEqual(
    nodeFacts({
      metadata: { name: "demo-worker" },
      spec: { podCIDRs: dual.podCidrs },
      status: {
        addresses: [
          { type: "InternalIP", address: "172.30.0.3" },
          { type: "Hostname", address: "demo-worker" },
          { type: "InternalIP", address: "fd30::3" },
        ],
      },
    }),
    dual,
  ));

it("gives kindnet's pods a default route in each family", () => {
  const { plugins } = kindnetConfiguration(dual, 1500) as { plugins: any[] };
  assert.deepEqual(plugins[0].ipam.routes, [{ dst: "0.0.0.0/0" }, { dst: "::/0" }]);
});

it("names Calico's interfaces and chains within what the kernel takes", () => {
  const namespace = "a-namespace-with-a-name-of-some-length";
  const name = interfaceOf(namespace, "pod-0");
  assert.match(name, /^cali[0-9a-f]{11}$/);
  assert.match(vtepMac("demo-worker"), /^66(:[0-9a-f]{2}){5}$/);
  const { chains } = endpointTable([{ name, namespace }]);
  for (const chain of Object.keys(chains)) assert.ok(chain.length <= 28, chain);
  const jumps = Object.values(chains)
    .flat()
    .flatMap((rule) => /-[jg] (cali-\S+)/.exec(rule)?.[1] ?? []);
  for (const target of jumps) assert.ok(target in chains, `${target} is called and exists`);
});

it("gives Calico's pods the chains of standard policies", () => {
  const pod = (name: string, ip: string, node = "here") => ({
    metadata: { name, namespace: "shop", uid: name, labels: { app: name } },
    spec: { nodeName: node, containers: [{ ports: [{ name: "web", containerPort: 8080 }] }] },
    status: { phase: "Running", podIPs: [{ ip }] },
  });
  const cluster = {
    namespaces: [{ metadata: { name: "shop", labels: { team: "a" } } }],
    pods: [pod("server", "10.0.0.1"), pod("friend", "10.0.1.2", "there"), pod("other", "10.0.1.3", "there")],
    policies: [
      {
        metadata: { name: "web", namespace: "shop", uid: "p" },
        spec: {
          podSelector: { matchLabels: { app: "server" } },
          ingress: [
            { from: [{ podSelector: { matchLabels: { app: "friend" } } }], ports: [{ port: "web" }] },
            { from: [{ ipBlock: { cidr: "192.0.2.0/24", except: ["192.0.2.8/29"] } }] },
          ],
        },
      },
    ],
  };
  const found = policiesOf(cluster as any, "here");
  const name = interfaceOf("shop", "server");
  assert.deepEqual(Object.keys(found), [name]);
  const dropsAll = (table: ReturnType<typeof endpointTable>) =>
    table.chains[`cali-tw-${name}`]!.some((rule) => rule.endsWith("-j cali-pi-_unknown"));
  assert.ok(dropsAll(endpointTable([{ name, namespace: "shop" }])), "not known yet");
  assert.equal(found[name]!.egress, undefined);
  const [{ name: chain, chains }] = found[name]!.ingress as [PolicyChains];
  const accept = "-j MARK --set-xmark 0x10000/0x10000";
  assert.deepEqual(chains, {
    [chain]: [
      `-s 10.0.1.2/32 -p tcp % -m tcp --dport 8080 ${accept}`,
      `-s 192.0.2.0/24 % -j ${chain}0`,
      "% -m mark --mark 0x10000/0x10000 -j RETURN",
    ],
    [`${chain}0`]: ["-s 192.0.2.8/29 % -j RETURN", `% ${accept}`],
  });
  const table = endpointTable([{ name, namespace: "shop" }], found);
  for (const one of Object.keys(table.chains)) assert.ok(one.length <= 28, one);
  const isCalled = (rule: string) => rule.endsWith(`-j ${chain}`);
  assert.ok(table.chains[`cali-tw-${name}`]!.some(isCalled));
  assert.ok(!table.chains[`cali-fw-${name}`]!.some(isCalled));
  assert.ok(!dropsAll(table));
  assert.deepEqual(Object.values(policiesOf(cluster as any, "there")), [{}, {}]);
});

for (const cni of ["flannel", "calico", "kindnet"] as const)
  it(`binds the service account that ${cni}'s DaemonSet runs as`, () => {
    const objects = oldNetworkManifests(planCluster({ name: "demo", cni, env: {} }, "/tmp/kubeconfig"));
    const daemonSet = objects.find(({ kind }) => kind === "DaemonSet")!;
    const binding = objects.find(
      ({ kind, subjects }) =>
        kind === "ClusterRoleBinding" &&
        subjects[0].name === daemonSet.spec.template.spec.serviceAccountName &&
        subjects[0].namespace === daemonSet.metadata.namespace,
    );
    assert.ok(
      objects.some(({ kind, metadata }) => kind === "ClusterRole" && metadata.name === binding?.roleRef.name),
    );
  });

it("refuses a family that the calico-like network does not speak", () =>
  assert.throws(() => planCluster({ name: "demo", cni: "calico", ipFamily: "dual", env: {} }, "/tmp/k"), {
    code: "Usage",
  }));
