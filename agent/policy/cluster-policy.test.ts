// SPDX-License-Identifier: Apache-2.0
// ClusterNetworkPolicy: what is read, what is refused and where, and in which order policies of its tiers go.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compile } from "./compile.ts";
import { decide, type End } from "./decide.ts";
import { type Policy, type PortMatch, pathText } from "./model.ts";
import { PeerIndex } from "./peer-index.ts";
import { parsePolicy } from "./validate.ts";

const head = {
  ClusterNetworkPolicy: "policy.networking.k8s.io/v1alpha2",
  AdminNetworkPolicy: "policy.networking.k8s.io/v1alpha1",
  BaselineAdminNetworkPolicy: "policy.networking.k8s.io/v1alpha1",
  NetworkPolicy: "networking.k8s.io/v1",
};
const read = (spec: object, kind: keyof typeof head = "ClusterNetworkPolicy", name = "p") => {
  const metadata = { name, ...(kind === "NetworkPolicy" ? { namespace: "shop" } : {}) };
  return parsePolicy({ apiVersion: head[kind], kind, metadata, spec });
};
const policies = (...args: Parameters<typeof read>): Policy[] => {
  const parsed = read(...args);
  assert.deepEqual(parsed.problems, []);
  return [...parsed.policies];
};

const everywhere = { namespaces: {} };
const base = { tier: "Admin", priority: 1, subject: everywhere };
const ingress = (rule: object) => ({
  ...base,
  ingress: [{ action: "Deny", from: [everywhere], ...rule }],
});
const egress = (rule: object) => ({ ...base, egress: [{ action: "Deny", to: [everywhere], ...rule }] });
const port = (destinationPort: object) => ingress({ protocols: [{ tcp: { destinationPort } }] });
const many = (length: number, one: unknown): any[] => Array.from({ length }, () => one);

const wrong: [title: string, spec: object, problem: RegExp][] = [
  ["no tier", { ...base, tier: undefined }, /^spec: it needs tier$/],
  ["a tier that is none", { ...base, tier: "Default" }, /^spec\.tier: must be one of Admin, Baseline$/],
  ["no priority", { ...base, priority: undefined }, /^spec: it needs priority$/],
  ["a priority beyond the last", { ...base, priority: 1001 }, /^spec\.priority: must be <= 1000$/],
  ["a priority before the first", { ...base, priority: -1 }, /^spec\.priority: must be >= 0$/],
  ["no subject", { ...base, subject: undefined }, /^spec: it needs subject$/],
  ["a subject of nobody", { ...base, subject: {} }, /^spec\.subject: it must have one of namespaces, pods$/],
  [
    "a subject said twice",
    { ...base, subject: { ...everywhere, pods: { podSelector: {} } } },
    /^spec\.subject: it must have one of namespaces, pods$/,
  ],
  [
    "pods without a selector",
    { ...base, subject: { pods: { namespaceSelector: {} } } },
    /^spec\.subject\.pods: it needs podSelector$/,
  ],
  [
    "a word of AdminNetworkPolicy",
    ingress({ action: "Allow" }),
    /^spec\.ingress\[0\]\.action: must be one of Accept, Deny, Pass$/,
  ],
  [
    "ports of AdminNetworkPolicy",
    ingress({ ports: [] }),
    /^spec\.ingress\[0\]\.ports: there is no such field$/,
  ],
  ["no peers", ingress({ from: [] }), /^spec\.ingress\[0\]\.from: must NOT have fewer than 1 items$/],
  ["a peer that is nobody", ingress({ from: [{}] }), /from\[0\]: it must have one of namespaces, pods$/],
  ["nodes as senders", ingress({ from: [{ nodes: {} }] }), /from\[0\]\.nodes: there is no such field$/],
  [
    "a peer said twice",
    egress({ to: [{ ...everywhere, nodes: {} }] }),
    /to\[0\]: it must have one of namespaces, pods, nodes, networks, domainNames$/,
  ],
  [
    "names of the world",
    egress({ action: "Accept", to: [{ domainNames: ["a.example"] }] }),
    /^spec\.egress\[0\]\.to\[0\]\.domainNames: names are not supported$/,
  ],
  [
    "a label that is none",
    ingress({ from: [{ namespaces: { matchLabels: { "a b": "c" } } }] }),
    /from\[0\]\.namespaces\.matchLabels\.a b: "a b" is no label key/,
  ],
  ["no protocols", ingress({ protocols: [] }), /protocols: must NOT have fewer than 1 items$/],
  [
    "a protocol of two kinds",
    ingress({ protocols: [{ destinationNamedPort: "web", tcp: { destinationPort: { number: 1 } } }] }),
    /protocols\[0\]: it must have one of tcp, udp, sctp, destinationNamedPort$/,
  ],
  ["a protocol that is none", ingress({ protocols: [{ icmp: {} }] }), /icmp: there is no such field/],
  [
    "a protocol without a port",
    ingress({ protocols: [{ udp: {} }] }),
    /protocols\[0\]\.udp: it needs destinationPort$/,
  ],
  ["port 0", port({ number: 0 }), /tcp\.destinationPort\.number: must be >= 1$/],
  ["a port beyond the last", port({ number: 65_536 }), /number: must be <= 65535$/],
  [
    "a port and a range",
    port({ number: 1, range: { start: 1, end: 2 } }),
    /destinationPort: it must have one of number, range$/,
  ],
  ["a range without an end", port({ range: { start: 1 } }), /range: it needs end$/],
  [
    "a range of one port",
    port({ range: { start: 9, end: 9 } }),
    /tcp\.destinationPort\.range\.end: 9 is not after its start, 9$/,
  ],
  [
    "a number as a name",
    ingress({ protocols: [{ destinationNamedPort: "80" }] }),
    /protocols\[0\]\.destinationNamedPort: "80" is no port's name$/,
  ],
  [
    "a name of a node's port",
    egress({ to: [everywhere, { nodes: {} }], protocols: [{ destinationNamedPort: "web" }] }),
    /egress\[0\]\.protocols\[0\]\.destinationNamedPort: only ports of pods have names/,
  ],
  ["too many peers", ingress({ from: many(26, everywhere) }), /from: must NOT have more than 25 items$/],
  [
    "too many protocols",
    ingress({ protocols: many(26, { destinationNamedPort: "web" }) }),
    /protocols: must NOT have more than 25 items$/,
  ],
  [
    "too many rules",
    { ...base, ingress: many(26, { action: "Deny", from: [everywhere] }) },
    /^spec\.ingress: must NOT have more than 25 items$/,
  ],
  ["a rule's long name", ingress({ name: "a".repeat(101) }), /name: must NOT have more than 100 characters$/],
];
for (const [title, spec, problem] of wrong)
  test(`refused: ${title}`, () => {
    const { policies: found, problems } = read(spec);
    assert.equal(found.length, 0);
    const texts = problems.map(({ path, message }) => `${pathText(path)}: ${message}`);
    assert.ok(
      texts.some((text) => problem.test(text)),
      texts.join("; "),
    );
  });

test("a number is no name in an AdminNetworkPolicy either", () => {
  const rule = { action: "Allow", from: [everywhere], ports: [{ namedPort: "80" }] };
  const { problems } = read({ priority: 1, subject: everywhere, ingress: [rule] }, "AdminNetworkPolicy");
  assert.deepEqual(problems, [
    { path: ["spec", "ingress", 0, "ports", 0, "namedPort"], message: '"80" is no port\'s name' },
  ]);
});

test("what is right becomes the model, at its limits too", () => {
  const [policy] = policies({
    ...{ tier: "Baseline", priority: 1000 },
    subject: { pods: { podSelector: { matchLabels: { app: "a" } } } },
    ingress: [
      {
        ...{ name: "one", action: "Accept", from: [{ pods: { podSelector: {} } }] },
        protocols: [
          { tcp: { destinationPort: { number: 65_535 } } },
          { sctp: { destinationPort: { range: { start: 1, end: 2 } } } },
          { destinationNamedPort: "web" },
        ],
      },
    ],
    egress: many(25, { action: "Pass", to: [{ nodes: {} }] }),
  });
  const { tier, priority, subject, isolates, rules } = policy!;
  assert.deepEqual([tier, priority, isolates], ["baseline", 1000, { ingress: false, egress: false }]);
  assert.deepEqual(
    subject.map(({ key }) => key),
    ["k8s:io.kubernetes.pod.namespace", "k8s:app"],
    "of every namespace",
  );
  const ports: PortMatch[] = [
    { protocol: 6, first: 65_535, last: 65_535 },
    { protocol: 132, first: 1, last: 2 },
    ...[6, 17, 132].map((protocol) => ({ protocol, name: "web" })),
  ];
  assert.deepEqual([rules.length, rules[0]!.action, rules[0]!.ports], [26, "allow", ports]);
  assert.deepEqual([rules[25]!.action, rules[25]!.ports], ["pass", undefined]);
});

const pod = (app: string): End => ({
  labels: new Map([
    ["k8s:io.kubernetes.pod.namespace", "shop"],
    ["k8s:app", app],
  ]),
  ports: [],
});

/** What decides about a connection, by the objects and by the tables, which must say the same. */
function decided(all: readonly Policy[]): { allowed: boolean; by: string } {
  const [subject, peer] = [pod("a"), pod("b")];
  const { verdict, policy, rule } = decide(all, {
    ...{ direction: "ingress", subject, peer, protocol: 6, port: 80 },
  });
  const { tables, everybody } = compile(
    all,
    "ingress",
    subject,
    new PeerIndex([{ id: 7, labels: peer.labels, ports: [] }]),
  )!;
  const { rest } = tables.get(7) ?? everybody;
  const found = { allowed: verdict === "allowed", by: [policy, rule].filter(Boolean).join(" ") };
  assert.deepEqual({ allowed: rest.verdict === "allow", by: rest.by }, found);
  return found;
}

const of = (name: string, tier: string, priority: number, action: string): Policy[] =>
  policies(
    { tier, priority, subject: everywhere, ingress: [{ action, from: [everywhere] }] },
    "ClusterNetworkPolicy",
    name,
  );
const by = (policy: string, allowed: boolean) => ({ allowed, by: `${policy} spec.ingress[0]` });

test("of a tier the lowest priority goes first; of one priority the kind, then the name", () => {
  for (const tier of ["Admin", "Baseline"]) {
    const late = of("a", tier, 5, "Deny");
    assert.deepEqual(decided([...late, ...of("b", tier, 4, "Accept")]), by("ClusterNetworkPolicy b", true));
    assert.deepEqual(decided([...of("b", tier, 5, "Accept"), ...late]), by("ClusterNetworkPolicy a", false));
  }
  const old = policies(
    { priority: 5, subject: everywhere, ingress: [{ action: "Deny", from: [everywhere] }] },
    "AdminNetworkPolicy",
    "z",
  );
  assert.deepEqual(decided([...of("a", "Admin", 5, "Accept"), ...old]), by("AdminNetworkPolicy z", false));
  assert.deepEqual(decided([...old, ...of("a", "Admin", 4, "Accept")]), by("ClusterNetworkPolicy a", true));
});

test("the baseline without a priority goes after those with one", () => {
  const last = policies(
    { subject: everywhere, ingress: [{ action: "Deny", from: [everywhere] }] },
    "BaselineAdminNetworkPolicy",
    "default",
  );
  const named = "BaselineAdminNetworkPolicy default";
  assert.deepEqual(decided(last), by(named, false));
  const accept = of("a", "Baseline", 1000, "Accept");
  assert.deepEqual(decided([...last, ...accept]), by("ClusterNetworkPolicy a", true));
});

test("a pass skips the rest of its tier: what the last tier passes is allowed", () => {
  const all = [...of("pass", "Baseline", 1, "Pass"), ...of("deny", "Baseline", 2, "Deny")];
  assert.deepEqual(decided(all), by("ClusterNetworkPolicy pass", true));
  const admin = [...of("pass", "Admin", 1, "Pass"), ...of("accept", "Admin", 2, "Accept")];
  assert.deepEqual(
    decided([...admin, ...of("deny", "Baseline", 2, "Deny")]),
    by("ClusterNetworkPolicy deny", false),
  );
  const own = policies({ podSelector: {}, ingress: [{}] }, "NetworkPolicy");
  assert.deepEqual(decided([...own, ...admin, ...all.slice(1)]), by("NetworkPolicy shop/p", true));
});
