// SPDX-License-Identifier: Apache-2.0
// The cases of the conformance suite `policy`, made in the manner of cyclonus: one thing varied at a time, for both
// directions, then what is added up, changed and taken away.
import type { NetworkPolicy, Peer, Port, Rule, Selector, TruthPod } from "./policy-truth.ts";
import { portName, ports, protocols } from "./policy-truth.ts";

/** What is there in one step of a case. */
export interface Step {
  policies: NetworkPolicy[];
  /** Labels of pods other than their own, by `namespace/name`, and of namespaces. */
  podLabels?: Record<string, Record<string, string>>;
  namespaceLabels?: Record<string, Record<string, string>>;
}

export interface Case {
  name: string;
  steps: Step[];
}

export const namespaces = ["x", "y", "z"];
export const podNames = ["a", "b", "c"];
/** Before any case changes them. */
export const namespaceLabels = (namespace: string): Record<string, string> => ({ ns: namespace });
export const podLabels = (name: string): Record<string, string> => ({ pod: name });

type Direction = "ingress" | "egress";
const typeOf = { ingress: "Ingress", egress: "Egress" } as const;
const directions: Direction[] = ["ingress", "egress"];

const policy = (
  spec: NetworkPolicy["spec"],
  { name = "base", namespace = "x" }: { name?: string; namespace?: string } = {},
): NetworkPolicy => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name, namespace },
  spec,
});

const target: Selector = { matchLabels: { pod: "a" } };
const expression = (key: string, operator: string, ...values: string[]): Selector => ({
  matchExpressions: [{ key, operator, ...(values.length === 0 ? {} : { values }) }],
});

/** A rule of one direction, with its peers under the right name. */
const ruleOf = (direction: Direction, peers: Peer[] | undefined, wanted?: Port[]): Rule => ({
  ...(peers === undefined ? {} : direction === "ingress" ? { from: peers } : { to: peers }),
  ...(wanted === undefined ? {} : { ports: wanted }),
});

const about = (direction: Direction, rules: Rule[] | undefined, podSelector = target) => ({
  podSelector,
  policyTypes: [typeOf[direction]],
  ...(rules === undefined ? {} : { [direction]: rules }),
});

const podSelectors: Record<string, Selector> = {
  "all pods": {},
  "pod b": { matchLabels: { pod: "b" } },
  "pod in b, c": expression("pod", "In", "b", "c"),
  "pod not in a": expression("pod", "NotIn", "a"),
  "pod exists": expression("pod", "Exists"),
  "pod does not exist": expression("pod", "DoesNotExist"),
  "a label that nobody has": { matchLabels: { pod: "nobody" } },
  "a key that nobody has, not in": expression("tier", "NotIn", "web"),
};
const namespaceSelectors: Record<string, Selector> = {
  "all namespaces": {},
  "namespace y": { matchLabels: { ns: "y" } },
  "namespaces in y, z": expression("ns", "In", "y", "z"),
  "namespaces not in x": expression("ns", "NotIn", "x"),
  "namespaces with a label": expression("ns", "Exists"),
  "namespaces without a label": expression("ns", "DoesNotExist"),
  "a namespace by its name": { matchLabels: { "kubernetes.io/metadata.name": "z" } },
};

const whole = (family: 0 | 1): string => (family === 0 ? "0.0.0.0/0" : "::/0");
const single = (address: string): string => `${address}/${address.includes(":") ? 128 : 32}`;

/** Prefixes made from the pods' own addresses, each with the families in which it means the same. */
function blocks(pods: readonly TruthPod[]): Record<string, Peer[]> {
  const made: Record<string, Peer[]> = {};
  const of = (namespace: string, name: string): TruthPod =>
    pods.find((pod) => pod.namespace === namespace && pod.name === name)!;
  for (const family of [0, 1] as const) {
    const [near, far] = [of("x", "b").addresses[family], of("y", "a").addresses[family]];
    if (near === undefined || far === undefined) continue;
    const version = family === 0 ? "IPv4" : "IPv6";
    const wide = widened(far, family);
    const block = (cidr: string, ...except: string[]): Peer => ({
      ipBlock: { cidr, ...(except.length === 0 ? {} : { except }) },
    });
    made[`${version}, everything`] = [block(whole(family))];
    made[`${version}, one pod of the namespace`] = [block(single(near))];
    made[`${version}, one pod of another`] = [block(single(far))];
    made[`${version}, everything but a pod`] = [block(whole(family), single(far))];
    made[`${version}, everything but two pods`] = [block(whole(family), single(far), single(near))];
    made[`${version}, the pods of a node`] = [block(wide)];
    made[`${version}, everything but a node`] = [block(whole(family), wide)];
    made[`${version}, a node but one of its pods`] = [block(wide, single(far))];
    made[`${version}, what no pod has`] = [block(family === 0 ? "192.0.2.0/24" : "2001:db8::/32")];
    made[`${version}, overlapping blocks`] = [block(wide, single(far)), block(single(far))];
  }
  const both = of("y", "a").addresses.filter((address) => address !== undefined);
  made["a pod's addresses of both families"] = both.map((address) => ({
    ipBlock: { cidr: single(address) },
  }));
  return made;
}

/** The network of 24 or 64 bits around an address. */
function widened(address: string, family: 0 | 1): string {
  if (family === 0) return `${address.split(".").slice(0, 3).join(".")}.0/24`;
  const [head = "", tail = ""] = address.split("::");
  const first = head.split(":");
  const zeros = address.includes("::") ? 8 - first.length - tail.split(":").length : 0;
  const groups = [...first, ...Array(zeros).fill("0"), ...(address.includes("::") ? tail.split(":") : [])];
  return `${groups.slice(0, 4).join(":")}::/64`;
}

const portSets: Record<string, Port[]> = {
  "no ports": [],
  "port 80": [{ port: 80 }],
  "port 81, TCP": [{ port: 81, protocol: "TCP" }],
  "port 80, UDP": [{ port: 80, protocol: "UDP" }],
  "port 81, SCTP": [{ port: 81, protocol: "SCTP" }],
  "all of TCP": [{ protocol: "TCP" }],
  "all of UDP": [{ protocol: "UDP" }],
  "all of SCTP": [{ protocol: "SCTP" }],
  ...Object.fromEntries(
    protocols.flatMap((protocol) =>
      ports.map((port) => {
        const name = portName(port, protocol);
        return [`named ${name}`, [{ port: name, protocol }]];
      }),
    ),
  ),
  "a name of another protocol": [{ port: portName(80, "UDP"), protocol: "TCP" }],
  "a name that nobody has": [{ port: "nobody" }],
  "range 80 to 81": [{ port: 80, endPort: 81 }],
  "range 79 to 80, UDP": [{ port: 79, endPort: 80, protocol: "UDP" }],
  "range 81 to 65535, SCTP": [{ port: 81, endPort: 65_535, protocol: "SCTP" }],
  "range 1 to 79": [{ port: 1, endPort: 79 }],
  "range that is one port": [{ port: 80, endPort: 80 }],
  "two ports of one protocol": [{ port: 80 }, { port: 81 }],
  "one port of two protocols": [{ port: 80 }, { port: 80, protocol: "UDP" }],
  "a port and all of another protocol": [{ port: 81 }, { protocol: "SCTP" }],
  "a number and a name": [{ port: 80 }, { port: portName(81, "UDP"), protocol: "UDP" }],
};

const one = (name: string, ...policies: NetworkPolicy[]): Case => ({ name, steps: [{ policies }] });

function variedPeers(direction: Direction, pods: readonly TruthPod[]): Case[] {
  const peers: Record<string, Peer[] | undefined> = { "no peers": [], "peers left out": undefined };
  for (const [name, podSelector] of Object.entries(podSelectors)) peers[name] = [{ podSelector }];
  for (const [name, namespaceSelector] of Object.entries(namespaceSelectors)) {
    peers[name] = [{ namespaceSelector }];
    for (const key of ["pod b", "pod in b, c", "pod not in a", "all pods"])
      peers[`${key} of ${name}`] = [{ namespaceSelector, podSelector: podSelectors[key]! }];
  }
  Object.assign(peers, blocks(pods));
  peers["two peers"] = [
    { podSelector: podSelectors["pod b"]! },
    { namespaceSelector: namespaceSelectors["namespace y"]! },
  ];
  peers["a pod and a block"] = [
    { podSelector: podSelectors["pod b"]! },
    { ipBlock: { cidr: "192.0.2.0/24" } },
  ];
  return Object.entries(peers).map(([name, list]) =>
    one(`${direction} peers: ${name}`, policy(about(direction, [ruleOf(direction, list)]))),
  );
}

function variedPorts(direction: Direction): Case[] {
  const selected: Peer = { namespaceSelector: namespaceSelectors["namespaces in y, z"]! };
  return Object.entries(portSets).flatMap(([name, list]) => [
    one(`${direction} ports: ${name}`, policy(about(direction, [ruleOf(direction, undefined, list)]))),
    one(
      `${direction} ports of some peers: ${name}`,
      policy(about(direction, [ruleOf(direction, [selected], list)])),
    ),
  ]);
}

function variedTargets(direction: Direction): Case[] {
  return Object.entries(podSelectors).flatMap(([name, podSelector]) => [
    one(`${direction} target: ${name}, denied`, policy(about(direction, [], podSelector))),
    one(
      `${direction} target: ${name}, in namespace y`,
      policy(about(direction, [ruleOf(direction, [{ podSelector: {} }])], podSelector), { namespace: "y" }),
    ),
  ]);
}

function rules(direction: Direction): Case[] {
  const b: Peer = { podSelector: podSelectors["pod b"]! };
  const y: Peer = { namespaceSelector: namespaceSelectors["namespace y"]! };
  const spec = (...list: Rule[]) => policy(about(direction, list));
  return [
    one(`${direction} rules: left out`, policy(about(direction, undefined))),
    one(`${direction} rules: none`, spec()),
    one(`${direction} rules: an empty one`, spec({})),
    one(
      `${direction} rules: two, each with ports`,
      spec(ruleOf(direction, [b], [{ port: 80 }]), ruleOf(direction, [y], [{ port: 81, protocol: "UDP" }])),
    ),
    one(
      `${direction} rules: the same peer twice, with other ports`,
      spec(ruleOf(direction, [y], [{ port: 80 }]), ruleOf(direction, [y], [{ port: 81 }])),
    ),
    one(`${direction} rules: a narrow and a wide one`, spec(ruleOf(direction, [b], [{ port: 80 }]), {})),
    one(
      `${direction} rules: two peers and two ports`,
      spec(ruleOf(direction, [b, y], [{ port: 80 }, { port: 81, protocol: "SCTP" }])),
    ),
  ];
}

/** Policies add up: what one of them allows, no other takes away. */
function added(direction: Direction): Case[] {
  const b: Peer = { podSelector: podSelectors["pod b"]! };
  const y: Peer = { namespaceSelector: namespaceSelectors["namespace y"]! };
  const deny = policy(about(direction, []), { name: "deny" });
  const allowB = policy(about(direction, [ruleOf(direction, [b], [{ port: 80 }])]), { name: "allow-b" });
  const allowY = policy(about(direction, [ruleOf(direction, [y])], {}), { name: "allow-y" });
  const allowAll = policy(about(direction, [{}]), { name: "allow-all" });
  const other = direction === "ingress" ? "egress" : "ingress";
  return [
    one(`${direction} added up: deny, and allow some`, deny, allowB),
    one(`${direction} added up: two that allow`, allowB, allowY),
    one(`${direction} added up: deny, and allow all`, deny, allowAll),
    one(`${direction} added up: three`, deny, allowB, allowY),
    one(
      `${direction} added up: the other direction is denied`,
      allowB,
      policy(about(other, []), { name: "other" }),
    ),
    one(
      `${direction} added up: the other direction allows all`,
      allowB,
      policy(about(other, [{}]), { name: "other" }),
    ),
    one(
      `${direction} added up: deny in every namespace, allow in one`,
      ...namespaces.map((namespace) => policy(about(direction, [], {}), { name: "deny", namespace })),
      allowY,
    ),
  ];
}

function changes(direction: Direction): Case[] {
  const b: Peer = { podSelector: podSelectors["pod b"]! };
  const y: Peer = { namespaceSelector: namespaceSelectors["namespace y"]! };
  const web: Peer = { namespaceSelector: {}, podSelector: { matchLabels: { tier: "web" } } };
  const rule = (peer: Peer, wanted?: Port[]) => policy(about(direction, [ruleOf(direction, [peer], wanted)]));
  const onlyWeb = rule(web);
  return [
    {
      name: `${direction} changes: created, changed, deleted`,
      steps: [
        { policies: [] },
        { policies: [rule(b)] },
        { policies: [rule(y)] },
        { policies: [rule(y, [{ port: 80 }])] },
        { policies: [] },
      ],
    },
    {
      name: `${direction} changes: a second policy comes and goes`,
      steps: [
        { policies: [rule(b)] },
        { policies: [rule(b), policy(about(direction, [ruleOf(direction, [y])]), { name: "more" })] },
        { policies: [rule(b)] },
      ],
    },
    {
      name: `${direction} changes: a pod gets a label, another value, and loses it`,
      steps: [
        { policies: [onlyWeb] },
        { policies: [onlyWeb], podLabels: { "y/b": { tier: "web" } } },
        { policies: [onlyWeb], podLabels: { "y/b": { tier: "db" }, "x/c": { tier: "web" } } },
        { policies: [onlyWeb] },
      ],
    },
    {
      name: `${direction} changes: a namespace gets a label and loses it`,
      steps: [
        { policies: [rule({ namespaceSelector: { matchLabels: { team: "one" } } })] },
        {
          policies: [rule({ namespaceSelector: { matchLabels: { team: "one" } } })],
          namespaceLabels: { z: { team: "one" } },
        },
        { policies: [rule({ namespaceSelector: { matchLabels: { team: "one" } } })] },
      ],
    },
    {
      name: `${direction} changes: the target gets the label that the policy is about`,
      steps: [
        { policies: [policy(about(direction, [], { matchLabels: { tier: "web" } }))] },
        {
          policies: [policy(about(direction, [], { matchLabels: { tier: "web" } }))],
          podLabels: { "x/b": { tier: "web" } },
        },
        { policies: [policy(about(direction, [], { matchLabels: { tier: "web" } }))] },
      ],
    },
  ];
}

/** The ways in which people write policies (after the well-known collection of recipes). */
function recipes(): Case[] {
  const ingress = (podSelector: Selector, list: Rule[]): NetworkPolicy =>
    policy({ podSelector, ingress: list });
  const app = (name: string): Selector => ({ matchLabels: { pod: name } });
  return [
    one("recipe: deny all traffic to an application", ingress(app("a"), [])),
    one(
      "recipe: limit traffic to an application",
      ingress(app("a"), [{ from: [{ podSelector: app("b") }] }]),
    ),
    one("recipe: allow all traffic to an application", ingress(app("a"), [{}])),
    one("recipe: deny all to a namespace", policy({ podSelector: {}, policyTypes: ["Ingress"] })),
    one("recipe: deny all from other namespaces", ingress({}, [{ from: [{ podSelector: {} }] }])),
    one("recipe: allow from all namespaces", ingress(app("b"), [{ from: [{ namespaceSelector: {} }] }])),
    one(
      "recipe: allow from a namespace",
      ingress(app("b"), [{ from: [{ namespaceSelector: { matchLabels: { ns: "z" } } }] }]),
    ),
    one(
      "recipe: allow some pods of another namespace",
      ingress(app("b"), [
        { from: [{ namespaceSelector: { matchLabels: { ns: "y" } }, podSelector: app("c") }] },
      ]),
    ),
    one(
      "recipe: allow a port of an application",
      ingress(app("a"), [{ from: [{ podSelector: app("b") }], ports: [{ port: 80 }] }]),
    ),
    one(
      "recipe: allow by several selectors",
      ingress(app("a"), [{ from: [{ podSelector: app("b") }, { podSelector: app("c") }] }]),
    ),
    one("recipe: deny what an application sends", policy({ podSelector: app("a"), policyTypes: ["Egress"] })),
    one("recipe: deny what a namespace sends", policy({ podSelector: {}, policyTypes: ["Egress"] })),
    one(
      "recipe: limit what is sent to the namespace",
      policy({ podSelector: {}, policyTypes: ["Egress"], egress: [{ to: [{ podSelector: {} }] }] }),
    ),
    one(
      "recipe: default deny both ways, then one path",
      ...["x", "y"].map((namespace) =>
        policy({ podSelector: {}, policyTypes: ["Ingress", "Egress"] }, { name: "deny", namespace }),
      ),
      policy(
        {
          podSelector: app("a"),
          policyTypes: ["Egress"],
          egress: [{ to: [{ namespaceSelector: { matchLabels: { ns: "y" } } }], ports: [{ port: 81 }] }],
        },
        { name: "out" },
      ),
      policy(
        {
          podSelector: app("b"),
          ingress: [{ from: [{ namespaceSelector: { matchLabels: { ns: "x" } } }], ports: [{ port: 81 }] }],
        },
        { name: "in", namespace: "y" },
      ),
    ),
    one(
      "types left out: egress rules make it both",
      policy({ podSelector: target, egress: [{ to: [{ podSelector: {} }] }] }),
    ),
    one("types left out: ingress alone", policy({ podSelector: target, ingress: [{}] })),
    one(
      "types: ingress alone, with egress rules that then say nothing",
      policy({ podSelector: target, policyTypes: ["Ingress"], ingress: [{}], egress: [] }),
    ),
    one(
      "both directions in one policy",
      policy({
        podSelector: target,
        policyTypes: ["Ingress", "Egress"],
        ingress: [{ from: [{ podSelector: podSelectors["pod b"]! }], ports: [{ port: 80 }] }],
        egress: [{ to: [{ namespaceSelector: namespaceSelectors["namespace y"]! }], ports: [{ port: 81 }] }],
      }),
    ),
  ];
}

/** Policies that all let pod a of namespace x reach port 80 of pod b there, and no other port. */
export const replacements: readonly NetworkPolicy[][] = (() => {
  const port80 = [{ port: 80 }, { port: 80, protocol: "UDP" }];
  const b: Selector = { matchLabels: { pod: "b" } };
  const both = (inward: Rule[], outward: Rule[]): NetworkPolicy[] => [
    policy({ podSelector: b, policyTypes: ["Ingress"], ingress: inward }, { name: "in" }),
    policy({ podSelector: target, policyTypes: ["Egress"], egress: outward }, { name: "out" }),
  ];
  return [
    both([{ from: [{ podSelector: target }], ports: port80 }], [{ to: [{ podSelector: b }], ports: port80 }]),
    both(
      [
        { from: [{ namespaceSelector: {} }], ports: port80 },
        { from: [{ podSelector: { matchLabels: { pod: "c" } } }] },
      ],
      [{ ports: port80 }],
    ),
    both(
      [
        {
          from: [{ podSelector: expression("pod", "In", "a", "c") }],
          ports: [{ port: 79, endPort: 80 }, port80[1]!],
        },
      ],
      [{ to: [{ podSelector: {} }], ports: port80 }, { to: [{ ipBlock: { cidr: "192.0.2.0/24" } }] }],
    ),
  ];
})();

/** All cases, each name once, for pods with these addresses. */
export function policyCases(pods: readonly TruthPod[]): Case[] {
  return [
    { name: "no policies", steps: [{ policies: [] }] },
    ...directions.flatMap((direction) => [
      ...variedTargets(direction),
      ...rules(direction),
      ...variedPeers(direction, pods),
      ...variedPorts(direction),
      ...added(direction),
      ...changes(direction),
    ]),
    ...recipes(),
  ];
}
