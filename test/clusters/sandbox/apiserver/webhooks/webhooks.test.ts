// SPDX-License-Identifier: Apache-2.0
// Admission webhooks, against a small one of the test's own.
import assert from "node:assert/strict";
import { once } from "node:events";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import type { KubeClient } from "../../../../../lib/kube.ts";
import { connectKube } from "../../../../../lib/kube-connect.ts";
import { ApiError } from "../../../../../lib/kube-errors.ts";
import { startTestApiServer, type TestApiServer } from "../testing.ts";

const CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1";
const MAPS = "/api/v1/namespaces/default/configmaps";
const PODS = "/api/v1/namespaces/default/pods";

let server: TestApiServer;
let kube: KubeClient;
let hook: https.Server;
let url: string;
/** What the webhook was asked, and how it answers. */
const asked: any[] = [];
let respond: (request: any) => object | Promise<object>;

before(async () => {
  server = await startTestApiServer();
  kube = await connectKube({ kubeconfig: server.kubeconfig });
  const names = ["127.0.0.1", "hook.default.svc"];
  const { cert, key } = await server.authority.issue({ commonName: "hook", names });
  hook = https.createServer({ cert, key }, async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const { request: question } = JSON.parse(text);
    asked.push(question);
    const answer = { uid: question.uid, ...(await respond(question)) };
    response.end(
      JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: answer }),
    );
  });
  hook.listen(0, "127.0.0.1");
  await once(hook, "listening");
  url = `https://127.0.0.1:${(hook.address() as AddressInfo).port}/`;
  await kube.create("/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "default" } });
});
after(async () => {
  kube?.close();
  hook.closeAllConnections();
  hook.close();
  await server?.stop();
});
beforeEach(async () => {
  respond = () => ({ allowed: true });
  for (const plural of ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"])
    await kube.delete(`${CONFIGURATIONS}/${plural}`);
  await kube.delete(MAPS);
  asked.length = 0;
});

async function register(kind: "Mutating" | "Validating", webhook: object): Promise<void> {
  const caBundle = Buffer.from(server.authority.cert).toString("base64");
  const rule = { apiGroups: [""], apiVersions: ["v1"], operations: ["*"], resources: ["configmaps"] };
  await kube.create(`${CONFIGURATIONS}/${kind.toLowerCase()}webhookconfigurations`, {
    metadata: { name: "test" },
    webhooks: [
      {
        name: "hook.example.com",
        clientConfig: { url, caBundle },
        rules: [rule],
        sideEffects: "None",
        admissionReviewVersions: ["v1"],
        ...webhook,
      },
    ],
  });
}

const map = (name: string, data: Record<string, string> = {}, labels: Record<string, string> = {}) => ({
  metadata: { name, labels },
  data,
});
const patchOf = (...operations: object[]) => ({
  allowed: true,
  patchType: "JSONPatch",
  patch: Buffer.from(JSON.stringify(operations)).toString("base64"),
});
async function refusal(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ApiError, `expected a refusal, not ${error}`);
  return error;
}

test("a validating webhook sees what is written, and its refusal stops it", async () => {
  await register("Validating", {});
  respond = ({ object }) =>
    object?.data?.bad === undefined
      ? { allowed: true }
      : { allowed: false, status: { code: 403, reason: "Forbidden", message: "no bad data" } };
  await kube.create(MAPS, map("one", { good: "1" }));
  const { operation, kind, resource, userInfo, name, namespace, object, oldObject } = asked[0];
  assert.deepEqual(kind, { group: "", version: "v1", kind: "ConfigMap" });
  assert.deepEqual(resource, { group: "", version: "v1", resource: "configmaps" });
  assert.deepEqual(
    [operation, name, namespace, userInfo.username],
    ["CREATE", "one", "default", "kubernetes-admin"],
  );
  assert.deepEqual([object.data, oldObject], [{ good: "1" }, null]);
  const refused = await refusal(kube.patch(`${MAPS}/one`, "merge", { data: { bad: "1" } }));
  assert.equal(refused.status, 403);
  assert.equal(refused.body.message, 'admission webhook "hook.example.com" denied the request: no bad data');
  assert.deepEqual([asked[1].operation, asked[1].oldObject.data], ["UPDATE", { good: "1" }]);
  assert.deepEqual((await kube.get<any>(`${MAPS}/one`)).data, { good: "1" });
});

test("a mutating webhook changes what is created, replaced, patched and applied", async () => {
  await register("Mutating", {});
  respond = () => patchOf({ op: "add", path: "/data/seen", value: "yes" });
  await kube.create(MAPS, map("one", { a: "1" }));
  const read = async (name: string) => (await kube.get<any>(`${MAPS}/${name}`)).data;
  assert.deepEqual(await read("one"), { a: "1", seen: "yes" });
  await kube.replace(`${MAPS}/one`, map("one", { a: "2" }));
  assert.deepEqual(await read("one"), { a: "2", seen: "yes" });
  await kube.patch(`${MAPS}/one`, "json", [{ op: "replace", path: "/data", value: { b: "3" } }]);
  assert.deepEqual(await read("one"), { b: "3", seen: "yes" });
  await kube.apply(`${MAPS}/two`, { apiVersion: "v1", kind: "ConfigMap", ...map("two", { c: "4" }) });
  assert.deepEqual(await read("two"), { c: "4", seen: "yes" });
  const named = await kube.create(MAPS, { metadata: { generateName: "three-" }, data: { d: "5" } });
  assert.equal(asked.at(-1).name, named.metadata.name);
});

test("a deletion can be refused", async () => {
  await kube.create(MAPS, map("kept"));
  await register("Validating", {});
  respond = ({ operation }) => ({ allowed: operation !== "DELETE" });
  const refused = await refusal(kube.delete(`${MAPS}/kept`));
  assert.equal(
    refused.body.message,
    'admission webhook "hook.example.com" denied the request without explanation',
  );
  assert.deepEqual([asked[0].object, asked[0].oldObject.metadata.name], [null, "kept"]);
  await kube.get(`${MAPS}/kept`);
  respond = () => ({ allowed: true });
  await kube.delete(`${MAPS}/kept`);
});

test("rules and selectors say what a webhook is asked", async () => {
  await register("Validating", {
    rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["configmaps"] }],
    objectSelector: { matchLabels: { watched: "yes" } },
    namespaceSelector: {
      matchExpressions: [{ key: "kubernetes.io/metadata.name", operator: "NotIn", values: ["kube-system"] }],
    },
  });
  await kube.create(MAPS, map("unlabelled"));
  await kube.create("/api/v1/namespaces/kube-system/configmaps", map("elsewhere", {}, { watched: "yes" }));
  await kube.create(MAPS, map("watched", {}, { watched: "yes" }));
  await kube.patch(`${MAPS}/watched`, "merge", { data: { a: "1" } });
  await kube.create("/api/v1/namespaces/default/secrets", {
    metadata: { name: "s", labels: { watched: "yes" } },
  });
  assert.deepEqual(
    asked.map(({ name }) => name),
    ["watched"],
  );
});

test("a webhook that does not answer in time blocks, unless it is to be ignored", async () => {
  respond = () => new Promise(() => undefined);
  await register("Validating", { timeoutSeconds: 1 });
  const refused = await refusal(kube.create(MAPS, map("late")));
  assert.equal(refused.status, 500);
  assert.match(
    refused.body.message,
    /^Internal error occurred: failed calling webhook "hook\.example\.com": failed to call webhook: Post ".*timeout=1s": context deadline exceeded$/,
  );
  const configuration = `${CONFIGURATIONS}/validatingwebhookconfigurations/test`;
  const { webhooks } = await kube.get<any>(configuration);
  webhooks[0].failurePolicy = "Ignore";
  await kube.patch(configuration, "merge", { webhooks });
  await kube.create(MAPS, map("late"));
});

test("a webhook behind a Service that is gone blocks", async () => {
  await register("Mutating", { clientConfig: { service: { namespace: "default", name: "hook" } } });
  const refused = await refusal(kube.create(MAPS, map("blocked")));
  assert.match(
    refused.body.message,
    /failed calling webhook "hook\.example\.com": .*service "hook" not found/,
  );
});

test("a webhook behind a Service is reached at its address, by its name", async () => {
  const { port } = new URL(url);
  const caBundle = Buffer.from(server.authority.cert).toString("base64");
  await kube.create("/api/v1/namespaces/default/services", {
    metadata: { name: "hook" },
    spec: { type: "ExternalName", externalName: "127.0.0.1" },
  });
  const service = { namespace: "default", name: "hook", port: Number(port), path: "/check" };
  await register("Validating", { clientConfig: { service, caBundle } });
  await kube.create(MAPS, map("served"));
  assert.equal(asked.length, 1);
});

test("evictions and streams are asked about as what they are", async () => {
  await kube.create(PODS, {
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "i" }] },
  });
  await register("Validating", {
    rules: [
      {
        apiGroups: [""],
        apiVersions: ["v1"],
        operations: ["CREATE", "CONNECT"],
        resources: ["pods/eviction", "pods/exec"],
      },
    ],
  });
  respond = () => ({ allowed: false, status: { message: "not now" } });
  const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "p" } };
  const refused = await refusal(kube.create(`${PODS}/p/eviction`, eviction));
  assert.match(refused.body.message, /denied the request: not now/);
  const { kind, subResource, operation } = asked[0];
  assert.deepEqual([kind.kind, subResource, operation], ["Eviction", "eviction", "CREATE"]);
  await refusal(kube.create(`${PODS}/p/exec`, {}, { command: "true" }));
  assert.equal(asked[1].operation, "CONNECT");
  await kube.get(`${PODS}/p`);
});

test("a scale is asked about as a Scale, and can be changed", async () => {
  const deployments = "/apis/apps/v1/namespaces/default/deployments";
  const template = { metadata: { labels: { app: "a" } }, spec: { containers: [{ name: "c", image: "i" }] } };
  const spec = { replicas: 1, selector: { matchLabels: { app: "a" } }, template };
  await kube.create(deployments, { metadata: { name: "scaled" }, spec });
  const resources = ["deployments/scale"];
  await register("Mutating", {
    rules: [{ apiGroups: ["apps"], apiVersions: ["v1"], operations: ["UPDATE"], resources }],
  });
  respond = () => patchOf({ op: "replace", path: "/spec/replicas", value: 2 });
  await kube.patch(`${deployments}/scaled/scale`, "merge", { spec: { replicas: 5 } });
  const { kind, object, oldObject } = asked[0];
  assert.deepEqual([kind.kind, object.spec.replicas, oldObject.spec.replicas], ["Scale", 5, 1]);
  assert.equal((await kube.get(`${deployments}/scaled`)).spec.replicas, 2);
});

test("an object that changes while its webhook is asked is asked about again", async () => {
  await kube.create(MAPS, map("moving", { by: "nobody" }));
  await register("Mutating", { objectSelector: { matchLabels: { slow: "yes" } } });
  respond = async ({ oldObject }) => {
    if (asked.length === 1) await kube.patch(`${MAPS}/moving`, "merge", { data: { by: "another" } });
    return patchOf({ op: "add", path: "/data/was", value: oldObject.data.by });
  };
  await kube.patch(`${MAPS}/moving`, "merge", { metadata: { labels: { slow: "yes" } } });
  assert.deepEqual((await kube.get<any>(`${MAPS}/moving`)).data, { by: "another", was: "another" });
});

test("a broken webhook can be taken away", async () => {
  respond = () => ({ allowed: false });
  const all = { apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*/*"] };
  await register("Validating", { rules: [all] });
  await refusal(kube.create(MAPS, map("none")));
  await kube.delete(`${CONFIGURATIONS}/validatingwebhookconfigurations/test`);
  await kube.create(MAPS, map("some"));
});
