// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Refusal, UserInfo } from "../resource.ts";
import { pod, TestStore } from "../test-store.ts";
import { type AuthorizationAttributes, authorize, listRules } from "./authorize.ts";

const RBAC = "rbac.authorization.k8s.io/v1";
const ANN: UserInfo = { username: "ann", groups: ["dev", "system:authenticated"] };

function can(
  store: TestStore,
  user: UserInfo,
  verb: string,
  resource: string,
  rest: Partial<AuthorizationAttributes> = {},
) {
  return authorize(user, { verb, group: "", resource, ...rest }, store).allowed;
}

function bindView(store: TestStore, namespace = "default"): void {
  store.put({
    apiVersion: RBAC,
    kind: "RoleBinding",
    metadata: { name: "dev", namespace },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
    subjects: [{ kind: "Group", name: "dev" }],
  });
}

test("a role binding grants in its namespace only", () => {
  const store = new TestStore();
  assert.equal(can(store, ANN, "list", "pods", { namespace: "default" }), false);
  bindView(store);
  assert.equal(can(store, ANN, "list", "pods", { namespace: "default" }), true);
  assert.equal(can(store, ANN, "get", "pods", { namespace: "default", subresource: "log", name: "a" }), true);
  assert.equal(can(store, ANN, "list", "pods", { namespace: "kube-system" }), false);
  assert.equal(can(store, ANN, "delete", "pods", { namespace: "default", name: "a" }), false);
  assert.equal(can(store, ANN, "get", "secrets", { namespace: "default", name: "a" }), false);
});

test("aggregated roles take in what others add by label", () => {
  const store = new TestStore();
  bindView(store);
  const thing = { group: "example.com", namespace: "default" };
  assert.equal(can(store, ANN, "list", "things", thing), false);
  store.put({
    apiVersion: RBAC,
    kind: "ClusterRole",
    metadata: { name: "things-view", labels: { "rbac.authorization.k8s.io/aggregate-to-view": "true" } },
    rules: [{ apiGroups: ["example.com"], resources: ["things"], verbs: ["list"] }],
  });
  assert.equal(can(store, ANN, "list", "things", thing), true);
});

test("everyone may discover, only masters may do everything", () => {
  const store = new TestStore();
  assert.equal(authorize(ANN, { verb: "get", path: "/apis/apps/v1" }, store).allowed, true);
  assert.equal(authorize(ANN, { verb: "get", path: "/metrics" }, store).allowed, false);
  const anonymous = { username: "system:anonymous", groups: ["system:unauthenticated"] };
  assert.equal(authorize(anonymous, { verb: "get", path: "/readyz" }, store).allowed, true);
  assert.equal(authorize(anonymous, { verb: "get", path: "/api" }, store).allowed, false);
});

test("a kubelet reads the secrets of its own pods only", () => {
  const store = new TestStore();
  const kubelet = { username: "system:node:n1", groups: ["system:nodes"] };
  store.put(pod("web", { nodeName: "n1", volumes: [{ name: "s", secret: { secretName: "mine" } }] }));
  store.put(pod("other", { nodeName: "n2", volumes: [{ name: "s", secret: { secretName: "theirs" } }] }));
  assert.equal(can(store, kubelet, "get", "secrets", { namespace: "default", name: "mine" }), true);
  assert.equal(can(store, kubelet, "get", "secrets", { namespace: "default", name: "theirs" }), false);
  assert.equal(can(store, kubelet, "patch", "nodes", { name: "n1", subresource: "status" }), true);
  const lease = { group: "coordination.k8s.io", namespace: "kube-node-lease" };
  assert.equal(can(store, kubelet, "update", "leases", { ...lease, name: "n1" }), true);
  assert.equal(can(store, kubelet, "update", "leases", { ...lease, name: "n2" }), false);
});

test("a kubelet does not touch other nodes", () => {
  const store = new TestStore();
  const kubelet = { username: "system:node:n1", groups: ["system:nodes"] };
  assert.throws(
    () => store.write({ apiVersion: "v1", kind: "Node", metadata: { name: "n2" } }, kubelet),
    (error: Refusal) =>
      error.message === 'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"',
  );
});

test("nobody grants more than they have", () => {
  const store = new TestStore();
  bindView(store);
  const role = (verb: string) => ({
    apiVersion: RBAC,
    kind: "Role",
    metadata: { name: "r", namespace: "default" },
    rules: [{ apiGroups: [""], resources: ["pods"], verbs: [verb] }],
  });
  assert.deepEqual(store.write(role("list"), ANN).errors, []);
  assert.throws(
    () => store.write(role("delete"), ANN),
    (error: Refusal) =>
      error.message.endsWith(
        'is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}',
      ),
  );
});

test("the scheduler and the controller manager have their rights from the start", () => {
  const store = new TestStore();
  const scheduler = { username: "system:kube-scheduler", groups: ["system:authenticated"] };
  const manager = { username: "system:kube-controller-manager", groups: ["system:authenticated"] };
  assert.equal(
    can(store, scheduler, "create", "pods", { namespace: "default", subresource: "binding", name: "a" }),
    true,
  );
  assert.equal(can(store, scheduler, "create", "pods", { namespace: "default" }), false);
  assert.equal(can(store, manager, "create", "replicasets", { group: "apps", namespace: "default" }), true);
  assert.equal(can(store, manager, "update", "namespaces", { subresource: "finalize", name: "a" }), true);
});

test("a user can list their rules", () => {
  const store = new TestStore();
  bindView(store);
  const { resourceRules, nonResourceRules } = listRules(ANN, "default", store);
  assert.ok(resourceRules.some((rule: { resources: string[] }) => rule.resources.includes("pods")));
  assert.ok(
    nonResourceRules.some((rule: { nonResourceURLs: string[] }) => rule.nonResourceURLs.includes("/apis/*")),
  );
});
