// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { kubeconfigFor, runCli } from "./testing-cli.ts";

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "shunt-policy-"));
});
after(() => rmSync(folder, { recursive: true }));

const shunt = (words: readonly string[], input = "") => runCli(["policy", ...words], input);

describe("validate", () => {
  const right = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: right, namespace: shop}
spec: {podSelector: {}}
`;
  const wrong = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: wrong
  namespace: shop
spec:
  endpointSelector: {}
  ingress:
    - fromEntities: [internet]
      toPorts:
        - ports:
            - port: "80"
            - port: "99999"
    - toPort: []
`;

  test("what is right is counted, what is no policy passed over", async () => {
    const { code, out, err } = await shunt(["validate", "-f", "-"], `${right}---\nkind: Pod\n---\n`);
    assert.deepEqual([code, err], [0, ""]);
    assert.equal(out, "1 of 1 policies are valid; 1 objects of other kinds passed over\n");
  });

  test("every problem has its line and column", async () => {
    const file = join(folder, "p.yaml");
    writeFileSync(file, `${right}---\n${wrong}`);
    const { code, out } = await shunt(["validate", "-f", file]);
    assert.equal(code, 1);
    // A field that is none is told first: what else is wrong is told when the shape is right.
    assert.equal(
      out,
      `${file}:19:15: CiliumNetworkPolicy shop/wrong: spec.ingress[1].toPort: there is no such field\n1 of 2 policies are valid\n`,
    );
    writeFileSync(file, wrong.replace("    - toPort: []\n", ""));
    const { policies } = JSON.parse((await shunt(["validate", "-f", file, "-o", "json"])).out).files[0];
    assert.deepEqual(
      policies[0].problems.map(({ line, column, path }: any) => [line, column, path]),
      [
        [13, 21, "spec.ingress[0].toPorts[0].ports[1].port"],
        [9, 22, "spec.ingress[0].fromEntities[0]"],
      ],
    );
  });

  test("lists are looked into, as kubectl writes them", async () => {
    const items = [parse(right), parse(wrong)];
    const { code, out } = await shunt(
      ["validate", "-f", "-"],
      JSON.stringify({ apiVersion: "v1", kind: "List", items }, null, 1),
    );
    assert.equal(code, 1);
    assert.match(out, /items\[1\]|standard input\):\d+:\d+: CiliumNetworkPolicy shop\/wrong/);
  });

  for (const [title, text, problem] of [
    ["no YAML", "a: [b", /:1:\d+: /],
    ["a key twice", `${right}spec: {}\n`, /:5:1: .*unique/],
    ["too many names used again", `x: &a [1]\ny: [${"*a, ".repeat(200)}]\n`, /alias/i],
  ] as const)
    test(`hostile or broken text: ${title}`, async () => {
      const { code, out } = await shunt(["validate", "-f", "-"], text);
      assert.equal(code, 1);
      assert.match(out, problem);
    });

  test("a file that is not there is wrong usage", async () => {
    const { code, err } = await shunt(["validate", "-f", join(folder, "none.yaml")]);
    assert.equal(code, 2);
    assert.match(err, /Cannot read .*none\.yaml/);
  });
});

describe("trace", () => {
  const pod = (name: string, labels: object, ip: string, rest = {}) => ({
    metadata: { name, namespace: "shop", labels },
    spec: { containers: [{ ports: [{ name: "web", containerPort: 8080 }] }], ...rest },
    status: { podIPs: [{ ip }], phase: "Running", conditions: [{ type: "Ready", status: "True" }] },
  });
  const lists: Record<string, object[]> = {
    "/api/v1/pods": [
      pod("front", { app: "front" }, "10.244.1.5"),
      pod("back", { app: "back" }, "10.244.2.7"),
      pod("agent", {}, "172.31.0.2", { hostNetwork: true, nodeName: "node" }),
      pod("home", { app: "home" }, "10.244.3.4", { nodeName: "node" }),
      pod("early", {}, "", { hostNetwork: true }),
      pod("near", { app: "near" }, "10.244.3.9", { nodeName: "node" }),
    ],
    "/api/v1/namespaces": [{ metadata: { name: "shop", labels: { team: "a" } } }],
    "/api/v1/namespaces/kube-system/pods": [],
    "/apis/apps/v1/namespaces/kube-system/daemonsets": [],
    "/api/v1/services": [{ metadata: { name: "back", namespace: "shop", labels: { tier: "api" } } }],
    "/apis/discovery.k8s.io/v1/endpointslices": [
      {
        metadata: { name: "back-1", namespace: "shop", labels: { "kubernetes.io/service-name": "back" } },
        endpoints: [{ addresses: ["10.244.2.7"] }],
      },
      {
        metadata: { name: "k", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
        endpoints: [{ addresses: ["172.31.0.2"] }],
      },
      // As the API server writes it for a Service without pods.
      {
        metadata: { name: "back-2", namespace: "shop", labels: { "kubernetes.io/service-name": "back" } },
        ...{ endpoints: null, ports: null },
      },
    ],
    "/apis/shunt.dev/v1alpha1/nodes": [{ metadata: { name: "node" } }],
    "/api/v1/nodes": [
      {
        metadata: { name: "node", labels: { rack: "a" } },
        spec: { podCIDRs: ["10.244.3.0/24"] },
        status: { addresses: [{ type: "InternalIP", address: "172.31.0.2" }] },
      },
      {
        metadata: { name: "other", labels: { rack: "b" } },
        status: { addresses: [{ type: "InternalIP", address: "172.31.0.3" }] },
      },
    ],
    "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies": [
      {
        metadata: { name: "rack" },
        spec: {
          nodeSelector: { matchLabels: { rack: "a" } },
          ingress: [{ fromCIDR: ["192.0.2.0/28"], toPorts: [{ ports: [{ port: "22" }] }] }],
        },
      },
    ],
    "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies": [
      {
        metadata: { name: "away" },
        spec: {
          priority: 1,
          subject: {
            pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "home" } } },
          },
          egress: [{ action: "Deny", to: [{ networks: ["172.31.0.3/32", "10.244.2.0/24"] }] }],
        },
      },
    ],
    "/apis/networking.k8s.io/v1/networkpolicies": [
      {
        metadata: { name: "back", namespace: "shop" },
        spec: {
          podSelector: { matchLabels: { app: "back" } },
          ingress: [
            { from: [{ namespaceSelector: { matchLabels: { team: "a" } } }], ports: [{ port: "web" }] },
          ],
        },
      },
      {
        metadata: { name: "broken", namespace: "shop" },
        spec: { podSelector: {}, ingress: [{ from: [{}] }] },
      },
    ],
    "/apis/cilium.io/v2/ciliumnetworkpolicies": [
      {
        metadata: { name: "front", namespace: "shop" },
        spec: {
          endpointSelector: { matchLabels: { app: "front" } },
          ingress: [
            { fromEntities: ["kube-apiserver"], toPorts: [{ ports: [{ port: "1" }] }] },
            { fromNodes: [{ matchLabels: { rack: "a" } }], toPorts: [{ ports: [{ port: "2" }] }] },
            { fromNodes: [{ matchLabels: { rack: "b" } }], toPorts: [{ ports: [{ port: "3" }] }] },
          ],
          egress: [{ toServices: [{ k8sServiceSelector: { selector: { matchLabels: { tier: "api" } } } }] }],
        },
      },
    ],
  };
  const server = http.createServer((request, response) => {
    const items = lists[new URL(request.url!, "http://x").pathname];
    response.writeHead(items === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(
      JSON.stringify(items === undefined ? { kind: "Status", reason: "NotFound" } : { metadata: {}, items }),
    );
  });
  before(async () => {
    writeFileSync(join(folder, "config"), await kubeconfigFor(server));
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  const trace = (from: string, to: string, port: string, ...more: string[]) =>
    shunt([
      "trace",
      "--from",
      from,
      "--to",
      to,
      "--port",
      port,
      "--kubeconfig",
      join(folder, "config"),
      ...more,
    ]);

  test("both ends are asked, and what decided is named; a policy that is wrong is told", async () => {
    const { code, out, err } = await trace("shop/front", "shop/back", "8080");
    assert.equal(code, 0);
    assert.equal(
      err,
      "NetworkPolicy shop/broken is not valid and passed over: spec.ingress[0].from[0]: it names nobody: podSelector, namespaceSelector or ipBlock is needed\n",
    );
    assert.equal(
      out,
      `shop/front to shop/back, port 8080

egress of shop/front: allowed
  CiliumNetworkPolicy shop/front allows it by spec.egress[0]
ingress of shop/back: allowed
  NetworkPolicy shop/back allows it by spec.ingress[0]

allowed
`,
    );
  });

  test("an address stands for the pod that has it, else for the world", async () => {
    const found = JSON.parse((await trace("10.244.1.5", "192.0.2.1", "443", "-o", "json")).out);
    assert.deepEqual(
      [found.from, found.egress.verdict, found.ingress, found.verdict],
      ["shop/front", "denied", undefined, "denied"],
    );
    const other = JSON.parse((await trace("192.0.2.1", "shop/back", "8080/TCP", "-o", "json")).out);
    assert.deepEqual(
      [other.egress, other.ingress.policy, other.verdict],
      [undefined, "NetworkPolicy shop/back", "denied"],
    );
    assert.equal(
      JSON.parse((await trace("host", "shop/back", "1/UDP", "-o", "json")).out).verdict,
      "allowed",
    );
  });

  test("to compare, nodes with agents are asked, and who cannot be asked is named", async () => {
    const { code, out } = await shunt(["compare", "--kubeconfig", join(folder, "config"), "-o", "json"]);
    const { errors, ...rest } = JSON.parse(out);
    assert.equal(code, 1);
    assert.deepEqual(rest, {
      ...{ policies: 3, tried: 0, connections: 0, denied: 0, intercepted: 0, differences: [] },
    });
    assert.deepEqual(
      errors.map(({ node }: any) => node),
      ["node"],
    );
    assert.match(errors[0].message, /shunt-agent is not there/);
  });

  test("an address of a node stands for the node, with its labels and its API server", async () => {
    const verdicts = async (from: string) =>
      await Promise.all(
        ["1", "2", "3"].map(
          async (port) => JSON.parse((await trace(from, "shop/front", port, "-o", "json")).out).verdict,
        ),
      );
    for (const address of ["172.31.0.2", "10.244.3.1"])
      assert.deepEqual(await verdicts(address), ["allowed", "allowed", "denied"], address);
    assert.deepEqual(await verdicts("172.31.0.9"), ["denied", "denied", "denied"]);
  });

  test("a node has policies of its own, also as a pod on its network or as the other end's host", async () => {
    const traced = async (from: string, to: string) => {
      const told = await trace(from, to, "22", "-o", "json");
      assert.equal(told.code, 0, told.err);
      const { egress, ingress, verdict } = JSON.parse(told.out);
      return [egress?.policy ?? egress?.verdict, ingress?.policy ?? ingress?.verdict, verdict];
    };
    const policy = "CiliumClusterwideNetworkPolicy rack";
    for (const node of ["node:node", "172.31.0.2", "shop/agent"]) {
      assert.deepEqual(await traced("shop/back", node), ["allowed", policy, "denied"], node);
      assert.deepEqual(await traced("192.0.2.7", node), [undefined, policy, "allowed"], node);
      assert.deepEqual(await traced(node, "192.0.2.7"), ["allowed", undefined, "allowed"], node);
      assert.deepEqual(await traced(node, node), [undefined, undefined, "allowed"], node);
    }
    assert.deepEqual(await traced("node:other", "node:node"), ["allowed", policy, "denied"]);
    assert.deepEqual(await traced("node:node", "node:other"), ["allowed", "allowed", "allowed"]);
    assert.deepEqual(await traced("shop/home", "host"), ["allowed", policy, "denied"]);
  });

  test("a network holds nodes and pods, however they are named", async () => {
    for (const [to, verdict] of [
      ["node:other", "denied"],
      ["172.31.0.3", "denied"],
      ["shop/back", "denied"],
      ["node:node", "allowed"],
      ["shop/front", "allowed"],
    ] as const) {
      const told = JSON.parse((await trace("shop/home", to, "9", "-o", "json")).out);
      assert.equal(told.egress.verdict, verdict, to);
    }
  });

  for (const [title, words, code, message] of [
    ["a port that is none", ["shop/front", "shop/back", "http"], 2, /"http" is not a port/],
    ["an end that is none", ["front", "shop/back", "80"], 2, /"front" is no end/],
    ["a pod that is not there", ["shop/none", "shop/back", "80"], 1, /There is no pod shop\/none/],
    ["a pod for a node's network without one", ["shop/early", "shop/back", "80"], 1, /has no node yet/],
    ["a node that is not there", ["shop/back", "node:none", "80"], 1, /There is no node none/],
    [
      "an address of a family that the pod has not",
      ["2001:db8::1", "shop/back", "80"],
      1,
      /shop\/back has no ipv6 address/,
    ],
  ] as const)
    test(`wrong: ${title}`, async () => {
      const { code: found, err } = await trace(...(words as readonly [string, string, string]));
      assert.equal(found, code);
      assert.match(err, message);
    });
});
