// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { addressBytes, parseCidr } from "../../lib/addresses.ts";
import { compile, type PortTable } from "./compile.ts";
import { type Connection, decide, type End } from "./decide.ts";
import { type Labels, type Policy, pathText } from "./model.ts";
import { PeerIndex } from "./peer-index.ts";
import { parsePolicy } from "./validate.ts";

const head = {
  np: "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\n",
  cnp: "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\n",
  anp: "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: p}\n",
  banp: "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: default}\n",
  ccnp: "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: p}\n",
};
type Kind = keyof typeof head;
const read = (kind: Kind, body: string) => parsePolicy(parse(head[kind] + body));
const policies = (kind: Kind, body: string): Policy[] => {
  const parsed = read(kind, body);
  assert.deepEqual(parsed.problems, []);
  return [...parsed.policies];
};

describe("what is refused, and where", () => {
  const long = "a".repeat(64);
  const cnp = (rule: string) => `spec: {endpointSelector: {}, ${rule}}`;
  const admin = (rule: string) => `spec: {priority: 1, subject: {namespaces: {}}, ingress: [${rule}]}`;
  const adminTo = (peers: string, more = "") =>
    `spec: {priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [${peers}]${more}}]}`;
  const cases: [title: string, kind: Kind, body: string, problem: RegExp][] = [
    ["no spec", "np", "spec: null", /needs spec/],
    ["a field that is none", "np", "spec: {podSelektor: {}}", /^spec\.podSelektor: there is no such field/],
    [
      "a rule field that is none",
      "np",
      "spec: {podSelector: {}, ingress: [{form: []}]}",
      /^spec\.ingress\[0\]\.form: there is no such field/,
    ],
    ["a list that is none", "np", "spec: {podSelector: {}, ingress: {}}", /^spec\.ingress: must be array/],
    [
      "a policy type that is none",
      "np",
      "spec: {podSelector: {}, policyTypes: [Both]}",
      /policyTypes\[0\]: must be one of Ingress, Egress/,
    ],
    [
      "a label key that is none",
      "np",
      'spec: {podSelector: {matchLabels: {"a b": c}}}',
      /"a b" is no label key/,
    ],
    [
      "a label key with two prefixes",
      "np",
      "spec: {podSelector: {matchLabels: {a/b/c: d}}}",
      /more than one/,
    ],
    [
      "a label value that is none",
      "np",
      `spec: {podSelector: {matchLabels: {a: ${long}}}}`,
      /is no label value/,
    ],
    [
      "an operator that is none",
      "np",
      "spec: {podSelector: {matchExpressions: [{key: a, operator: Is}]}}",
      /"Is" is none of In/,
    ],
    [
      "In without values",
      "np",
      "spec: {podSelector: {matchExpressions: [{key: a, operator: In}]}}",
      /In needs values/,
    ],
    [
      "Exists with values",
      "np",
      "spec: {podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
      /Exists takes no values/,
    ],
    ["a peer that is nobody", "np", "spec: {podSelector: {}, ingress: [{from: [{}]}]}", /names nobody/],
    [
      "a block beside a selector",
      "np",
      "spec: {podSelector: {}, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
      /stands alone/,
    ],
    [
      "a block that is none",
      "np",
      "spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}",
      /ipBlock\.cidr: .*not a CIDR/,
    ],
    [
      "an exception outside of its block",
      "np",
      "spec: {podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}",
      /except\[0\]: 11\.0\.0\.0\/16 is not strictly within/,
    ],
    [
      "an exception of the other family",
      "np",
      "spec: {podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: ['2001:db8::/64']}}]}]}",
      /is not strictly within/,
    ],
    [
      "a protocol that is none",
      "np",
      "spec: {podSelector: {}, ingress: [{ports: [{protocol: ICMP}]}]}",
      /"ICMP" is none of TCP, UDP, SCTP/,
    ],
    [
      "a port that is none",
      "np",
      "spec: {podSelector: {}, ingress: [{ports: [{port: 70000}]}]}",
      /70000 is no port/,
    ],
    ["port 0", "np", "spec: {podSelector: {}, ingress: [{ports: [{port: 0}]}]}", /0 is no port/],
    [
      "a port's name that is none",
      "np",
      "spec: {podSelector: {}, ingress: [{ports: [{port: Not_a_name}]}]}",
      /neither a port/,
    ],
    [
      "a range that ends before it begins",
      "np",
      "spec: {podSelector: {}, ingress: [{ports: [{port: 80, endPort: 79}]}]}",
      /endPort: 79 is no end/,
    ],
    [
      "a range without a beginning",
      "np",
      "spec: {podSelector: {}, ingress: [{ports: [{endPort: 79}]}]}",
      /endPort needs port/,
    ],
    [
      "a range of a name",
      "np",
      "spec: {podSelector: {}, ingress: [{ports: [{port: web, endPort: 79}]}]}",
      /named port has no range/,
    ],
    ["neither spec nor specs", "cnp", "", /neither spec nor specs/],
    ["no selector", "cnp", "spec: {ingress: []}", /one of endpointSelector and nodeSelector/],
    [
      "two selectors",
      "ccnp",
      "spec: {endpointSelector: {}, nodeSelector: {}}",
      /one of endpointSelector and nodeSelector/,
    ],
    [
      "a port of a node by name",
      "ccnp",
      "spec: {nodeSelector: {}, ingress: [{toPorts: [{ports: [{port: ssh}]}]}]}",
      /ports of nodes have no names/,
    ],
    ["nodes in a namespace", "cnp", "spec: {nodeSelector: {}}", /nodes have no namespace/],
    [
      "pods of another namespace",
      "cnp",
      "spec: {endpointSelector: {matchLabels: {'k8s:io.kubernetes.pod.namespace': other}}}",
      /another namespace than its own, shop/,
    ],
    [
      "peers of two kinds in a rule",
      "cnp",
      cnp("ingress: [{fromEndpoints: [{}], fromCIDR: [10.0.0.0/8]}]"),
      /fromEndpoints and fromCIDR cannot stand in one rule/,
    ],
    [
      "an entity that is none",
      "cnp",
      cnp("ingress: [{fromEntities: [internet]}]"),
      /"internet" is no entity/,
    ],
    ["a CIDR that is none", "cnp", cnp("egress: [{toCIDR: [10.0.0.0/33]}]"), /is not a CIDR/],
    [
      "a CIDR of a set outside of it",
      "cnp",
      cnp("egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [12.0.0.0/8]}]}]"),
      /12\.0\.0\.0\/8 is not within/,
    ],
    [
      "a group of CIDRs",
      "cnp",
      cnp("egress: [{toCIDRSet: [{cidrGroupRef: vpn}]}]"),
      /groups of CIDRs are not supported/,
    ],
    ["requirements", "cnp", cnp("ingress: [{fromRequires: [{}]}]"), /fromRequires is deprecated/],
    ["cloud groups", "cnp", cnp("egress: [{toGroups: [{aws: {}}]}]"), /toGroups .* not supported/],
    [
      "DNS names",
      "cnp",
      cnp("egress: [{toFQDNs: [{matchName: example.com}]}]"),
      /toFQDNs is not supported yet/,
    ],
    [
      "authentication",
      "cnp",
      cnp("ingress: [{authentication: {mode: required}}]"),
      /authentication is not supported/,
    ],
    [
      "rules of HTTP",
      "cnp",
      cnp("ingress: [{toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{method: GET}]}}]}]"),
      /layer 7 are not supported yet/,
    ],
    [
      "names of TLS",
      "cnp",
      cnp("egress: [{toPorts: [{ports: [{port: '443'}], serverNames: [a]}]}]"),
      /serverNames is not supported/,
    ],
    [
      "a port as a number",
      "cnp",
      cnp("ingress: [{toPorts: [{ports: [{port: 80}]}]}]"),
      /ports\[0\]\.port: must be string/,
    ],
    [
      "a port that is none of Cilium's",
      "cnp",
      cnp("ingress: [{toPorts: [{ports: [{port: '65536'}]}]}]"),
      /65536 is no port/,
    ],
    [
      "a protocol of Cilium's that is none",
      "cnp",
      cnp("ingress: [{toPorts: [{ports: [{port: '80', protocol: ICMP}]}]}]"),
      /for ICMP: icmps/,
    ],
    [
      "too many ports",
      "cnp",
      cnp(`ingress: [{toPorts: [{ports: [${"{port: '80'},".repeat(41)}]}]}]`),
      /41 ports are more than 40/,
    ],
    [
      "ICMP beside ports",
      "cnp",
      cnp("ingress: [{icmps: [{fields: [{type: 8}]}], toPorts: [{ports: [{port: '80'}]}]}]"),
      /icmps cannot stand beside toPorts/,
    ],
    [
      "a type of ICMP that is none",
      "cnp",
      cnp("ingress: [{icmps: [{fields: [{type: Ping}]}]}]"),
      /"Ping" is no type of IPv4's ICMP/,
    ],
    [
      "a type of ICMP beyond a byte",
      "cnp",
      cnp("ingress: [{icmps: [{fields: [{type: 256}]}]}]"),
      /is no type/,
    ],
    [
      "services beside ports",
      "cnp",
      cnp("egress: [{toServices: [{k8sService: {serviceName: a}}], toPorts: [{ports: [{port: '80'}]}]}]"),
      /toPorts cannot stand beside toServices/,
    ],
    [
      "a service without a name",
      "cnp",
      cnp("egress: [{toServices: [{k8sService: {namespace: a}}]}]"),
      /needs serviceName/,
    ],
    ["an admin's policy without priority", "anp", "spec: {subject: {namespaces: {}}}", /needs priority/],
    [
      "a priority that is none",
      "anp",
      "spec: {priority: 1001, subject: {namespaces: {}}}",
      /^spec\.priority: must be <= 1000/,
    ],
    ["a subject of nobody", "anp", "spec: {priority: 1, subject: {}}", /one of namespaces and pods/],
    [
      "a subject said twice",
      "banp",
      "spec: {subject: {namespaces: {}, pods: {namespaceSelector: {}, podSelector: {}}}}",
      /^spec\.subject: it must have one of/,
    ],
    [
      "an action that is none",
      "anp",
      admin("{action: Drop, from: [{namespaces: {}}]}"),
      /one of Allow, Deny, Pass/,
    ],
    [
      "a baseline that passes",
      "banp",
      "spec: {subject: {namespaces: {}}, ingress: [{action: Pass, from: [{namespaces: {}}]}]}",
      /^spec\.ingress\[0\]\.action: must be one of Allow, Deny$/,
    ],
    [
      "an admin's rule without peers",
      "anp",
      admin("{action: Deny, from: []}"),
      /from: it needs at least one/,
    ],
    [
      "an admin's ingress from nodes",
      "anp",
      admin("{action: Deny, from: [{nodes: {}}]}"),
      /from\[0\]\.nodes: there is no such field/,
    ],
    ["a network that is none", "anp", adminTo("{networks: [10.0.0.0]}"), /networks\[0\]: .*not a CIDR/],
    ["a network of nothing", "anp", adminTo("{networks: ['10.0.0.0/33']}"), /networks\[0\]: .*not a CIDR/],
    [
      "a network of two families",
      "anp",
      adminTo("{networks: ['::ffff:10.0.0.0/8']}"),
      /networks\[0\]: .*not a CIDR/,
    ],
    ["no networks", "anp", adminTo("{networks: []}"), /^spec\.egress\[0\]\.to\[0\]\.networks: must NOT have/],
    [
      "too many networks",
      "banp",
      `spec: {subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [${Array.from({ length: 26 }, (_, at) => `10.0.${at}.0/24`).join()}]}]}]}`,
      /networks: must NOT have more than 25 items/,
    ],
    [
      "a network twice",
      "anp",
      adminTo("{networks: [10.0.0.0/8, 11.0.0.0/8, 10.0.0.0/8]}"),
      /networks\[2\]: 10\.0\.0\.0\/8 is there already/,
    ],
    [
      "networks beside pods",
      "anp",
      adminTo("{networks: [10.0.0.0/8], namespaces: {}}"),
      /to\[0\]: it must have one of namespaces, pods, nodes and networks/,
    ],
    [
      "networks beside nodes",
      "anp",
      adminTo("{networks: [10.0.0.0/8], nodes: {}}"),
      /to\[0\]: it must have one of namespaces, pods, nodes and networks/,
    ],
    [
      "an admin's ingress from networks",
      "anp",
      admin("{action: Deny, from: [{networks: [10.0.0.0/8]}]}"),
      /from\[0\]\.networks: there is no such field/,
    ],
    [
      "a port's name for networks",
      "anp",
      adminTo(
        "{networks: [10.0.0.0/8]}, {namespaces: {}}",
        ", ports: [{portNumber: {port: 1}}, {namedPort: web}]",
      ),
      /ports\[1\]\.namedPort: ports of networks have no names/,
    ],
    [
      "an admin's domain names",
      "anp",
      "spec: {priority: 1, subject: {namespaces: {}}, egress: [{action: Allow, to: [{domainNames: [a.example]}]}]}",
      /names are not supported/,
    ],
    [
      "an admin's port of two kinds",
      "anp",
      admin("{action: Deny, from: [{namespaces: {}}], ports: [{namedPort: a, portNumber: {port: 1}}]}"),
      /one of portNumber, portRange and namedPort/,
    ],
    [
      "an admin's range that ends before it begins",
      "anp",
      admin("{action: Deny, from: [{namespaces: {}}], ports: [{portRange: {start: 9, end: 8}}]}"),
      /portRange\.end: 8 is before its start/,
    ],
    [
      "a service's two names",
      "cnp",
      cnp("egress: [{toServices: [{k8sService: {serviceName: a}, k8sServiceSelector: {selector: {}}}]}]"),
      /one of k8sService and/,
    ],
  ];
  test("names that are none", () => {
    for (const metadata of [
      { name: 5 },
      { name: "p", namespace: { toString: 0 } },
      { name: "p", namespace: ["a"] },
    ]) {
      const object = parse(`${head.np}spec: {podSelector: {}}`);
      const { policies: used, problems } = parsePolicy({ ...object, metadata });
      assert.deepEqual([used, problems.length], [[], 1]);
    }
  });
  for (const [title, kind, body, problem] of cases)
    test(title, () => {
      const { policies: used, problems } = read(kind, body);
      assert.deepEqual(used, [], "nothing of it may be used");
      const texts = problems.map(({ path, message }) => `${pathText(path)}: ${message}`);
      assert.ok(
        texts.some((text) => problem.test(text)),
        texts.join("\n"),
      );
    });
});

const pod = (namespace: string, labels: Record<string, string>, address = "10.244.1.9"): End => ({
  labels: new Map([
    ["k8s:io.kubernetes.pod.namespace", namespace],
    ...Object.entries(labels).map(([key, value]): [string, string] => [`k8s:${key}`, value]),
  ]),
  address: addressBytes(address),
  ports: [{ name: "dns", port: 53, protocol: 17 }],
});
const world = (address: string): End => ({
  labels: new Map([
    ["reserved:world", ""],
    [`reserved:world-${address.includes(":") ? "ipv6" : "ipv4"}`, ""],
  ]),
  address: addressBytes(address),
  ports: [],
});
const node: End = { labels: new Map([["reserved:host", ""]]), ports: [] };
const backend = pod("shop", { app: "backend" });
const frontend = pod("shop", { app: "frontend" });

/** `direction` is the subject's. */
const allows = (
  all: readonly Policy[],
  direction: Connection["direction"],
  subject: End,
  peer: End,
  port = 8080,
  protocol = 6,
) => decide(all, { direction, subject, peer, protocol, port }).verdict === "allowed";

describe("what policies mean", () => {
  test("a policy without rules isolates, an object without them does not", () => {
    const deny = policies("np", "spec: {podSelector: {}}");
    assert.ok(!allows(deny, "ingress", backend, frontend));
    assert.ok(allows(deny, "egress", backend, frontend));
    // A pod's own node reaches it always: kubelet's probes come from there.
    assert.ok(allows(deny, "ingress", backend, node));
    assert.ok(allows(policies("cnp", "spec: {endpointSelector: {}}"), "ingress", backend, frontend));
    assert.ok(
      !allows(policies("cnp", "spec: {endpointSelector: {}, ingress: [{}]}"), "ingress", backend, frontend),
    );
  });

  test("in Cilium's kinds an empty selector is the namespace, in clusterwide ones every pod, and never the world", () => {
    const own = policies("cnp", "spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}");
    const wide = policies("ccnp", "spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}");
    const other = pod("other", {});
    assert.deepEqual(
      [own, wide].map((all) =>
        [frontend, other, world("192.0.2.1")].map((peer) => allows(all, "ingress", backend, peer)),
      ),
      [
        [true, false, false],
        [true, true, false],
      ],
    );
    assert.ok(
      !allows(
        policies("cnp", "spec: {endpointSelector: {}, ingress: [{fromEndpoints: []}]}"),
        "ingress",
        backend,
        frontend,
      ),
    );
  });

  test("denied goes before allowed, whatever the order", () => {
    const all = policies(
      "cnp",
      `specs:
- {endpointSelector: {}, ingress: [{fromEntities: [all]}]}
- {endpointSelector: {}, ingressDeny: [{fromEndpoints: [{matchLabels: {app: frontend}}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]}`,
    );
    assert.ok(!allows(all, "ingress", backend, frontend));
    assert.ok(allows(all, "ingress", backend, frontend, 8081));
    assert.ok(allows(all, "ingress", backend, world("192.0.2.1")));
  });

  test("enableDefaultDeny false: rules hold, the rest passes", () => {
    const all = policies(
      "cnp",
      "spec: {endpointSelector: {}, enableDefaultDeny: {egress: false}, egressDeny: [{toCIDR: [192.0.2.1]}]}",
    );
    assert.ok(!allows(all, "egress", backend, world("192.0.2.1")));
    assert.ok(allows(all, "egress", backend, world("192.0.2.2")));
  });

  test("CIDRs of Cilium's kinds are about the world, those of NetworkPolicy about pods too", () => {
    const cilium = policies("cnp", "spec: {endpointSelector: {}, egress: [{toCIDR: [10.0.0.0/8]}]}");
    const standard = policies(
      "np",
      "spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}",
    );
    assert.deepEqual(
      [cilium, standard].map((all) =>
        [frontend, world("10.9.9.9")].map((peer) => allows(all, "egress", backend, peer)),
      ),
      [
        [false, true],
        [true, true],
      ],
    );
  });

  test("ICMP by its types, with a name or a number, and not by ports", () => {
    const ping = policies(
      "cnp",
      "spec: {endpointSelector: {}, ingress: [{icmps: [{fields: [{type: EchoRequest}, {family: IPv6, type: 128}]}]}]}",
    );
    assert.deepEqual(
      [
        [8, 1],
        [0, 1],
        [128, 58],
        [8, 6],
      ].map(([port, protocol]) => allows(ping, "ingress", backend, frontend, port, protocol)),
      [true, false, true, false],
    );
    const ports = policies(
      "cnp",
      'spec: {endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: "0"}]}]}]}',
    );
    assert.deepEqual(
      [6, 17, 132, 1].map((protocol) => allows(ports, "ingress", backend, frontend, 8, protocol)),
      [true, true, true, false],
    );
  });

  test("a named port is the receiver's: of the subject at ingress, of the peer at egress", () => {
    const body = "toPorts: [{ports: [{port: dns, protocol: UDP}]}]";
    const both = policies("cnp", `spec: {endpointSelector: {}, ingress: [{${body}}], egress: [{${body}}]}`);
    for (const direction of ["ingress", "egress"] as const) {
      assert.ok(allows(both, direction, backend, frontend, 53, 17));
      assert.ok(!allows(both, direction, backend, frontend, 54, 17));
    }
  });

  test("a selector of nodes selects nodes alone, also the empty one", () => {
    const all = policies(
      "cnp",
      "spec: {endpointSelector: {}, ingress: [{fromNodes: [{}]}], egress: [{toNodes: [{}]}]}",
    );
    const remote: End = { labels: new Map([["reserved:remote-node", ""]]), ports: [] };
    for (const direction of ["ingress", "egress"] as const)
      assert.deepEqual(
        [node, remote, frontend, world("192.0.2.1")].map((peer) => allows(all, direction, backend, peer)),
        [true, true, false, false],
        direction,
      );
  });

  test("a policy of nodes is about nodes alone", () => {
    const all = policies("ccnp", "spec: {nodeSelector: {}, ingress: [{fromEntities: [cluster]}]}");
    assert.ok(allows(all, "ingress", backend, world("192.0.2.1")));
    assert.ok(!allows(all, "ingress", node, world("192.0.2.1")));
    assert.ok(allows(all, "ingress", node, backend));
  });

  test("what decided is named", () => {
    const all = policies(
      "np",
      "spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}, {from: [{podSelector: {}}]}]}",
    );
    const { policy, rule, reason } = decide(all, {
      direction: "ingress",
      subject: backend,
      peer: frontend,
      protocol: 6,
      port: 81,
    });
    assert.deepEqual([policy, rule], ["NetworkPolicy shop/p", "spec.ingress[1]"]);
    assert.match(reason, /allows it by spec\.ingress\[1\]/);
  });
});

test("the admin and baseline tiers go before and after those of namespaces", () => {
  const subject = [{ key: "k8s:io.kubernetes.pod.namespace", operator: "Exists" as const, values: [] }];
  const tiered = (
    tier: Policy["tier"],
    priority: number,
    action: "allow" | "deny" | "pass",
    port: number,
  ): Policy => ({
    ...{ name: `${tier}-${priority}`, tier, priority, subject, ofNodes: false },
    isolates: { ingress: false, egress: false },
    rules: [
      {
        direction: "ingress",
        action,
        peers: undefined,
        ports: [{ protocol: 6, first: port, last: port }],
        at: "spec.ingress[0]",
      },
    ],
  });
  const isolated = policies("np", "spec: {podSelector: {}, ingress: [{ports: [{port: 2}, {port: 3}]}]}");
  const all = [
    ...[tiered("baseline", 0, "deny", 5), ...isolated],
    ...[tiered("admin", 9, "allow", 1), tiered("admin", 1, "deny", 1), tiered("admin", 5, "deny", 2)],
    ...[tiered("admin", 3, "pass", 3), tiered("admin", 4, "deny", 3), tiered("admin", 7, "allow", 4)],
  ];
  const expected = { 1: false, 2: false, 3: true, 4: true, 5: false };
  const found = Object.keys(expected).map((port) => [
    port,
    allows(all, "ingress", backend, frontend, Number(port)),
  ]);
  assert.deepEqual(Object.fromEntries(found), expected);
  const labels: Labels = frontend.labels;
  const compiled = compile(all, "ingress", backend, new PeerIndex([{ id: 7, labels, ports: [] }]))!;
  const table = compiled.tables.get(7) ?? compiled.everybody;
  const look = (port: number) =>
    (table.ports.find(({ first, last }) => first <= port && port <= last) ?? table.rest).verdict;
  assert.deepEqual([1, 2, 3, 4, 5].map(look), ["deny", "deny", "allow", "allow", "unless"]);
  // Without a policy of its namespace the baseline decides.
  const baseline = [tiered("baseline", 0, "deny", 5)];
  assert.deepEqual(
    [4, 5].map((port) => allows(baseline, "ingress", backend, frontend, port)),
    [true, false],
  );
});

test("an admin's policy is about pods by their namespaces' labels, in order of priority, and about nodes", () => {
  const inTeam = (namespace: string, team: string, labels = {}): End => {
    const { labels: own, ...end } = pod(namespace, labels);
    return { ...end, labels: new Map([...own, ["k8s:io.cilium.k8s.namespace.labels.team", team]]) };
  };
  const [a, b, test] = [inTeam("x", "a"), inTeam("y", "b"), inTeam("z", "b", { env: "test" })];
  const anp = (name: string, body: string) =>
    policies("anp", body).map((one) => ({ ...one, name: `AdminNetworkPolicy ${name}` }));
  const all = [
    ...anp(
      "late",
      "spec: {priority: 9, subject: {namespaces: {matchLabels: {team: a}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
    ),
    ...anp(
      "early",
      `spec:
  priority: 3
  subject: {pods: {namespaceSelector: {matchLabels: {team: a}}, podSelector: {}}}
  ingress:
    - {action: Deny, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {env: test}}}}]}
    - action: Allow
      from: [{namespaces: {matchLabels: {team: b}}}]
      ports: [{portNumber: {port: 80}}, {portRange: {protocol: UDP, start: 7, end: 9}}, {namedPort: dns}]
  egress: [{action: Deny, to: [{nodes: {matchLabels: {rack: one}}}]}]`,
    ),
  ];
  const judged = (peer: End, port: number, protocol = 6) => allows(all, "ingress", a, peer, port, protocol);
  assert.deepEqual([judged(b, 80), judged(b, 81), judged(test, 80)], [true, false, false]);
  assert.deepEqual(
    [6, 7, 9, 10].map((port) => judged(b, port, 17)),
    [false, true, true, false],
  );
  assert.deepEqual([judged(b, 53, 17), judged(b, 53)], [true, false], "the receiver's port of that name");
  assert.equal(judged(world("192.0.2.1"), 80), true, "the world is in no namespace");
  assert.equal(allows(all, "ingress", b, a, 81), true, "other subjects are left alone");
  const rack = (name: string): End => ({
    labels: new Map([
      ["reserved:remote-node", ""],
      ["node:rack", name],
    ]),
    ports: [],
  });
  assert.deepEqual(
    ["one", "two"].map((name) => allows(all, "egress", a, rack(name))),
    [false, true],
  );
});

describe("networks in tables", () => {
  const rules = (...all: [action: string, ...networks: string[]][]) => {
    const egress = all.map(([action, ...networks]) => `{action: ${action}, to: [{networks: [${networks}]}]}`);
    return policies("anp", `spec: {priority: 1, subject: {namespaces: {}}, egress: [${egress}]}`);
  };
  const worldAt = (id: number, text: string) => ({
    ...{ id, labels: world("192.0.2.1").labels, ports: [], cidr: parseCidr(text) },
  });
  const texts = (table: PortTable | undefined) =>
    table?.networks?.map(({ cidr, table: { rest } }) => `${cidr.text} ${rest.verdict}`);

  test("only those that change something, the longest of them", () => {
    const all = rules(
      ["Deny", "10.0.0.0/8", "192.0.2.0/24"],
      ["Allow", "10.1.0.0/16", "'2001:db8::/32'", "192.0.0.0/16"],
    );
    const { everybody } = compile(all, "egress", backend, new PeerIndex([]))!;
    assert.deepEqual(texts(everybody), [
      "10.0.0.0/8 deny",
      "192.0.0.0/16 allow",
      "192.0.2.0/24 deny",
      "2001:db8::/32 allow",
    ]);
    assert.equal(everybody.rest.verdict, "allow");
    assert.equal(compile(all, "ingress", backend, new PeerIndex([])), undefined);
  });

  test("whom a rule before them is about has none; others with the same rules share theirs", () => {
    const all = [
      ...policies(
        "anp",
        "spec: {priority: 0, subject: {namespaces: {}}, egress: [{action: Allow, to: [{namespaces: {}}]}]}",
      ),
      ...rules(["Deny", "10.0.0.0/8"]),
    ];
    const identities = [1, 2].map((id) => ({ id, labels: frontend.labels, ports: [] }));
    const { tables, everybody } = compile(all, "egress", backend, new PeerIndex(identities))!;
    assert.deepEqual([texts(tables.get(1)), texts(everybody)], [undefined, ["10.0.0.0/8 deny"]]);
    assert.equal(tables.get(1), tables.get(2));
  });

  test("a prefix of the world knows those around it, and has those within it", () => {
    const all = [
      ...rules(["Deny", "192.0.2.0/24"], ["Allow", "192.0.2.128/25", "198.51.100.0/24"]),
      ...policies("cnp", "spec: {endpointSelector: {}, egress: [{toCIDR: [192.0.2.0/25, 192.0.0.0/16]}]}"),
    ];
    const prefixes = ["192.0.2.0/25", "192.0.0.0/16"].map((text, at) => worldAt(at + 1, text));
    const { tables, everybody } = compile(all, "egress", backend, new PeerIndex(prefixes))!;
    assert.deepEqual([tables.get(1)!.rest.verdict, texts(tables.get(1))], ["deny", undefined]);
    assert.deepEqual([tables.get(2)!.rest.verdict, texts(tables.get(2))], ["allow", ["192.0.2.0/24 deny"]]);
    assert.deepEqual(texts(everybody), ["192.0.2.0/24 deny", "198.51.100.0/24 allow"]);
  });

  test("a prefix for what nothing has decided has none", () => {
    const all = [
      ...rules(["Deny", "10.0.0.0/8"]),
      ...policies("np", "spec: {podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/16}}]}]}"),
    ];
    const prefix = { id: 1, labels: new Map(), ports: [], cidr: parseCidr("10.0.0.0/16") };
    const { tables, everybody } = compile(all, "egress", backend, new PeerIndex([prefix]))!;
    assert.deepEqual([tables.get(1)!.rest.verdict, texts(tables.get(1))], ["allow", undefined]);
    assert.deepEqual([everybody.rest.verdict, texts(everybody)], ["unless", ["10.0.0.0/8 deny"]]);
  });
});

test("identities with the same rules share one table", () => {
  const all = policies(
    "np",
    "spec: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: frontend}}}], ports: [{port: 80}]}]}",
  );
  const identities = [1, 2, 3].map((id) => ({
    id,
    labels: id < 3 ? frontend.labels : backend.labels,
    ports: [],
  }));
  const { tables, everybody } = compile(all, "ingress", backend, new PeerIndex(identities))!;
  assert.equal(tables.get(1), tables.get(2));
  assert.equal(tables.get(3) ?? everybody, everybody);
  assert.deepEqual(tables.get(1)!.ports, [
    { protocol: 6, first: 80, last: 80, verdict: "allow", by: "NetworkPolicy shop/p spec.ingress[0]" },
  ]);
});
