// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject, Refusal } from "../resource.ts";
import { TestStore } from "../test-store.ts";

function service(name: string, spec: KubeObject = {}): KubeObject {
  return { apiVersion: "v1", kind: "Service", metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } };
}

test("a service gets an address of the primary family", () => {
  const { object, errors } = new TestStore(["10.96.0.0/16", "fd10:96::/112"]).write(service("web"));
  assert.deepEqual(errors, []);
  assert.match(object.spec.clusterIP, /^10\.96\./);
  assert.deepEqual(object.spec.ipFamilies, ["IPv4"]);
  assert.equal(object.spec.ipFamilyPolicy, "SingleStack");
});

test("a dual-stack service gets one address of each family, in order", () => {
  const store = new TestStore(["10.96.0.0/16", "fd10:96::/112"]);
  const spec = { ipFamilyPolicy: "PreferDualStack", ipFamilies: ["IPv6"] };
  const { object } = store.write(service("web", spec));
  assert.deepEqual(object.spec.ipFamilies, ["IPv6", "IPv4"]);
  assert.match(object.spec.clusterIPs[0], /^fd10:96::/);
  assert.match(object.spec.clusterIPs[1], /^10\.96\./);
});

test("dual stack cannot be required where there is one family", () => {
  const { write } = new TestStore(["10.96.0.0/16"]);
  assert.throws(
    () => write.call(new TestStore(["10.96.0.0/16"]), service("web", { ipFamilyPolicy: "RequireDualStack" })),
    (error: Refusal) => error.message.includes("Cluster is not configured for dual-stack services"),
  );
});

test("an address is given once", () => {
  const store = new TestStore();
  store.write(service("dns", { clusterIP: "10.96.0.10" }));
  assert.throws(
    () => store.write(service("other", { clusterIP: "10.96.0.10" })),
    (error: Refusal) =>
      error.message ===
      'Service "other" is invalid: spec.clusterIPs: Invalid value: []string{"10.96.0.10"}: failed to allocate IP 10.96.0.10: provided IP is already allocated',
  );
});

test("node ports are allocated, kept on update and returned with the type", () => {
  const store = new TestStore();
  const { object } = store.write(service("web", { type: "NodePort" }));
  const port = object.spec.ports[0].nodePort;
  assert.ok(port >= 30000 && port <= 32767);
  const again = structuredClone(object);
  delete again.spec.ports[0].nodePort;
  assert.equal(store.write(again, undefined, "update").object.spec.ports[0].nodePort, port);
  const closed = structuredClone(again);
  closed.spec.type = "ClusterIP";
  closed.spec.ports[0].nodePort = port;
  assert.equal(store.write(closed, undefined, "update").object.spec.ports[0].nodePort, undefined);
});

test("a node port out of range or in use is refused", () => {
  const store = new TestStore();
  store.write(service("a", { type: "NodePort", ports: [{ port: 80, nodePort: 30080 }] }));
  for (const [nodePort, why] of [
    [30080, "provided port is already allocated"],
    [80, "provided port is not in the valid range"],
  ]) {
    assert.throws(
      () => store.write(service("b", { type: "NodePort", ports: [{ port: 80, nodePort }] })),
      (error: Refusal) => error.message.includes(String(why)),
    );
  }
});

test("an update that leaves out the cluster address keeps it; another one is refused", () => {
  const store = new TestStore();
  const { object } = store.write(service("web"));
  const bare = service("web", { selector: { app: "web" } });
  const updated = store.write(bare, undefined, "update");
  assert.deepEqual(updated.errors, []);
  assert.equal(updated.object.spec.clusterIP, object.spec.clusterIP);
  const moved = structuredClone(updated.object);
  moved.spec.clusterIP = "10.96.0.77";
  assert.equal(
    store.write(moved, undefined, "update").errors[0]?.message,
    'Invalid value: []string{"10.96.0.77"}: may not change once set',
  );
});

test("a headless service has no address", () => {
  const { object, errors } = new TestStore().write(
    service("web", { clusterIP: "None", selector: { app: "a" } }),
  );
  assert.deepEqual(errors, []);
  assert.deepEqual(object.spec.clusterIPs, ["None"]);
});
