// SPDX-License-Identifier: Apache-2.0
// What nodes answer about policies, as the command line tells it.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { parse } from "yaml";
import type { EndpointView, PolicyView } from "../../agent/policy/policy-views.ts";
import { parsePolicy } from "../../agent/policy/validate.ts";
import { type PolicyKind, policyResources } from "../../lib/policy-schema.ts";
import { ruleWords, subjectWords } from "./policy-words.ts";
import { PlayedCluster } from "./testing-agents.ts";
import { runCli } from "./testing-cli.ts";

const cluster = new PlayedCluster();
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "shunt-policy-list-"));
  writeFileSync(join(folder, "config"), await cluster.start());
});
after(() => {
  cluster.stop();
  rmSync(folder, { recursive: true });
});

const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000 - 1_000).toISOString();
const meta = (namespace: string | undefined, name: string) => ({
  name,
  ...(namespace === undefined ? {} : { namespace }),
  creationTimestamp: minutesAgo(5),
});
const backend = {
  metadata: meta("shop", "backend"),
  spec: {
    podSelector: { matchLabels: { app: "backend" } },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: "front" } } }], ports: [{ port: 8080 }] }],
  },
};
const broken = {
  metadata: meta("shop", "broken"),
  spec: { endpointSelector: {}, egress: [{ toFQDNs: [{ matchName: "example.org" }] }] },
  status: { conditions: [{ type: "Valid", status: "False", message: "toFQDNs is not\u001b[2J supported" }] },
};
const clusterwide = { metadata: meta(undefined, "dns"), spec: { endpointSelector: {}, egress: [{}] } };

const view = (kind: string, namespace: string, name: string, rest: Partial<PolicyView>): PolicyView => ({
  ...{ kind, namespace, name, inForce: true, message: "", tier: "namespace", rules: 1, pods: [] },
  isolates: { ingress: true, egress: false },
  ...rest,
});
const brokenView = (message: string) =>
  view("CiliumNetworkPolicy", "shop", "broken", { inForce: false, message });
const answer = (mode: string, ...policies: PolicyView[]) => ({ mode, policies });

beforeEach(() => {
  cluster.nodes = { n1: "a1", n2: "a2", n3: "a3" };
  const ofCluster = view("CiliumClusterwideNetworkPolicy", "", "dns", {});
  const ofShop = (...pods: string[]) => view("NetworkPolicy", "shop", "backend", { pods });
  cluster.answers = {
    a1: answer("enforce", ofShop("shop/backend-1"), ofCluster, brokenView("no\nsuch thing")),
    a2: answer("audit", ofShop("shop/backend-2"), ofCluster, brokenView("no\nsuch thing")),
    a3: answer("off"),
  };
  const list = (...items: object[]) => ({ metadata: {}, items });
  cluster.objects = {
    "/apis/networking.k8s.io/v1/networkpolicies": list(backend),
    "/apis/cilium.io/v2/ciliumnetworkpolicies": list(broken),
    "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies": list(clusterwide),
  };
  cluster.asked = [];
  cluster.delaysMs = {};
});

const shunt = (...words: string[]) => runCli(["policy", ...words, "--kubeconfig", join(folder, "config")]);

test("a list tells of each policy whether it is valid, where it is in force and why not", async () => {
  const { code, out, err } = await shunt("list");
  assert.deepEqual([code, err], [0, ""]);
  assert.equal(
    out,
    `KIND                            NAMESPACE  NAME     VALID  IN FORCE        PODS  AGE
CiliumClusterwideNetworkPolicy  -          dns      True   1/3, 1 audited     0  5m
NetworkPolicy                   shop       backend  True   1/3, 1 audited     2  5m
CiliumNetworkPolicy             shop       broken   False  0/3                0  5m

Not in force:
  policies are off on n3
  CiliumNetworkPolicy shop/broken
    n1, n2: no\u{fffd}such thing
`,
  );
  assert.deepEqual(cluster.asked.length, 3);
  const { policies } = JSON.parse((await shunt("list", "-n", "shop", "-o", "json")).out);
  assert.deepEqual(
    policies.map(({ name, valid, nodes }: any) => [name, valid, nodes.map((one: any) => one.inForce)]),
    [
      ["backend", true, [true, true, false]],
      ["broken", false, [false, false, false]],
    ],
  );
});

test("one policy is told with its rules in words and each node, in their order", async () => {
  cluster.delaysMs = { a1: 100 };
  const { code, out } = await shunt("get", "shop/backend");
  assert.equal(code, 0);
  assert.equal(
    out,
    `NetworkPolicy shop/backend
  valid     True
  about     pods app=backend in namespace shop
  isolates  ingress
  age       5m

Rules:
  spec.ingress[0]: allow ingress from pods app=front in namespace shop on 8080/TCP

NODE  IN FORCE  PODS            WHY
n1    yes       shop/backend-1
n2    audited   shop/backend-2
n3    no        -               policies are off here
`,
  );
});

test("nothing that a policy says reaches the terminal as it is", async () => {
  const { out } = await shunt("get", "shop/broken");
  assert.match(out, /valid {5}False: toFQDNs is not\u{fffd}\[2J supported\n/u);
  for (const output of ["json", "yaml"]) {
    const found = (await shunt("get", "shop/broken", "-o", output)).out;
    assert.doesNotMatch(found, /[^\P{Cc}\n]/u);
    assert.equal(parse(found).message, "toFQDNs is not\u001b[2J supported");
  }
});

test("a policy is named with its kind where that is needed", async () => {
  for (const name of ["dns", "ccnp/dns", "CiliumClusterwideNetworkPolicy/dns"])
    assert.match((await shunt("get", name)).out, /^CiliumClusterwideNetworkPolicy dns\n/);
  const items = [{ ...broken, metadata: backend.metadata }];
  cluster.objects["/apis/cilium.io/v2/ciliumnetworkpolicies"] = { metadata: {}, items };
  const both = await shunt("get", "shop/backend");
  assert.equal(both.code, 2);
  assert.match(both.err, /netpol\/shop\/backend or cnp\/shop\/backend/);
  assert.match((await shunt("get", "cnp/shop/backend")).out, /^CiliumNetworkPolicy shop\/backend\n/);
  // Cilium's kind and ClusterNetworkPolicy have one short name: the one has a namespace, the other none.
  const spec = { tier: "Baseline", priority: 7, subject: { namespaces: {} } };
  cluster.objects["/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"] = {
    metadata: {},
    items: [{ metadata: meta(undefined, "dns"), spec }],
  };
  assert.match((await shunt("get", "dns")).err, /ccnp\/dns or cnp\/dns/);
  const { out } = await shunt("get", "cnp/dns");
  assert.match(out, /^ClusterNetworkPolicy dns\n.*\n {2}tier {6}baseline, priority 7\n/);
  assert.match((await shunt("get", "cnp/shop/backend")).out, /^CiliumNetworkPolicy shop\/backend\n/);
  assert.equal((await shunt("get", "shop/none")).code, 1);
  assert.equal((await shunt("get", "a/b/c/d")).code, 2);
});

test("a node that does not answer is told, and the rest is shown", async () => {
  cluster.answers.a2 = "wget: server returned error: HTTP/1.1 404 Not Found\n";
  for (const words of [["list"], ["get", "shop/backend"]]) {
    const { code, out, err } = await shunt(...words);
    assert.equal(code, 1);
    assert.match(err, /^No answer from node n2: its agent is of a version that cannot tell/);
    assert.match(out, /backend/);
  }
});

test("the pods of the nodes are told with how they are judged", async () => {
  const endpoint = (pod: string, rest: Partial<EndpointView> = {}): EndpointView => ({
    ...{ pod, addresses: ["10.0.0.1", "fd00::1"], identity: 300, ingress: "enforced", egress: "none" },
    labels: { "k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "shop" },
    policies: ["NetworkPolicy shop/web"],
    ...rest,
  });
  const fresh = endpoint("other/b", { identity: 0, ingress: "none", labels: {}, policies: [] });
  const host = endpoint("host", {
    identity: 1,
    labels: { "reserved:host": "", "node:rack": "a" },
    policies: [],
  });
  cluster.answers = { a1: [endpoint("shop/b"), endpoint("shop/a"), fresh], a2: [host], a3: [] };
  const { code, out } = await shunt("endpoints");
  assert.equal(code, 0);
  assert.equal(
    out,
    `NODE  POD      ADDRESSES         IDENTITY  INGRESS   EGRESS  POLICIES                LABELS
n1    other/b  10.0.0.1,fd00::1  -         none      none    -                       -
n1    shop/a   10.0.0.1,fd00::1  300       enforced  none    NetworkPolicy shop/web  app=web
n1    shop/b   10.0.0.1,fd00::1  300       enforced  none    NetworkPolicy shop/web  app=web
n2    host     10.0.0.1,fd00::1  1         enforced  none    -                       rack=a
`,
  );
  cluster.asked = [];
  const { endpoints } = JSON.parse(
    (await shunt("endpoints", "-n", "shop", "--node", "n1", "-o", "json")).out,
  );
  assert.deepEqual(
    endpoints.map(({ pod }: any) => pod),
    ["shop/a", "shop/b"],
  );
  assert.deepEqual(cluster.asked, ["a1 http://127.0.0.1:4242/policy/endpoints?"]);
  assert.equal((await shunt("endpoints", "--node", "none")).code, 2);
});

test("rules are told in words", () => {
  const words = (spec: object, kind: PolicyKind = "CiliumNetworkPolicy") => {
    const { apiVersion } = policyResources[kind];
    const metadata = { name: "p", ...(/wide|Admin|Cluster/.test(kind) ? {} : { namespace: "shop" }) };
    const { policies, problems } = parsePolicy({ apiVersion, kind, metadata, spec });
    assert.deepEqual(problems, []);
    return policies.flatMap((policy) => [subjectWords(policy), ...policy.rules.map(ruleWords)]);
  };
  const port = (...ports: object[]) => ({ toPorts: [{ ports }] });
  assert.deepEqual(
    words({
      endpointSelector: { matchExpressions: [{ key: "app", operator: "In", values: ["a", "b"] }] },
      ingress: [
        { fromEntities: ["world", "host"], ...port({ port: "53", protocol: "ANY" }) },
        { fromEntities: ["all"] },
        { fromNodes: [{ matchLabels: { rack: "a" } }] },
        { icmps: [{ fields: [{ type: 8 }] }] },
      ],
      ingressDeny: [{ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] }],
      egress: [
        { toServices: [{ k8sService: { serviceName: "db", namespace: "data" } }] },
        { toEndpoints: [{}], ...port({ port: "8000", endPort: 8010, protocol: "TCP" }, { port: "web" }) },
      ],
    }),
    [
      "pods app in (a, b) in namespace shop",
      "allow ingress from world or host on 53",
      "allow ingress from everybody",
      "allow ingress from host with rack=a or remote-node with rack=a",
      "allow ingress from everybody on ICMP type 8",
      "deny ingress from 10.0.0.0/8 except 10.1.0.0/16",
      "allow egress to what is behind Service db in namespace data",
      "allow egress to all pods in namespace shop on 8000–8010/TCP and web",
    ],
  );
  assert.deepEqual(
    words(
      {
        podSelector: {},
        egress: [{ to: [{ namespaceSelector: { matchLabels: { team: "a" } } }, { namespaceSelector: {} }] }],
      },
      "NetworkPolicy",
    ),
    ["all pods in namespace shop", "allow egress to all pods in namespaces with team=a or all pods"],
  );
  const node = { nodes: { matchLabels: { rack: "a" } } };
  const team = { namespaces: { matchLabels: { team: "a" } } };
  assert.deepEqual(
    words(
      {
        ...{ priority: 7, subject: team },
        egress: [
          { action: "Pass", to: [node, { namespaces: {} }] },
          { action: "Deny", to: [{ networks: ["192.0.2.0/24", "2001:db8::/32"] }] },
        ],
      },
      "AdminNetworkPolicy",
    ),
    [
      "all pods in namespaces with team=a",
      "pass egress to host with rack=a, remote-node with rack=a or all pods",
      "deny egress to 192.0.2.0/24 or 2001:db8::/32",
    ],
  );
  const protocols = [
    { udp: { destinationPort: { range: { start: 7, end: 9 } } } },
    { destinationNamedPort: "web" },
  ];
  assert.deepEqual(
    words(
      {
        ...{ tier: "Admin", priority: 7, subject: team },
        ingress: [{ action: "Accept", from: [{ namespaces: {} }], protocols }],
      },
      "ClusterNetworkPolicy",
    ),
    ["all pods in namespaces with team=a", "allow ingress from all pods on 7–9/UDP and web"],
  );
  assert.deepEqual(words({ endpointSelector: {} }, "CiliumClusterwideNetworkPolicy"), ["all pods"]);
  assert.deepEqual(words({ nodeSelector: {} }, "CiliumClusterwideNetworkPolicy"), ["all nodes"]);
});
