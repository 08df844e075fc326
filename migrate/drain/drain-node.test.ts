// SPDX-License-Identifier: Apache-2.0
// One file past 300 lines: every case of a drain, on one control plane, whose start takes longer than all of them.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import {
  startTestControlPlane,
  type TestControlPlane,
} from "../../test/clusters/sandbox/controller-manager/testing.ts";
import { cordon, DrainError, type DrainEvent, type DrainOptions, drainNode, selectNodes } from "./index.ts";
import {
  answer,
  budget,
  FaultyKube,
  failFirst,
  makeNamespace,
  makeOwner,
  podOn,
  podPath,
  type SentRequest,
} from "./testing.ts";

let plane: TestControlPlane;
let kube: FaultyKube;
let node: string;
let namespace: string;
let owner: KubeObject["metadata"];
let events: DrainEvent[];
let count = 0;
let statuses = new Map<string, { phase: string; ready: boolean }>();

before(async () => {
  plane = await startTestControlPlane();
  plane.kubelets.statusOf = (pod) =>
    statuses.get(pod.metadata.name ?? "") ?? { phase: "Running", ready: true };
});
after(() => plane?.stop());
beforeEach(async () => {
  count++;
  [node, namespace, events, statuses] = [`n${count}`, `ns${count}`, [], new Map()];
  kube = new FaultyKube(plane.client.config);
  await plane.kubelets.addNode(node);
  await makeNamespace(plane.client, namespace);
  owner = await makeOwner(plane.client, namespace);
  await cordon(plane.client, node, { by: "test" });
});

const quick = { replacementTimeoutSeconds: 0, retryMs: 20, pollMs: 20, timeoutSeconds: 20 };
const drain = (options: DrainOptions = {}) =>
  drainNode(kube, node, { ...quick, ...options, onProgress: (event) => events.push(event) });
const find = (name: string) => plane.client.find(podPath(namespace, name));
const isEviction = (name: string) => (request: SentRequest) =>
  request.path === `${podPath(namespace, name)}/eviction`;
const key = (name: string): string => `${namespace}/${name}`;

/** Makes a pod and waits until its kubelet has seen it. */
async function make(name: string, metadata: object = {}, spec: object = {}): Promise<KubeObject> {
  await plane.client.create(
    podPath(namespace),
    podOn(node, namespace, name, { ...owner, ...metadata }, spec),
  );
  const phase = statuses.get(name)?.phase ?? "Running";
  return await plane.until(
    podPath(namespace, name),
    `${name} ${phase}`,
    (pod) => pod.status?.phase === phase,
  );
}

/** Makes a budget and waits until it counts that many healthy pods. */
async function makeBudget(name: string, app: string, spec: object, healthy: number): Promise<void> {
  const path = `/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets`;
  await plane.client.create(path, budget(namespace, name, { app }, spec));
  await plane.until(
    `${path}/${name}`,
    "a counted budget",
    ({ status }) => status?.currentHealthy === healthy,
  );
}

/** Changes a budget and waits until its controller has seen that. */
async function changeBudget(name: string, spec: object): Promise<void> {
  const path = `/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets/${name}`;
  await plane.client.patch(path, "merge", { spec });
  await plane.until(
    path,
    "a counted budget",
    ({ status, metadata }) => status.observedGeneration === metadata.generation,
  );
}

async function failure(promise: Promise<unknown>): Promise<DrainError> {
  const error = await promise.then(
    () => assert.fail("it did not fail"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof DrainError, String(error));
  return error;
}

test("all pods go and are waited for; those of DaemonSets and the kubelet stay", async () => {
  const template = {
    metadata: { labels: { app: "agent" } },
    spec: { containers: [{ name: "c", image: "i" }], nodeSelector: { "kubernetes.io/hostname": node } },
  };
  await plane.apply({
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "agent", namespace },
    spec: { selector: { matchLabels: { app: "agent" } }, template },
  });
  const daemons = await plane.untilList(podPath(namespace), "its pod", (pods) => pods.length === 1);
  await make("web");
  await make("static", { annotations: { "kubernetes.io/config.mirror": "hash" } });
  const daemon = daemons[0]?.metadata.name ?? "";
  const refused = await failure(drain());
  assert.deepEqual(
    refused.blockers.map(({ pod }) => pod),
    [key(daemon)],
  );
  assert.equal(kube.removals.length, 0, "one pod in error: none is evicted");
  const result = await drain({ ignoreDaemonsets: true });
  assert.deepEqual(result.evicted, [key("web")]);
  assert.deepEqual(result.skipped.map(({ pod }) => pod).toSorted(), [key(daemon), key("static")].toSorted());
  assert.deepEqual(
    [await find("web"), (await find(daemon))?.metadata.deletionTimestamp],
    [undefined, undefined],
  );
  assert.deepEqual(events.at(-1), { type: "gone", pod: key("web"), message: "gone", left: 1 });
  kube.fault = ({ path }) => {
    if (path.endsWith("/daemonsets/agent")) throw answer(404, "not found");
  };
  assert.match((await failure(drain({ ignoreDaemonsets: true }))).message, /DaemonSet agent does not exist/);
  assert.deepEqual((await drain({ force: true })).evicted, [key(daemon)]);
});

test("a refused eviction is tried again until the budget allows it, and the budget is named", async () => {
  await make("web");
  await makeBudget("web", "web", { minAvailable: 1 }, 1);
  let opened = false;
  kube.fault = async (request) => {
    if (!isEviction("web")(request) || opened || kube.removals.length < 2) return;
    opened = true;
    await changeBudget("web", { minAvailable: 0 });
  };
  assert.deepEqual((await drain()).evicted, [key("web")]);
  const blocked = events.find(({ type }) => type === "blocked");
  assert.match(blocked?.message ?? "", /disruption budget web needs 1 healthy pods and has 1 currently/);
});

test("a budget that never allows it: at the deadline the pod, the budget and the way out are named", async () => {
  await make("web");
  await makeBudget("never", "web", { minAvailable: 1 }, 1);
  const error = await failure(drain({ timeoutSeconds: 0.3 }));
  assert.match(error.message, new RegExp(`Cannot drain node "${node}" within 0.3 s: 1 pod is still there`));
  assert.deepEqual(error.blockers[0]?.budgets, [key("never")]);
  assert.match(error.message, /needs 1 healthy pods and has 1/);
  assert.match(error.remedy ?? "", /minAvailable 1.*never allows.*scale its workload up by one, or relax/);
  assert.equal((await find("web"))?.metadata.deletionTimestamp, undefined);
});

test("Retry-After is honoured", async () => {
  await make("web");
  kube.fault = failFirst(1, isEviction("web"), answer(429, "later", "DisruptionBudget", "10"));
  const error = await failure(drain({ timeoutSeconds: 0.5 }));
  assert.match(events.find(({ type }) => type === "blocked")?.message ?? "", /later \(again in 10 s\)/);
  assert.equal(kube.removals.length, 1, "not asked again before");
  assert.match(error.message, /later/);
});

test("several budgets on a pod: no waiting, both are named", async () => {
  await make("web");
  await make("other");
  await makeBudget("one", "web", { minAvailable: 0 }, 1);
  await makeBudget("two", "web", { minAvailable: 0 }, 1);
  await makeBudget("never", "other", { minAvailable: 1 }, 1);
  const error = await failure(drain({ timeoutSeconds: 600 }));
  const web = error.blockers.find(({ pod }) => pod === key("web"));
  assert.deepEqual(web?.budgets.toSorted(), [key("one"), key("two")]);
  assert.match(web?.reason ?? "", /2 PodDisruptionBudgets select it/);
  assert.match(web?.unblock ?? "", /leave one budget/);
  assert.match(error.blockers.find(({ pod }) => pod === key("other"))?.reason ?? "", /budget never/);
});

test("in a namespace that is going: a pod already deleted is waited for, another tried again", async () => {
  await make("web");
  const going = answer(403, "being terminated", "NamespaceTerminating");
  let refusals = 0;
  kube.fault = async (request) => {
    if (!isEviction("web")(request)) return;
    if (++refusals === 3) {
      plane.kubelets.silence(node);
      await plane.client.delete(podPath(namespace, "web"));
      setTimeout(() => void plane.client.delete(podPath(namespace, "web"), { gracePeriodSeconds: 0 }), 100);
    }
    throw going;
  };
  assert.deepEqual((await drain()).evicted, [key("web")]);
  assert.equal(refusals, 3);
});

test("a forbidden eviction is not tried again", async () => {
  await make("web");
  kube.fault = failFirst(9, isEviction("web"), answer(403, "no such right"));
  const error = await failure(drain());
  assert.equal(kube.removals.length, 1);
  assert.match(
    `${error.message} ${error.remedy}`,
    /no such right.*allow this user to create pods\/eviction/s,
  );
});

test("an unready pod goes when the budget always allows it, and is explained when not", async () => {
  statuses.set("sick", { phase: "Running", ready: false });
  await make("sick");
  await makeBudget("sick", "sick", { minAvailable: 1 }, 0);
  const error = await failure(drain({ timeoutSeconds: 0.3 }));
  assert.match(error.remedy ?? "", /0 of 1 healthy pods.*not ready: sick.*AlwaysAllow/);
  await changeBudget("sick", { unhealthyPodEvictionPolicy: "AlwaysAllow" });
  assert.deepEqual((await drain()).evicted, [key("sick")]);
});

test("pods that are pending, finished or terminating go past their budget", async () => {
  for (const phase of ["Pending", "Succeeded", "Failed"]) {
    const name = phase.toLowerCase();
    statuses.set(name, { phase, ready: false });
    await make(name);
    await makeBudget(name, name, { minAvailable: 1 }, 0);
  }
  await make("ending", { finalizers: ["example.org/hold"] });
  await makeBudget("ending", "ending", { minAvailable: 1 }, 1);
  await plane.client.delete(podPath(namespace, "ending"), { gracePeriodSeconds: 60 });
  kube.fault = async (request) => {
    if (request.path === podPath(namespace, "ending"))
      await plane.client.patch(request.path, "merge", { metadata: { finalizers: null } });
  };
  assert.equal((await drain()).evicted.length, 4);
});

test("a pod made anew under the same name is not chased", async () => {
  const first = await make("db-0");
  kube.fault = async (request) => {
    if (!isEviction("db-0")(request) || kube.removals.length > 1) return;
    await plane.client.delete(podPath(namespace, "db-0"), { gracePeriodSeconds: 0 });
    await plane.client.create(podPath(namespace), podOn("elsewhere", namespace, "db-0", owner));
  };
  await drain();
  const sent = kube.removals[0]!.options.body as any;
  assert.equal(sent.deleteOptions.preconditions.uid, first.metadata.uid);
  const second = await find("db-0");
  assert.notEqual(second?.metadata.uid, first.metadata.uid);
  assert.equal(second?.metadata.deletionTimestamp, undefined);
});

test("a pod that came back elsewhere under its name is not waited for", async () => {
  await make("db-0");
  let looks = 0;
  kube.fault = async ({ method, path }) => {
    if (method !== "GET" || path !== podPath(namespace, "db-0") || looks++ > 0) return;
    await plane.client.deleteIfExists(podPath(namespace, "db-0"), { gracePeriodSeconds: 0 });
    await plane.client.create(podPath(namespace), podOn("elsewhere", namespace, "db-0", owner));
  };
  assert.deepEqual((await drain({ timeoutSeconds: 5 })).evicted, [key("db-0")]);
  assert.equal((await find("db-0"))?.spec.nodeName, "elsewhere");
});

test("an eviction without an answer is not sent again to a pod that another took the place of", async () => {
  await make("db-0");
  kube.fault = async (request) => {
    if (!isEviction("db-0")(request)) return;
    await plane.client.delete(podPath(namespace, "db-0"), { gracePeriodSeconds: 0 });
    await plane.client.create(podPath(namespace), podOn("elsewhere", namespace, "db-0", owner));
    throw new ShuntError("no answer within 30 s", { code: "Timeout" });
  };
  assert.deepEqual((await drain()).evicted, [key("db-0")]);
  assert.equal(kube.removals.length, 1);
});

test("reads and evictions that fail for a while are tried again", async () => {
  await make("web");
  const failing = new Map<string, number>();
  const broken = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
  const unreachable = new ShuntError("cannot reach the server", { code: "Unreachable" });
  kube.fault = ({ method, path }) => {
    const times = failing.get(`${method} ${path}`) ?? 0;
    failing.set(`${method} ${path}`, times + 1);
    const failure = [answer(503, "away"), broken, unreachable][times];
    if (failure !== undefined) throw failure;
  };
  assert.deepEqual((await drain()).evicted, [key("web")]);
  assert.ok([...failing.keys()].some((request) => request === `GET ${podPath(namespace, "web")}`));
  assert.ok(events.some(({ type, message }) => type === "retrying" && /away/.test(message)));
});

test("a server that stays away ends the drain at the deadline", async () => {
  kube.fault = () => {
    throw answer(503, "away");
  };
  await assert.rejects(drain({ timeoutSeconds: 0.4 }), /Cannot drain node.*away/);
});

test("a pod that never ends is named with its finalizer or its silent node", async () => {
  await make("held", { finalizers: ["example.org/hold"] });
  const held = await failure(drain({ timeoutSeconds: 0.5 }));
  assert.match(`${held.message} ${held.remedy}`, /held by finalizer example.org\/hold.*must remove it/s);
  await plane.client.patch(podPath(namespace, "held"), "merge", { metadata: { finalizers: null } });
  await make("web");
  plane.kubelets.silence(node);
  const ending = await failure(drain({ timeoutSeconds: 0.5 }));
  assert.match(`${ending.message} ${ending.remedy}`, /grace period runs until.*longer timeoutSeconds/s);
  await plane.client.patch(`/api/v1/nodes/${node}/status`, "strategic", {
    status: { conditions: [{ type: "Ready", status: "Unknown" }] },
  });
  const silent = await failure(drain({ timeoutSeconds: 0.5 }));
  assert.match(`${silent.message} ${silent.remedy}`, /kubelet of node n\d+ does not answer.*--force/s);
});

test("pods deleted long ago are not waited for when so asked", async () => {
  await make("held", { finalizers: ["example.org/hold"] });
  const result = await drain({ skipWaitForDeleteTimeoutSeconds: 1, gracePeriodSeconds: 0 });
  assert.deepEqual([result.evicted, result.givenUp], [[], [key("held")]]);
  assert.deepEqual((await drain({ skipWaitForDeleteTimeoutSeconds: 1 })).skipped.length, 1);
  await plane.client.patch(podPath(namespace, "held"), "merge", { metadata: { finalizers: null } });
});

test("the grace period is the pod's own, or as asked", async () => {
  await make("own");
  await drain();
  await make("quick");
  await drain({ gracePeriodSeconds: 0 });
  const asked = kube.removals.map(({ options }) => (options.body as any).deleteOptions.gracePeriodSeconds);
  assert.deepEqual(asked, [undefined, 0]);
});

test("deleting instead of evicting goes past budgets, with the UID", async () => {
  const pod = await make("web");
  await makeBudget("never", "web", { minAvailable: 1 }, 1);
  assert.deepEqual((await drain({ disableEviction: true })).evicted, [key("web")]);
  assert.deepEqual(
    kube.removals.map(({ method, options }) => [method, (options.body as any).preconditions.uid]),
    [["DELETE", pod.metadata.uid]],
  );
});

test("dry runs: the client's sends nothing, the server's says what it would refuse", async () => {
  await make("web");
  await make("free");
  await makeBudget("never", "web", { minAvailable: 1 }, 1);
  const client = await drain({ dryRun: "client" });
  assert.deepEqual([client.evicted.toSorted(), kube.removals], [[key("free"), key("web")], []]);
  const server = await drain({ dryRun: "server" });
  assert.deepEqual(server.evicted, [key("free")]);
  assert.match(server.blocked[0]?.reason ?? "", /budget never needs 1/);
  for (const name of ["web", "free"]) {
    const pod = await find(name);
    assert.deepEqual([pod?.metadata.name, pod?.metadata.deletionTimestamp], [name, undefined]);
  }
});

test("evictions are not ordered: a pod may wait for another one's end", async () => {
  await make("first");
  await make("second");
  const held = answer(429, "after second", "DisruptionBudget");
  kube.fault = async (request) => {
    if (isEviction("first")(request) && (await find("second")) !== undefined) throw held;
  };
  assert.equal((await drain()).evicted.length, 2);
});

test("404: done when the pod is gone, an error when there are no evictions", async () => {
  await make("gone");
  kube.fault = async (request) => {
    if (isEviction("gone")(request))
      await plane.client.delete(podPath(namespace, "gone"), { gracePeriodSeconds: 0 });
  };
  assert.deepEqual((await drain()).evicted, [key("gone")]);
  await make("web");
  kube.fault = failFirst(9, isEviction("web"), answer(404, "the server could not find the resource"));
  assert.match((await failure(drain())).message, /could not find the resource/);
});

test("only pods that are selected, page by page, and those that come meanwhile are told", async () => {
  for (const name of ["a", "b", "c"]) await make(name, { labels: { app: name, tier: "web" } });
  await make("stays");
  kube.fault = async (request) => {
    if (!isEviction("a")(request)) return;
    const tolerant = { tolerations: [{ operator: "Exists" }] };
    await make("returned", { labels: { tier: "web" } }, tolerant);
  };
  const result = await drain({ podSelector: "tier=web", chunkSize: 1 });
  assert.deepEqual(result.evicted.toSorted(), ["a", "b", "c"].map(key));
  assert.deepEqual(result.returned, [key("returned")]);
  assert.equal((await find("stays"))?.metadata.deletionTimestamp, undefined);
  assert.equal(kube.sent.find(({ options }) => options.query?.fieldSelector)?.options.query?.limit, 1);
});

test("nodes are selected by label, and none is an error", async () => {
  await plane.client.patch(`/api/v1/nodes/${node}`, "merge", { metadata: { labels: { pool: namespace } } });
  assert.deepEqual(await selectNodes(kube, `pool=${namespace}`), [node]);
  await assert.rejects(selectNodes(kube, "pool=none"), /No node has the labels/);
});

test("an abort ends it at once", async () => {
  await make("web");
  await makeBudget("never", "web", { minAvailable: 1 }, 1);
  const stop = new AbortController();
  const drained = drain({ signal: stop.signal, retryMs: 60_000, timeoutSeconds: 600 });
  const stopOnBlocked = setInterval(() => {
    if (events.some(({ type }) => type === "blocked")) stop.abort(new Error("stopped by the operator"));
  }, 10);
  await assert.rejects(drained, /stopped by the operator/).finally(() => clearInterval(stopOnBlocked));
});

/** Two pods of a controller that nobody runs; its count of ready pods is what one says. */
async function makeReplicated(): Promise<(ready: number) => Promise<unknown>> {
  const path = resourcePath("v1", "replicationcontrollers", namespace);
  const labels = { app: "dns" };
  const template = { metadata: { labels }, spec: { containers: [{ name: "main", image: "one" }] } };
  const { metadata } = await plane.client.create(path, {
    apiVersion: "v1",
    kind: "ReplicationController",
    metadata: { name: "dns" },
    spec: { replicas: 2, selector: labels, template },
  });
  const reference = { apiVersion: "v1", kind: "ReplicationController", name: "dns", uid: metadata.uid! };
  for (const name of ["dns-1", "dns-2"])
    await make(name, { ownerReferences: [{ ...reference, controller: true }] });
  return (ready) =>
    plane.client.patch(`${path}/dns/status`, "merge", { status: { replicas: 2, readyReplicas: ready } });
}

test("pods of one controller go one after another, each when the one before is replaced", async () => {
  const setReady = await makeReplicated();
  await setReady(1);
  const draining = drain({ replacementTimeoutSeconds: 20 });
  await waitFor("the first to go", async () => (await find("dns-1")) === undefined, { timeoutMs: 10_000 });
  const waits = () => events.some(({ message }) => /1 of 2 pods ready/.test(message));
  await waitFor("the second to wait", async () => waits(), { timeoutMs: 10_000 });
  assert.equal(kube.removals.length, 1);
  assert.equal((await find("dns-2"))?.metadata.deletionTimestamp, undefined);
  await setReady(2);
  assert.deepEqual((await draining).evicted, [key("dns-1"), key("dns-2")]);
});

test("a replacement that never comes delays a drain and does not end it", async () => {
  await makeReplicated();
  assert.equal((await drain({ replacementTimeoutSeconds: 1 })).evicted.length, 2);
  assert.ok(events.some(({ type, message }) => type === "warning" && /goes all the same/.test(message)));
});
