// SPDX-License-Identifier: Apache-2.0
// Whatever changes, and in whatever order: a controller that has followed it all judges as one that starts now.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import type { KubeObject } from "../../lib/kube-object.ts";
import { createLogger } from "../../lib/log.ts";
import { FedInformer } from "../../test/bench/fed-informer.ts";
import {
  policyEverybody,
  policyFlagBits,
  policyFlags,
  policyHost,
  policyNetworkKey,
  policyPortKey,
  policyPrefixKey,
  policyTable,
  policyTableKey,
  policyVerdict,
} from "../datapath-layout.ts";
import type { Endpoint } from "../endpoint-store.ts";
import { IdentityAllocator, relevantLabels, usualLabels } from "./identity.ts";
import { podLabels } from "./labels.ts";
import { LastValid } from "./last-valid.ts";
import { PolicyController, type PolicyInformers } from "./policy-controller.ts";
import { ciliumPolicy, namespaces, networkPolicy, type Pod, pods } from "./testing-policies.ts";
import { hex, MemoryMap, word } from "./testing-policy-map.ts";

const ownNode = "n1";
/** Numbers of prefixes and nodes are each agent's own. */
const firstOwnNumber = 1 << 24;
const nodeOf = (namespace: string): string => (namespace === "x" ? ownNode : "n2");
/** What an agent reads of the API server. */
class World {
  readonly pods = new FedInformer();
  readonly namespaces = new FedInformer();
  readonly nodes = new FedInformer();
  readonly identities = new FedInformer();
  readonly services = new FedInformer();
  readonly slices = new FedInformer();
  readonly policies = [new FedInformer(), new FedInformer()];

  constructor() {
    for (const [name, labels] of Object.entries(namespaces))
      this.namespaces.put({ metadata: { name, labels } });
  }

  /** Those of this node's pods that there are. */
  get endpoints(): Endpoint[] {
    const own = this.pods.list().filter(({ spec, status }) => {
      return spec.nodeName === ownNode && status.phase === "Running";
    });
    return own.map(
      ({ metadata }) =>
        ({
          id: pods.findIndex(({ address }) => metadata.uid === address) + 1,
          ...{ podUid: metadata.uid!, podNamespace: metadata.namespace!, podName: metadata.name! },
        }) as Endpoint,
    );
  }

  /** As the agent of a pod's node gives it a number. */
  numberPod(pod: KubeObject): void {
    const labels = relevantLabels(
      podLabels(pod, this.namespaces.get(pod.metadata.namespace!)),
      new Set(["k8s:job-name"]),
      usualLabels([]),
    );
    const name = String(300 + this.#numbers++);
    this.identities.put({ metadata: { name }, spec: { labels: Object.fromEntries(labels) } });
  }
  #numbers = 0;
}

/** A controller with maps in memory. */
class Judge {
  readonly #world: World;
  readonly #controller: PolicyController;
  readonly #maps = {
    policyOf: new MemoryMap(),
    policyTables: new MemoryMap(),
    policyPorts: new MemoryMap(),
    policyNetworks: new MemoryMap(),
    policyPrefixes: new MemoryMap(),
  };

  constructor(world: World, lastValid?: LastValid) {
    this.#world = world;
    this.#controller = new PolicyController({
      ...(lastValid === undefined ? {} : { lastValid }),
      informers: world as unknown as PolicyInformers,
      nodeName: ownNode,
      identities: new IdentityAllocator({
        list: () => world.identities.list(),
        get: async (name) => world.identities.get(name),
        create: async (object) => {
          world.identities.put(object);
          return object;
        },
      }),
      log: createLogger(() => undefined),
      onDirty: () => undefined,
    });
    this.#controller.setMaps(this.#maps, false);
  }

  async settle(): Promise<void> {
    this.#controller.sync(this.#world.endpoints);
    await setImmediate(); // for the numbers
    // Once for what came meanwhile, and once without the prefixes of before.
    this.#controller.sync(this.#world.endpoints);
    this.#controller.sync(this.#world.endpoints);
  }

  /** All that the maps and the callers get, without the numbers that are each controller's own. */
  said() {
    const { policyTables, policyPorts, policyNetworks, policyPrefixes, policyOf } = this.#maps;
    const names = new Map([[policyEverybody as number, "everybody"]]);
    for (const key of policyPrefixes.keys()) {
      const { prefixLength, kind, address } = policyPrefixKey.decode(key);
      names.set(word(policyPrefixes.get(key)), `${kind} ${prefixLength} ${hex(address)}`);
    }
    const numbers = this.#controller.sync(this.#world.endpoints)!;
    const nodes = [...numbers.nodes].toSorted();
    for (const [address, number] of nodes)
      if (number >= firstOwnNumber) names.set(number, `${names.get(number) ?? "node"} ${address}`);
    const { ruleText } = this.#controller.denialSources([]);
    const ports = new Map<number, string[]>();
    for (const key of policyPorts.keys()) {
      const { table, bits, protocol, port } = policyPortKey.decode(key);
      const { rule, action } = policyVerdict.decode(policyPorts.get(key)!);
      const text = `${protocol} ${port}/${bits} ${action} ${ruleText(rule)}`;
      ports.set(table, [...(ports.get(table) ?? []), text].toSorted());
    }
    const textsOf = (value: Uint8Array): string[] => {
      const { table, lengths, rule, action } = policyTable.decode(value);
      return [...(ports.get(table) ?? []), `${lengths} ${action} ${ruleText(rule)}`];
    };
    const networks = new Map<number, string[]>();
    for (const key of policyNetworks.keys()) {
      const { table, prefixLength, ipVersion, address } = policyNetworkKey.decode(key);
      const text = `${ipVersion} ${prefixLength} ${hex(address)}: ${textsOf(policyNetworks.get(key)!)}`;
      networks.set(table, [...(networks.get(table) ?? []), text].toSorted());
    }
    const tables = [...policyTables.keys()].map((key) => {
      const value = policyTables.get(key)!;
      const { table } = policyTable.decode(value);
      return { ...policyTableKey.decode(key), ports: [...textsOf(value), ...(networks.get(table) ?? [])] };
    });
    const endpoints = [policyHost, ...pods.map((_, index) => index + 1)].map((id) => {
      const own = word(policyOf.get(Uint8Array.of(id, 0, 0, 0)));
      const of = tables
        .filter(({ set }) => own !== 0 && set === own >>> policyFlagBits)
        .map(({ identity, direction, ports }) => `${direction} ${names.get(identity) ?? identity} ${ports}`);
      return [own & ((1 << policyFlagBits) - 1), ...of.toSorted()];
    });
    const { problems, size } = this.#controller;
    return {
      endpoints,
      names: [...names.values()].toSorted(),
      ...{ own: numbers.own, elsewhere: numbers.elsewhere, problems, size },
      nodes: nodes.map(([address, number]) => [address, names.get(number) ?? number]),
    };
  }
}

type Change = (world: World) => void;
const some = <T>(list: readonly T[]) => fc.constantFrom(...list);
const meta = (namespace: string, name: string, labels: Record<string, string> = {}) => ({
  ...{ namespace, name, labels },
});

type PodLabels = Record<string, string>;
function putPod(
  world: World,
  pod: Pod,
  labels: PodLabels,
  { phase = "Running", port = 80, isNumbered = true },
): void {
  const object = {
    metadata: { ...meta(pod.namespace, pod.labels.pod!, labels), uid: pod.address },
    spec: {
      nodeName: nodeOf(pod.namespace),
      containers: [{ ports: [{ name: "serve", containerPort: port }] }],
    },
    status: { phase, podIPs: [{ ip: pod.address }] },
  };
  world.pods.put(object);
  if (isNumbered) world.numberPod(object);
}
const podLabelsOf = fc.record(
  { pod: some(["a", "b", "c"]), role: some(["web"]), "job-name": some(["j", "k"]) },
  { requiredKeys: ["pod"] },
) as fc.Arbitrary<PodLabels>;
const podState = fc.record({
  phase: some(["Running", "Running", "Running", "Succeeded"]),
  port: some([80, 81]),
  isNumbered: some([true, true, false]),
});
const podChange: fc.Arbitrary<Change> = fc.tuple(some(pods), podLabelsOf, podState).map(
  ([pod, labels, state]) =>
    (world) =>
      putPod(world, pod, labels, state),
);
const podGoes: fc.Arbitrary<Change> = some(pods).map(
  ({ namespace, labels }) =>
    (world) =>
      world.pods.take(`${namespace}/${labels.pod}`),
);
const namespaceChange: fc.Arbitrary<Change> = fc
  .tuple(some(Object.keys(namespaces)), some([{}, { ns: "x" }, { ns: "y", team: "a" }]))
  .map(
    ([name, labels]) =>
      (world) =>
        world.namespaces.put({ metadata: { name, labels: labels as Record<string, string> } }),
  );
const toServices = some([
  { k8sService: { serviceName: "s", namespace: "y" } },
  { k8sServiceSelector: { selector: { matchLabels: { tier: "one" } } } },
]).map((service) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "services", namespace: "x" },
  spec: { endpointSelector: {}, egress: [{ toServices: [service] }] },
}));
const fromNodes = some<object>([
  { fromEntities: ["kube-apiserver"] },
  { fromEntities: ["remote-node"] },
  { fromNodes: [{ matchLabels: { zone: "a" } }] },
]).map((from) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "nodes", namespace: "x" },
  spec: { endpointSelector: {}, ingress: [from] },
}));
const aboutNodes = some([{}, { matchLabels: { zone: "a" } }]).map((nodeSelector) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumClusterwideNetworkPolicy",
  metadata: { name: "host" },
  spec: { nodeSelector, ingress: [{ fromEntities: ["remote-node"] }, { fromEndpoints: [{}] }] },
}));
const byNetworks = fc
  .tuple(
    some(["Allow", "Deny", "Pass"]),
    fc.uniqueArray(some(["0.0.0.0/0", "10.244.1.0/24", "172.31.0.2/32"])),
  )
  .map(([action, networks]) => ({
    apiVersion: "policy.networking.k8s.io/v1alpha1",
    kind: "AdminNetworkPolicy",
    metadata: { name: "networks" },
    spec: {
      ...{ priority: 5, subject: { namespaces: { matchLabels: { ns: "x" } } } },
      egress: [
        { action, to: [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { pod: "b" } } } }] },
        { action: "Deny", to: [{ networks: ["10.244.0.0/16", "::/0", ...networks] }] },
      ],
    },
  }));
const byJob = some(["j", "k"]).map((job) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "job", namespace: "x" },
  spec: {
    podSelector: {},
    ingress: [{ from: [{ podSelector: { matchLabels: { "job-name": job } } }] }],
  },
}));
const wrong = fc.constant({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "wrong", namespace: "x" },
  spec: { podSelector: {}, ingress: [{ ports: [{ port: 70_000 }] }] },
});
const anyPolicy: fc.Arbitrary<KubeObject> = fc.oneof(
  { weight: 5, arbitrary: fc.oneof(networkPolicy, ciliumPolicy) },
  { weight: 4, arbitrary: fc.oneof(toServices, byJob, fromNodes, aboutNodes, byNetworks) },
  { weight: 1, arbitrary: wrong },
);
const policyChange: fc.Arbitrary<Change> = fc
  .tuple(anyPolicy, some([0, 1, 2, 3]))
  .map(([object, slot]) => (world) => {
    const metadata = { ...object.metadata, name: `policy-${slot}`, uid: `${slot}` };
    world.policies[slot % 2]!.put({ ...object, metadata });
  });
const policyGoes: fc.Arbitrary<Change> = some([0, 1]).map((kind) => (world) => {
  const [first] = world.policies[kind]!.items.keys();
  if (first !== undefined) world.policies[kind]!.take(first);
});
/** Endpoints of Services without selectors. */
const outside = ["192.0.2.1", "192.0.2.9", "2001:db8::9", "172.31.0.2"].map((address) => ({ address }));
const serviceChange: fc.Arbitrary<Change> = fc
  .tuple(some(["x", "y"]), some(["one", "two"]), fc.array(some([...pods, ...outside]), { maxLength: 2 }))
  .map(([namespace, tier, behind]) => (world) => {
    world.services.put({ metadata: meta(namespace, "s", { tier }) });
    world.slices.put({
      metadata: meta(namespace, "s-1", { "kubernetes.io/service-name": "s" }),
      endpoints: behind.map(({ address }) => ({ addresses: [address] })),
    });
  });
const nodeChange: fc.Arbitrary<Change> = fc
  .tuple(some([1, 2, 3]), some([{}, { zone: "a" }, { zone: "b" }]))
  .map(([number, labels]) => (world) => {
    world.nodes.put({
      metadata: { name: `n${number}`, labels: labels as Record<string, string> },
      spec: { podCIDRs: [`10.244.${number}0.0/24`] },
      status: { addresses: [{ type: "InternalIP", address: `172.31.0.${number}` }] },
    });
  });
const nodeGoes: fc.Arbitrary<Change> = some([1, 2, 3]).map(
  (number) => (world) => world.nodes.take(`n${number}`),
);
const apiServerMoves: fc.Arbitrary<Change> = some(["172.31.0.1", "172.31.0.2", "192.0.2.1"]).map(
  (address) => (world) =>
    world.slices.put({
      metadata: meta("default", "kubernetes", { "kubernetes.io/service-name": "kubernetes" }),
      endpoints: [{ addresses: [address] }],
    }),
);
const numberGoes: fc.Arbitrary<Change> = fc.nat(20).map((place) => (world) => {
  const name = [...world.identities.items.keys()][place];
  if (name !== undefined) world.identities.take(name);
});
const change = fc.oneof(
  { weight: 3, arbitrary: podChange },
  { weight: 2, arbitrary: policyChange },
  { weight: 3, arbitrary: fc.oneof(podGoes, policyGoes, namespaceChange, serviceChange, numberGoes) },
  { weight: 2, arbitrary: fc.oneof(nodeChange, nodeGoes, apiServerMoves) },
);

test("after any changes everybody is judged as if all had been there from the start", async () => {
  let judged = 0;
  const start = fc.tuple(fc.array(policyChange, { minLength: 2, maxLength: 4 }), serviceChange);
  await fc.assert(
    fc.asyncProperty(
      start,
      fc.array(change, { minLength: 1, maxLength: 8 }),
      async ([some, service], changes) => {
        const world = new World();
        for (const pod of pods) putPod(world, pod, pod.labels, {});
        for (const one of [...some, service]) one(world);
        const judge = new Judge(world);
        await judge.settle();
        for (const one of changes) {
          one(world);
          await judge.settle();
          const fresh = new Judge(world);
          await fresh.settle();
          // What it gave numbers to is known to both.
          await judge.settle();
          const expected = fresh.said();
          // It does not know what was in force before a mistake.
          if (expected.problems.length > 0) continue;
          judged += expected.size!.pods;
          assert.deepEqual(judge.said(), expected);
        }
      },
    ),
    { numRuns: 50 },
  );
  assert.ok(judged > 100, `${judged} pods were judged`);
});

test("a Service without a selector stands for the addresses behind it, while they are behind it", async () => {
  const world = new World();
  const [own] = pods;
  putPod(world, own!, own!.labels, {});
  world.policies[0]!.put({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "out", namespace: own!.namespace, uid: "1" },
    spec: {
      endpointSelector: {},
      egress: [{ toServices: [{ k8sService: { serviceName: "s", namespace: "y" } }] }],
    },
  });
  const behind = (...addresses: string[]) =>
    world.slices.put({
      metadata: meta("y", "s-1", { "kubernetes.io/service-name": "s" }),
      endpoints: [{ addresses }],
    });
  const judge = new Judge(world);
  const allowed = async () => {
    await judge.settle();
    const texts = judge.said().endpoints[1]!.slice(1).map(String);
    return texts.filter((text) => text.includes(" 1 CiliumNetworkPolicy x/out spec.egress[0]")).length;
  };
  behind("192.0.2.9", "2001:db8::9", "not an address");
  assert.equal(await allowed(), 2);
  behind("192.0.2.9");
  assert.equal(await allowed(), 1);
  behind("192.0.2.10", "2001:db8::9", "::ffff:192.0.2.11");
  assert.equal(await allowed(), 3);
  world.slices.take("y/s-1");
  assert.equal(await allowed(), 0);
});

test("a version that stays in force after a mistake does so for the next agent too, until the object goes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "shunt-last-valid-"));
  const file = join(folder, "policies.json");
  const said: string[] = [];
  const log = createLogger((line) => said.push(line));
  const agent = () => new Judge(world, new LastValid(file, log));
  const world = new World();
  for (const pod of pods) putPod(world, pod, pod.labels, {});
  const put = (ingress: object[]) =>
    world.policies[0]!.put({
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
      metadata: { name: "web", namespace: "x", uid: "1" },
      spec: { podSelector: {}, ingress },
    });
  try {
    put([{ ports: [{ port: 80 }] }]);
    const first = agent();
    await first.settle();
    const right = first.said();
    assert.equal(existsSync(file), false);
    put([{ ports: [{ port: 70_000 }] }]);
    await first.settle();
    assert.deepEqual(first.said().endpoints, right.endpoints);
    for (const next of [agent(), agent()]) {
      await next.settle();
      const { endpoints, problems } = next.said();
      assert.deepEqual(endpoints, right.endpoints);
      assert.match(problems[0]!.message, /the version before it stays in force/);
    }
    const last = agent();
    world.policies[0]!.take("x/web");
    await last.settle();
    assert.notDeepEqual(last.said().endpoints, right.endpoints);
    assert.equal(readFileSync(file, "utf8"), "{}");
    writeFileSync(file, '{"1":{"kind":"Secret"}}');
    await agent().settle();
    assert.match(said.join(""), /earlier versions of policies not read/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a namespace has policies only audited for those of its pods that it names", async () => {
  const world = new World();
  for (const pod of pods) putPod(world, pod, pod.labels, {});
  world.policies[0]!.put({
    ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
    metadata: { name: "closed", namespace: "x", uid: "1" },
    spec: { podSelector: {} },
  });
  const judge = new Judge(world);
  const audited = async (text?: string) => {
    const annotations: Record<string, string> = text === undefined ? {} : { "shunt.dev/policy-audit": text };
    world.namespaces.put({ metadata: { name: "x", labels: namespaces.x!, annotations } });
    await judge.settle();
    const { endpoints, problems } = judge.said();
    const names = pods.filter(
      (_, index) => (Number(endpoints[index + 1]![0]) & policyFlags.POLICY_AUDIT) !== 0,
    );
    return [
      names.map(({ labels }) => labels.pod).join(),
      ...problems.map(({ message }) => message.slice(0, 41)),
    ];
  };
  assert.deepEqual(await audited(), [""]);
  assert.deepEqual(await audited("pod in (a, c)"), ["a,c"]);
  assert.deepEqual(await audited(""), ["a,b,c"]);
  assert.deepEqual(await audited("pod!=a,"), ["", "shunt.dev/policy-audit is no selector, so"]);
  assert.deepEqual(await audited("constructor"), [""]);
  assert.deepEqual(await audited("!pod"), [""]);
});
