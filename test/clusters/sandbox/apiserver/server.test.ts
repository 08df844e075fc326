// SPDX-License-Identifier: Apache-2.0
// What kubectl does not show: watches, pages, preconditions, grace, tokens, eviction, restarts.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { KubeClient } from "../../../../lib/kube.ts";
import { connectKube } from "../../../../lib/kube-connect.ts";
import { ApiError } from "../../../../lib/kube-errors.ts";
import type { KubeObject, WatchEvent } from "../../../../lib/kube-object.ts";
import { secretToken } from "../controller-manager/token-secrets.ts";
import { startTestApiServer, type TestApiServer } from "./testing.ts";

let server: TestApiServer;
let kube: KubeClient;

before(async () => {
  server = await startTestApiServer();
  kube = await connectKube({ kubeconfig: server.kubeconfig });
  await kube.create(`${CORE}/serviceaccounts`, { metadata: { name: "default" } });
});
after(async () => {
  kube?.close();
  await server?.stop();
});

const CORE = "/api/v1/namespaces/default";
const configMap = (name: string, data: Record<string, string> = {}): KubeObject => ({
  metadata: { name },
  data,
});
const pod = (name: string, spec: object = {}): KubeObject => ({
  metadata: { name, labels: { app: name } },
  spec: { containers: [{ name: "c", image: "i" }], ...spec },
});

async function refusal(promise: Promise<unknown>): Promise<ApiError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: "the request was expected to fail" });
}

async function collect(path: string, query: Record<string, string>, count: number): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  for await (const event of kube.watch(path, query, AbortSignal.timeout(10_000))) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

test("a watch with a selector sees objects come into view and leave it", async () => {
  const { metadata } = await kube.get<any>(`${CORE}/configmaps`);
  await kube.create(`${CORE}/configmaps`, configMap("seen"));
  for (const value of ["yes", "no"])
    await kube.patch(`${CORE}/configmaps/seen`, "merge", { metadata: { labels: { show: value } } });
  const query = { resourceVersion: metadata.resourceVersion, labelSelector: "show=yes" };
  const events = await collect(`${CORE}/configmaps`, query, 2);
  assert.deepEqual(
    events.map(({ type, object }) => [type, object.metadata.labels?.show]),
    [
      ["ADDED", "yes"],
      ["DELETED", "yes"],
    ],
  );
  await kube.delete(`${CORE}/configmaps/seen`);
});

test("a watch may ask for the present state and a mark where it ends", async () => {
  await kube.create(`${CORE}/configmaps`, configMap("initial"));
  const query = { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" };
  const events = await collect(`${CORE}/configmaps`, query, 2);
  assert.deepEqual(
    events.map(({ type }) => type),
    ["ADDED", "BOOKMARK"],
  );
  assert.equal(events[1]!.object.metadata.annotations?.["k8s.io/initial-events-end"], "true");
  await kube.delete(`${CORE}/configmaps/initial`);
});

test("pages show one moment, whatever is written in between", async () => {
  for (const name of ["p1", "p2", "p3"]) await kube.create(`${CORE}/configmaps`, configMap(name));
  const first = await kube.get<any>(`${CORE}/configmaps`, { query: { limit: 2 } });
  assert.equal(first.metadata.remainingItemCount, 1);
  await kube.delete(`${CORE}/configmaps/p3`);
  await kube.create(`${CORE}/configmaps`, configMap("p4"));
  const second = await kube.get<any>(`${CORE}/configmaps`, {
    query: { limit: 2, continue: first.metadata.continue },
  });
  const names = [...first.items, ...second.items].map((item: KubeObject) => item.metadata.name);
  assert.deepEqual(names, ["p1", "p2", "p3"]);
  assert.equal(second.metadata.resourceVersion, first.metadata.resourceVersion);
});

test("an update from an old version, and a delete of another object, conflict", async () => {
  const created = await kube.create(`${CORE}/configmaps`, configMap("c", { k: "1" }));
  await kube.replace(`${CORE}/configmaps/c`, { ...created, data: { k: "2" } });
  const stale = await refusal(kube.replace(`${CORE}/configmaps/c`, { ...created, data: { k: "3" } }));
  assert.equal(stale.reason, "Conflict");
  const uid = await refusal(kube.delete(`${CORE}/configmaps/c`, { preconditions: { uid: "other" } }));
  assert.match(uid.body.message, /Precondition failed: UID in precondition: other/);
  const before = await kube.get(`${CORE}/configmaps/c`);
  const same = await kube.replace(`${CORE}/configmaps/c`, before);
  assert.equal(same.metadata.resourceVersion, before.metadata.resourceVersion);
});

test("a pod on a node ends gracefully, one without a node at once", async () => {
  await kube.create(`${CORE}/pods`, pod("bound", { nodeName: "n", terminationGracePeriodSeconds: 7 }));
  await kube.create(`${CORE}/pods`, pod("free"));
  const marked = await kube.delete<KubeObject>(`${CORE}/pods/bound`);
  assert.equal(marked.metadata.deletionGracePeriodSeconds, 7);
  await kube.delete(`${CORE}/pods/free`);
  assert.equal(await kube.find(`${CORE}/pods/free`), undefined);
  await kube.delete(`${CORE}/pods/bound`, { gracePeriodSeconds: 0 });
  assert.equal(await kube.find(`${CORE}/pods/bound`), undefined);
});

test("a finalizer keeps a deleted object until it is taken away", async () => {
  const held = configMap("held");
  held.metadata.finalizers = ["test.dev/hold"];
  await kube.create(`${CORE}/configmaps`, held);
  await kube.delete(`${CORE}/configmaps/held`);
  const waiting = await kube.get(`${CORE}/configmaps/held`);
  assert.ok(waiting.metadata.deletionTimestamp);
  await kube.patch(`${CORE}/configmaps/held`, "merge", { metadata: { finalizers: null } });
  assert.equal(await kube.find(`${CORE}/configmaps/held`), undefined);
});

test("a pod is bound once", async () => {
  await kube.create(`${CORE}/pods`, pod("bind"));
  const binding = { metadata: { name: "bind" }, target: { kind: "Node", name: "n1" } };
  await kube.create(`${CORE}/pods/bind/binding`, binding);
  const found = await kube.get(`${CORE}/pods/bind`);
  assert.equal(found.spec.nodeName, "n1");
  const again = await refusal(kube.create(`${CORE}/pods/bind/binding`, binding));
  assert.match(again.body.message, /already assigned to node "n1"/);
});

test("eviction asks the budget", async () => {
  await kube.create(`${CORE}/pods`, pod("evict", { nodeName: "n1" }));
  await kube.patch(`${CORE}/pods/evict/status`, "merge", {
    status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] },
  });
  const budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
  const selector = { matchLabels: { app: "evict" } };
  await kube.create(budgets, { metadata: { name: "one" }, spec: { minAvailable: 1, selector } });
  const eviction = { metadata: { name: "evict" } };
  const evict = () => kube.create(`${CORE}/pods/evict/eviction`, eviction);
  const unseen = await refusal(evict());
  assert.equal(unseen.status, 429);
  assert.equal(unseen.retryAfterSeconds, 10);
  const status = { observedGeneration: 1, desiredHealthy: 1, currentHealthy: 1, expectedPods: 1 };
  await kube.patch(`${budgets}/one/status`, "merge", { status: { ...status, disruptionsAllowed: 0 } });
  const blocked = await refusal(evict());
  assert.deepEqual(blocked.body.details.causes, [
    {
      reason: "DisruptionBudget",
      message: "The disruption budget one needs 1 healthy pods and has 1 currently",
    },
  ]);
  await kube.create(budgets, { metadata: { name: "two" }, spec: { minAvailable: 1, selector } });
  assert.equal((await refusal(evict())).status, 500);
  await kube.delete(`${budgets}/two`);
  await kube.patch(`${budgets}/one/status`, "merge", { status: { disruptionsAllowed: 1 } });
  await evict();
  assert.ok((await kube.get(`${CORE}/pods/evict`)).metadata.deletionTimestamp);
  assert.equal((await kube.get(`${budgets}/one`)).status.disruptionsAllowed, 0);
});

test("a token is good as long as what it is bound to", async () => {
  const bearer = await kube.create(`${CORE}/pods`, pod("bearer"));
  const boundObjectRef = { kind: "Pod", apiVersion: "v1", name: "bearer", uid: bearer.metadata.uid };
  const request = { spec: { expirationSeconds: 3600, boundObjectRef } };
  const { status } = await kube.create<any>(`${CORE}/serviceaccounts/default/token`, request);
  const config = server.kubeconfigWithToken("bearer", status.token);
  const client = await connectKube({ kubeconfig: config });
  const review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const who = await client.create<any>(review, {});
  assert.equal(who.status.userInfo.username, "system:serviceaccount:default:default");
  assert.equal((await refusal(client.get(`${CORE}/secrets`))).status, 403);
  await kube.delete(`${CORE}/pods/bearer`);
  assert.equal((await refusal(client.create(review, {}))).status, 401);
  client.close();
});

test("a Secret's token is good as long as the Secret holds it", async () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const legacy = await startTestApiServer({ serviceAccountSigningKey: pem });
  const admin = await connectKube({ kubeconfig: legacy.kubeconfig });
  const account = await admin.create(`${CORE}/serviceaccounts`, { metadata: { name: "old" } });
  const token = secretToken(account, "old-token", pem);
  const annotations = { "kubernetes.io/service-account.name": "old" };
  await admin.create(`${CORE}/secrets`, {
    metadata: { name: "old-token", annotations },
    type: "kubernetes.io/service-account-token",
    data: { token: Buffer.from(token).toString("base64") },
  });
  const review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const as = async (bearer: string) => {
    const client = await connectKube({ kubeconfig: legacy.kubeconfigWithToken("old", bearer) });
    return await client.create<any>(review, {}).finally(() => client.close());
  };
  assert.equal((await as(token)).status.userInfo.username, "system:serviceaccount:default:old");
  await admin.patch(`${CORE}/secrets/old-token`, "merge", { data: { token: "b3RoZXI=" } });
  assert.equal((await refusal(as(token))).status, 401);
  admin.close();
  await legacy.stop();
});

test("older clients may ask who they are", async () => {
  for (const version of ["v1", "v1beta1", "v1alpha1"]) {
    const who = await kube.create<any>(`/apis/authentication.k8s.io/${version}/selfsubjectreviews`, {});
    assert.equal(who.apiVersion, `authentication.k8s.io/${version}`);
    assert.equal(who.status.userInfo.username, "kubernetes-admin");
  }
});

test("patches with unknown fields are refused in the real server's words", async () => {
  await kube.create(`${CORE}/configmaps`, configMap("strict"));
  const path = `${CORE}/configmaps/strict`;
  const strict = { fieldValidation: "Strict" };
  const merge = await refusal(kube.patch(path, "merge", { dtaa: { a: "b" } }, strict));
  assert.equal(merge.status, 422);
  assert.match(
    merge.body.message,
    /^ "" is invalid: patch: Invalid value: "\{.*\}": strict decoding error: unknown field "dtaa"$/,
  );
  const strategic = await refusal(kube.patch(path, "strategic", { dtaa: { a: "b", c: ["d"] } }, strict));
  assert.equal(
    strategic.body.message,
    ' "" is invalid: patch: Invalid value: "map[dtaa:map[a:b c:[d]]]": strict decoding error: unknown field "dtaa"',
  );
  const applied = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "strict" },
    spec: { containers: [{ name: "c", image: "i", imgae: "i" }] },
  };
  const apply = await refusal(kube.apply(`${CORE}/pods/strict`, applied));
  assert.equal(
    apply.body.message,
    'failed to create typed patch object (default/strict; v1, Kind=Pod): .spec.containers[name="c"].imgae: field not declared in schema',
  );
  await kube.patch(path, "merge", { dtaa: {} }, { fieldValidation: "Warn" });
  assert.equal((await kube.get<any>(path)).dtaa, undefined);
});

test("strangers see the version and nothing else", async () => {
  const config = server.kubeconfigWithToken("stranger", "not-a-token");
  const stranger = await connectKube({ kubeconfig: config });
  assert.equal((await refusal(stranger.get(`${CORE}/pods`))).status, 401);
  stranger.close();
});

test("a restart keeps objects, and watches from before it expire", async () => {
  const kept = await startTestApiServer({ dataDir: join(server.folder, "data") });
  const client = await connectKube({ kubeconfig: kept.kubeconfig });
  const created = await client.create(`${CORE}/configmaps`, configMap("kept", { k: "v" }));
  await client.create(`${CORE}/configmaps`, configMap("gone"));
  await client.delete(`${CORE}/configmaps/gone`);
  await kept.restart();
  client.close();
  const found = await client.get(`${CORE}/configmaps/kept`);
  assert.equal(found.metadata.uid, created.metadata.uid);
  assert.equal(await client.find(`${CORE}/configmaps/gone`), undefined);
  const next = await client.create(`${CORE}/configmaps`, configMap("next"));
  assert.ok(Number(next.metadata.resourceVersion) > Number(created.metadata.resourceVersion));
  const query = { resourceVersion: created.metadata.resourceVersion! };
  const expired = await refusal(
    (async () => {
      for await (const _event of client.watch(`${CORE}/configmaps`, query, AbortSignal.timeout(5000))) break;
    })(),
  );
  assert.equal(expired.status, 410);
  client.close();
  await kept.stop();
});
