// SPDX-License-Identifier: Apache-2.0
// What agents write into policy objects, and that one of them does.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { customResourceDefinitions, policyDefinitions } from "../../installer/manifests.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { Informer } from "../../lib/kube-informer.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { createLogger } from "../../lib/log.ts";
import { sleep, waitFor } from "../../lib/wait.ts";
import { make } from "../../migrate/compare/testing.ts";
import { connectWith, credentialsOf } from "../../migrate/engine/testing.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { createShuntNode, shuntNodes } from "../node-mode.ts";
import { accountOf, NodeWords, wordsOfNodes } from "./in-force.ts";
import { pathText } from "./model.ts";
import type { PolicyState } from "./policy-state.ts";
import { PolicyStatuses } from "./policy-statuses.ts";
import { parsePolicy } from "./validate.ts";

const cilium = (name?: string) => resourcePath("cilium.io/v2", "ciliumnetworkpolicies", "default", name);
const native = (name?: string) => resourcePath("networking.k8s.io/v1", "networkpolicies", "default", name);
const clusterPolicy = (name?: string) =>
  resourcePath("policy.networking.k8s.io/v1alpha2", "clusternetworkpolicies", undefined, name);
const log = createLogger(() => undefined);
let folder: string;
let server: TestApiServer;
let kube: KubeClient;
let stop: AbortController;
let agents: Agent[];
let running: Promise<void>[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "shunt-policy-status-"));
  server = await startTestApiServer({ dataDir: folder });
  kube = connectWith(credentialsOf(server.kubeconfig));
  for (const definition of [...policyDefinitions(), ...customResourceDefinitions()])
    await make(kube, definition);
  await waitFor(
    "the kinds",
    async () => (await kube.find(cilium())) !== undefined && (await kube.find(shuntNodes())) !== undefined,
    { timeoutMs: 10_000 },
  );
  stop = new AbortController();
  agents = [];
  running = [];
});
afterEach(async () => {
  stop.abort();
  for (const { statuses, client } of agents) {
    await statuses.stop();
    client.close();
  }
  await Promise.all(running);
  kube.close();
  await server.stop();
  rmSync(folder, { recursive: true });
});

/** A node's agent, as far as it says what policies are; it counts what it writes. */
interface Agent {
  statuses: PolicyStatuses;
  client: KubeClient;
  writes: string[];
  events: string[];
}

/** What a node knows that judges packets by the policies of these informers. */
const statesOf = (informers: readonly Informer[], knewBefore = false): PolicyState[] =>
  informers.flatMap((informer) => informer.list().map((object) => stateOf(object, knewBefore)));

function stateOf(object: KubeObject, knewBefore: boolean): PolicyState {
  const { problems, policies } = parsePolicy(object);
  // The API server takes no NetworkPolicy that is wrong: one with fields of later times is played.
  if (object.kind === "NetworkPolicy")
    return { object, problem: "spec.later: there is no such field", judgedBy: undefined, inForce: false };
  if (problems.length === 0) return { object, problem: undefined, judgedBy: policies, inForce: true };
  const problem = problems.map(({ path, message }) => `${pathText(path)}: ${message}`).join("; ");
  return { object, problem, judgedBy: knewBefore ? [] : undefined, inForce: false };
}

/** `knewBefore`: whether an earlier version of an object is in force on the node. */
function startAgent(nodeName: string, knewBefore = false): Agent {
  const client = connectWith(credentialsOf(server.kubeconfig));
  const agent: Agent = { client, writes: [], events: [], statuses: undefined as any };
  const send = client.request.bind(client);
  client.request = async (method, path, options) => {
    const answer = await send<any>(method, path, options);
    if (method === "PATCH") agent.writes.push(path);
    if (method === "POST") agent.events.push(path);
    return answer;
  };
  const informers = [
    new Informer(client, resourcePath("cilium.io/v2", "ciliumnetworkpolicies"), log),
    new Informer(client, resourcePath("policy.networking.k8s.io/v1alpha1", "adminnetworkpolicies"), log),
    new Informer(client, clusterPolicy(), log),
    new Informer(client, resourcePath("networking.k8s.io/v1", "networkpolicies"), log),
  ];
  const nodes = new Informer(client, resourcePath("v1", "nodes"), log);
  const told = new Informer(client, shuntNodes(), log);
  agent.statuses = new PolicyStatuses({
    ...{ client, nodeName, nodeCount: () => 2, log },
    states: () => statesOf(informers, knewBefore),
    nodeWords: () =>
      new NodeWords(wordsOfNodes(nodes, told), accountOf(statesOf(informers, knewBefore)).read),
  });
  for (const informer of [...informers, nodes, told]) {
    informer.onChange(() => agent.statuses.trigger());
    running.push(informer.run(stop.signal));
  }
  agents.push(agent);
  return agent;
}

const cnp = (rule: object) => ({
  ...{ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "web" } },
  spec: { endpointSelector: {}, ingress: [rule] },
});
const right = { fromEntities: ["world"] };
const wrong = { fromEntities: ["internet"] };
const change = (rule: object) => kube.patch(cilium("web"), "merge", { spec: { ingress: [rule] } });
const conditions = async (): Promise<any[]> => (await kube.get(cilium("web"))).status?.conditions ?? [];
const valid = async () => (await conditions()).find(({ type }) => type === "Valid");
const becomes = (status: string, message = /./) =>
  waitFor(
    `Valid to be ${status}`,
    async () => {
      const found = await valid();
      return found?.status === status && message.test(found.message);
    },
    { timeoutMs: 15_000, intervalMs: 50 },
  );
/** Longer than any node waits for the others. */
const settled = () => sleep(1_500);
const written = (): number => agents.reduce((sum, { writes }) => sum + writes.length, 0);

test("of two agents one writes, and what is mended is told with its time", async () => {
  for (const name of ["a", "b"]) startAgent(name);
  await kube.create(cilium(), cnp(right));
  await becomes("True", /^Policy validation succeeded$/);
  await settled();
  assert.equal(written(), 1);
  await change(wrong);
  await becomes("False", /^spec\.ingress\[0\]\.fromEntities\[0\]: /);
  const { reason, lastTransitionTime, ...rest } = await valid();
  assert.deepEqual(
    [reason, Object.keys(rest).toSorted()],
    ["ValidationFailed", ["message", "status", "type"]],
  );
  assert.ok(Date.now() - Date.parse(lastTransitionTime) < 10_000);
  await change(right);
  await becomes("True");
  await settled();
  assert.equal(written(), 3);
});

test("what is right already is not written, and conditions of others stay", async () => {
  await kube.create(cilium(), cnp(right));
  const foreign = { type: "Synced", status: "True", reason: "Theirs", message: "" };
  const own = { type: "Valid", status: "True", message: "in other words" };
  await kube.patch(`${cilium("web")}/status`, "merge", { status: { conditions: [foreign, own], other: 1 } });
  startAgent("a");
  await settled();
  assert.equal(written(), 0);
  await change(wrong);
  await becomes("False");
  assert.deepEqual(
    (await conditions()).map(({ type, reason }) => [type, reason]),
    [
      ["Synced", "Theirs"],
      ["Valid", "ValidationFailed"],
    ],
  );
  assert.equal((await kube.get(cilium("web"))).status.other, 1);
});

test("who knows that an earlier version stays in force says so, and nobody takes that back", async () => {
  const kept = /\(the version before it stays in force on nodes that knew it\)$/;
  startAgent("new");
  await kube.create(cilium(), cnp(wrong));
  await becomes("False", /names of entities|entit|one of/i);
  assert.doesNotMatch((await valid()).message, kept);
  startAgent("old", true);
  await becomes("False", kept);
  await settled();
  assert.deepEqual(
    agents.map(({ writes }) => writes.length),
    [1, 1],
  );
});

test("somebody who insists on another status does not make a storm", async () => {
  const { writes } = startAgent("a");
  await kube.create(cilium(), cnp(wrong));
  const theirs = { status: { conditions: [{ type: "Valid", status: "True", message: "theirs" }] } };
  const until = performance.now() + 4_000;
  while (performance.now() < until) {
    if ((await valid())?.status !== "True") await kube.patch(`${cilium("web")}/status`, "merge", theirs);
    await sleep(20);
  }
  assert.ok(writes.length >= 1 && writes.length <= 3, `${writes.length} writes`);
});

test("an API server that was away is told later", async () => {
  await kube.create(cilium(), cnp(right));
  const agent = startAgent("a");
  await becomes("True");
  const send = agent.client.request;
  let refused = 0;
  agent.client.request = async (method, path, options) => {
    if (method === "PATCH" && refused++ < 2) throw new Error("refused");
    return await send(method, path, options);
  };
  await change(wrong);
  await becomes("False");
  assert.equal(refused, 3);
  await server.restart(1_000);
  await waitFor("the kinds", async () => (await kube.find(cilium("web"))) !== undefined, {
    timeoutMs: 10_000,
  });
  await change(right);
  await becomes("True");
});

test("an AdminNetworkPolicy has the condition too", async () => {
  const anp = (name?: string) =>
    resourcePath("policy.networking.k8s.io/v1alpha1", "adminnetworkpolicies", undefined, name);
  startAgent("a");
  await kube.create(anp(), {
    ...{ apiVersion: "policy.networking.k8s.io/v1alpha1", kind: "AdminNetworkPolicy" },
    ...{ metadata: { name: "all" }, spec: { priority: 1, subject: { namespaces: {} } } },
  });
  const told = async () => (await kube.get(anp("all"))).status?.conditions?.[0]?.status;
  await waitFor("its condition", async () => (await told()) === "True", { timeoutMs: 10_000 });
});

test("a ClusterNetworkPolicy has the condition, and is refused as its own definition refuses it", async () => {
  startAgent("a");
  const apply = (name: string, rule: object, spec = {}) =>
    kube.create(clusterPolicy(), {
      ...{
        apiVersion: "policy.networking.k8s.io/v1alpha2",
        kind: "ClusterNetworkPolicy",
        metadata: { name },
      },
      spec: { tier: "Admin", priority: 1, subject: { namespaces: {} }, egress: [rule], ...spec },
    });
  const to = (...peers: object[]) => ({ action: "Accept", to: peers });
  await apply("all", to({ namespaces: {} }));
  await apply("names", to({ domainNames: ["a.example"] }));
  const told = async (name: string) => {
    const [condition] = (await kube.get(clusterPolicy(name))).status?.conditions ?? [];
    return `${condition?.status} ${condition?.message}`;
  };
  await waitFor("its condition", async () => (await told("all")).startsWith("True"), { timeoutMs: 10_000 });
  const refused = "False spec.egress[0].to[0].domainNames: names are not supported";
  await waitFor("the other's", async () => (await told("names")) === refused, { timeoutMs: 10_000 });
  const wrong: [rule: object, spec?: object][] = [
    [to()],
    [to({})],
    [to({ namespaces: {}, nodes: {} })],
    [{ ...to({ namespaces: {} }), action: "Allow" }],
    [{ ...to({ namespaces: {} }), protocols: [] }],
    [{ ...to({ namespaces: {} }), protocols: [{ tcp: {} }] }],
    [{ ...to({ namespaces: {} }), protocols: [{ tcp: { destinationPort: { number: 0 } } }] }],
    [to({ namespaces: {} }), { priority: 1001 }],
    [to({ namespaces: {} }), { tier: "Default" }],
  ];
  for (const [rule, spec] of wrong)
    await assert.rejects(apply("wrong", rule, spec), { reason: "Invalid" }, JSON.stringify([rule, spec]));
});

test("a NetworkPolicy that cannot be used gets one Event, whatever the number of nodes", async () => {
  for (const name of ["a", "b"]) startAgent(name);
  await kube.create(native(), {
    ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "odd" } },
    spec: { podSelector: {} },
  });
  const events = async () => (await kube.list(resourcePath("v1", "events", "default"))).items;
  await waitFor("the Event", async () => (await events()).length > 0, { timeoutMs: 10_000 });
  await settled();
  const [event, ...more] = await events();
  assert.deepEqual(more, []);
  assert.deepEqual(
    [event!.type, event!.reason, event!.involvedObject.kind, event!.involvedObject.name],
    ["Warning", "NotInForce", "NetworkPolicy", "odd"],
  );
  assert.equal(event!.message, "spec.later: there is no such field");
});

/** Conditions about nodes, by what comes behind InForce-On-; that of all nodes by nothing. */
const onNodes = async (): Promise<Record<string, string>> =>
  Object.fromEntries(
    (await conditions())
      .filter(({ type }) => type.startsWith("InForce"))
      .map(({ type, status, reason, message }) => [
        type.replace(/^InForce(-On-)?/, ""),
        `${status} ${reason}: ${message}`,
      ]),
  );
const say = (expected: Record<string, string>) =>
  waitFor(
    `the policy to say ${JSON.stringify(expected)}`,
    async () => {
      const found = await onNodes();
      if (isDeepStrictEqual(found, expected)) return true;
      lastSeen = found;
      return false;
    },
    { timeoutMs: 15_000, intervalMs: 50 },
  ).catch((error) => {
    throw new Error(`${error.message}; it says ${JSON.stringify(lastSeen)}`);
  });
let lastSeen: unknown;

test("a policy says on which nodes it is in force, and why not on others", async () => {
  const names = ["a", "b"];
  for (const name of names) {
    await kube.create(resourcePath("v1", "nodes"), {
      ...{ apiVersion: "v1", kind: "Node", metadata: { name } },
    });
    await createShuntNode(kube, name);
  }
  /** What a node tells: the objects as they are, unless something else is said. */
  const tell = async (node: string, more: object = {}) => {
    const items = (await kube.list(cilium())).items;
    const account = accountOf(
      items.map((object) => stateOf({ kind: "CiliumNetworkPolicy", ...object }, false)),
    );
    const policy = { mode: "enforce", reason: null, account, ...more };
    await kube.patch(`${shuntNodes(node)}/status`, "merge", { status: { layers: { policy } } });
  };
  for (const name of names) startAgent(name);
  await kube.create(cilium(), cnp(right));
  await tell("a");
  await tell("b", { account: { read: "earlier", notInForce: [], more: 0 } });
  const all = { "": "True OnAllNodes: generation 1: enforced on 2 of 2 nodes" };
  const [a, b] = names.map((name) => ({ [name]: "True Enforced: generation 1" }));
  // Who is late is waited for.
  await becomes("True");
  assert.deepEqual(await onNodes(), {});
  await say({
    "": "Unknown Pending: generation 1: enforced on 1 of 2 nodes; not on b (Pending)",
    ...a,
    b: "Unknown Pending: generation 1: the node's agent has not told yet that it knows it",
  });
  await tell("b");
  await say({ ...all, ...a, ...b });

  await tell("b", { mode: "audit" });
  await say({
    "": "False NotOnAllNodes: generation 1: enforced on 1 of 2 nodes; not on b (Audited)",
    ...a,
    b: "False Audited: generation 1: policies are only audited on this node",
  });
  await tell("b", { mode: "off", account: null });
  await say({
    "": "False NotOnAllNodes: generation 1: enforced on 1 of 2 nodes; not on b (Off)",
    ...a,
    b: "False Off: generation 1: policies are off on this node",
  });
  await tell("b");
  await say({ ...all, ...a, ...b });

  // A node that knows other versions is known to enforce this one still; and so while its agent starts.
  await tell("b", { account: { read: "later", notInForce: [], more: 0 } });
  await tell("a", { mode: "off", reason: "policies are not read yet", account: null });
  await settled();
  await settled();
  await say({ ...all, ...a, ...b });

  await tell("a");
  const before = written();
  await change(wrong);
  await Promise.all(names.map((name) => tell(name)));
  const why = "spec.ingress[0].fromEntities[0]: ";
  await waitFor(
    "the reason",
    async () => (await onNodes()).a?.startsWith(`False NotInForce: generation 2: ${why}`),
    { timeoutMs: 10_000 },
  );
  await settled();
  // One for validity, one for the nodes; the test's own answers may come between.
  assert.ok(written() - before <= 3, `${written() - before} writes`);

  await kube.delete(resourcePath("v1", "nodes", undefined, "b"));
  await change(right);
  await tell("a");
  await say({
    "": "True OnAllNodes: generation 3: enforced on 1 of 1 nodes",
    a: "True Enforced: generation 3",
  });
});

test("of many nodes only those are told one by one where it is not in force", () => {
  const object = { ...cnp(right), metadata: { name: "web", uid: "1", generation: 7 } } as KubeObject;
  const state = stateOf(object, false);
  const account = accountOf([state]);
  const words = Array.from({ length: 1_000 }, (_, index) => ({
    ...{ node: `n${index}`, mode: index < 60 ? ("audit" as const) : ("enforce" as const) },
    ...{ problem: undefined, account },
  }));
  const said = new NodeWords(words, account.read).conditions(state, [], false)!;
  assert.equal(said.length, 51);
  const names = Array.from({ length: 10 }, (_, index) => `n${index} (Audited)`).join(", ");
  assert.equal(said[0]!.message, `generation 7: enforced on 940 of 1000 nodes; not on ${names} and 50 more`);
  assert.ok(said.slice(1).every(({ reason }) => reason === "Audited"));

  // Who has read other versions enforces still what it did; not another generation.
  const enforcing = words.map((word) => ({ ...word, mode: "enforce" as const }));
  const before = new NodeWords(enforcing, account.read).conditions(state, [], false)!;
  assert.deepEqual(
    before.map(({ status }) => status),
    ["True"],
  );
  const later = new NodeWords(enforcing, "later");
  assert.deepEqual(
    later.conditions(state, before, false)!.map(({ message }) => message),
    [before[0]!.message],
  );
  const changed = stateOf({ ...object, metadata: { ...object.metadata, generation: 8 } }, false);
  assert.equal(later.conditions(changed, before, true), undefined);
  assert.match(later.conditions(changed, before, false)![0]!.message, /^generation 8: enforced on 0 of 1000/);
  // An agent that has read nothing knows nothing of others.
  assert.equal(new NodeWords(enforcing, undefined).conditions(state, [], false), undefined);
});
