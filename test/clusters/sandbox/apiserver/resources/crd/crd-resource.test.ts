// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { OpenApi } from "../openapi/openapi.ts";
import type { KubeObject } from "../resource.ts";
import { TestStore } from "../test-store.ts";

const SCHEMA: KubeObject = {
  type: "object",
  required: ["spec"],
  properties: {
    spec: {
      type: "object",
      required: ["mode"],
      properties: {
        mode: { type: "string", enum: ["off", "on"] },
        replicas: { type: "integer", minimum: 1, default: 2 },
        port: { "x-kubernetes-int-or-string": true },
        fixed: {
          type: "string",
          "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "fixed is immutable" }],
        },
        anything: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        rules: {
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["name"],
          items: { type: "object", properties: { name: { type: "string" } } },
        },
        note: { type: "string", nullable: true },
      },
    },
    status: { type: "object", properties: { ready: { type: "boolean" } } },
  },
};

const CRD: KubeObject = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.example.com" },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { kind: "Widget", plural: "widgets", shortNames: ["wd"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: SCHEMA },
        subresources: {
          status: {},
          scale: { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas" },
        },
        additionalPrinterColumns: [
          { name: "Mode", type: "string", jsonPath: ".spec.mode" },
          { name: "Replicas", type: "integer", jsonPath: ".spec.replicas", priority: 1 },
        ],
      },
    ],
  },
};

function withWidgets(): TestStore {
  const store = new TestStore();
  const { object, errors } = store.write(CRD);
  assert.deepEqual(errors, []);
  store.registry.addCrd(object);
  return store;
}

function widget(spec: KubeObject): KubeObject {
  return { apiVersion: "example.com/v1", kind: "Widget", metadata: { name: "w" }, spec };
}

test("a definition is established at once and serves its kind", () => {
  const store = withWidgets();
  const { status, spec } = store.get(
    "apiextensions.k8s.io",
    "customresourcedefinitions",
    undefined,
    "widgets.example.com",
  )!;
  assert.deepEqual(
    status.conditions.map((item: KubeObject) => [item.type, item.status]),
    [
      ["NamesAccepted", "True"],
      ["Established", "True"],
    ],
  );
  assert.equal(spec.names.listKind, "WidgetList");
  assert.deepEqual(status.storedVersions, ["v1"]);
  const resource = store.registry.lookup("example.com", "v1", "widgets")!;
  assert.deepEqual(resource.subresources, ["status", "scale"]);
  store.registry.removeCrd("widgets.example.com");
  assert.equal(store.registry.lookup("example.com", "v1", "widgets"), undefined);
});

test("custom objects are pruned, completed and printed", () => {
  const store = withWidgets();
  const source = widget({ mode: "on", extra: 1, anything: { goes: true }, note: null, port: "http" });
  const { object, unknown, errors } = store.write({ ...source, status: { ready: true } });
  assert.deepEqual(errors, []);
  assert.deepEqual(unknown, ['unknown field "spec.extra"']);
  assert.deepEqual(object.spec, {
    mode: "on",
    anything: { goes: true },
    note: null,
    port: "http",
    replicas: 2,
  });
  assert.equal(object.status, undefined);
  assert.equal(object.metadata.generation, 1);
  const resource = store.registry.lookup("example.com", "v1", "widgets")!;
  assert.deepEqual(
    resource.columns.map((column) => column.name),
    ["Name", "Mode", "Replicas"],
  );
  assert.deepEqual(resource.row(object, new Date()), ["w", "on", 2]);
  assert.deepEqual(resource.mergeKey(["spec", "rules"]), { listType: "map", keys: ["name"] });
});

test("what the schema forbids is told in the real words", () => {
  const store = withWidgets();
  const messages = (spec: KubeObject) =>
    store.write(widget(spec)).errors.map((item) => `${item.field}: ${item.message}`);
  assert.deepEqual(messages({ mode: "loud" }), [
    'spec.mode: Unsupported value: "loud": supported values: "off", "on"',
  ]);
  assert.deepEqual(messages({}), ["spec.mode: Required value"]);
  assert.deepEqual(messages({ mode: "on", replicas: 0 }), [
    "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
  ]);
  assert.deepEqual(messages({ mode: "on", replicas: "x" }), [
    'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"',
  ]);
  assert.deepEqual(messages({ mode: "on", note: 1 }), [
    'spec.note: Invalid value: "integer": spec.note in body must be of type string: "integer"',
  ]);
});

test("the generation counts changes of the spec, and immutable fields stay", () => {
  const store = withWidgets();
  const { object } = store.write(widget({ mode: "on", fixed: "a" }));
  const ready: KubeObject = { ...structuredClone(object), status: { ready: true } };
  assert.equal(store.write(ready, undefined, "status").object.metadata.generation, 1);
  const off = structuredClone(ready);
  off.spec.mode = "off";
  const changed = store.write(off, undefined, "update").object;
  assert.equal(changed.metadata.generation, 2);
  assert.deepEqual(changed.status, { ready: true });
  const broken = structuredClone(changed);
  broken.spec.fixed = "b";
  assert.equal(
    store.write(broken, undefined, "update").errors[0]?.message,
    'Invalid value: "b": fixed is immutable',
  );
});

test("OpenAPI knows a custom kind as soon as it is served", () => {
  const store = new TestStore();
  const openApi = new OpenApi(store.registry, "v1.33.0");
  assert.equal(openApi.v3("apis/example.com/v1"), undefined);
  store.registry.addCrd(store.write(CRD).object);
  const schema = openApi.v3("apis/example.com/v1")!.components.schemas["com.example.v1.Widget"];
  assert.deepEqual(schema["x-kubernetes-group-version-kind"], [
    { group: "example.com", kind: "Widget", version: "v1" },
  ]);
  assert.ok(openApi.v2().definitions["com.example.v1.Widget"].properties.spec);
  assert.ok(openApi.v2Protobuf().length > 100_000);
});

test("a definition whose name or schema is wrong is refused", () => {
  const bad = structuredClone(CRD);
  bad.metadata.name = "other";
  delete bad.spec.versions[0].schema;
  const fields = new TestStore().write(bad).errors.map(({ field }) => field);
  assert.deepEqual(fields, ["metadata.name", "spec.versions[0].schema.openAPIV3Schema"]);
});
