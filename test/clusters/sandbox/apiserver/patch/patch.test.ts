// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { Registry } from "../resources/index.ts";
import { applyJsonPatch, applyMergePatch } from "./json-patch.ts";
import { applyStrategicPatch } from "./strategic.ts";

const pods = new Registry().lookup("", "v1", "pods")!;
const strategic = (document: object, patch: object) =>
  applyStrategicPatch(document, patch, (path) => pods.mergeKey(path));
const containers = (...names: string[]) => ({
  spec: { containers: names.map((name) => ({ name, image: "1" })) },
});

test("a strategic patch merges, deletes and orders list items by their key", () => {
  const patch = {
    spec: {
      $setElementOrder: undefined,
      "$setElementOrder/containers": [{ name: "c" }, { name: "a" }],
      containers: [
        { name: "c", image: "2" },
        { name: "b", $patch: "delete" },
      ],
    },
  };
  const { spec } = strategic(containers("a", "b", "c"), patch);
  assert.deepEqual(spec.containers, [
    { name: "c", image: "2" },
    { name: "a", image: "1" },
  ]);
});

test("a strategic patch replaces, retains keys and edits primitive lists", () => {
  const replaced = strategic(containers("a"), {
    spec: { containers: [{ $patch: "replace" }, { name: "z" }] },
  });
  assert.deepEqual(replaced.spec.containers, [{ name: "z" }]);
  const volumes = (volume: object) => ({ spec: { volumes: [volume] } });
  const retained = strategic(
    volumes({ name: "v", emptyDir: {} }),
    volumes({ name: "v", $retainKeys: ["name", "hostPath"], hostPath: { path: "/x" } }),
  );
  assert.deepEqual(retained.spec.volumes, [{ name: "v", hostPath: { path: "/x" } }]);
  const finalizers = strategic(
    { metadata: { finalizers: ["a", "b"] } },
    { metadata: { "$deleteFromPrimitiveList/finalizers": ["a"], finalizers: ["c"] } },
  );
  assert.deepEqual(finalizers.metadata.finalizers, ["b", "c"]);
  assert.deepEqual(
    strategic({ metadata: { labels: { a: "1", b: "2" } } }, { metadata: { labels: { a: null } } }),
    {
      metadata: { labels: { b: "2" } },
    },
  );
});

test("JSON patches do each operation and refuse what does not fit", () => {
  const document = { list: [1, 2], map: { "a/b": 1 } };
  const patched = applyJsonPatch(document, [
    { op: "test", path: "/map/a~1b", value: 1 },
    { op: "add", path: "/list/-", value: 3 },
    { op: "add", path: "/list/0", value: 0 },
    { op: "move", from: "/map/a~1b", path: "/moved" },
    { op: "copy", from: "/list", path: "/copy" },
    { op: "remove", path: "/list/1" },
    { op: "replace", path: "/list/0", value: 9 },
  ]);
  assert.deepEqual(patched, { list: [9, 2, 3], map: {}, moved: 1, copy: [0, 1, 2, 3] });
  assert.deepEqual(document, { list: [1, 2], map: { "a/b": 1 } });
  for (const operation of [
    { op: "test", path: "/list/0", value: 7 },
    { op: "remove", path: "/nothing" },
    { op: "add", path: "/list/9", value: 1 },
    { op: "replace", path: "/list/01", value: 1 },
  ])
    assert.throws(() => applyJsonPatch(document, [operation]), /rejected our request/);
});

test("a merge patch cannot reach an object's prototype", () => {
  const patched = applyMergePatch(
    {},
    JSON.parse('{"__proto__": {"polluted": true}, "a": {"b": null, "c": 1}}'),
  );
  assert.equal(patched.polluted, undefined);
  assert.equal(({} as any).polluted, undefined);
  assert.deepEqual(patched.a, { c: 1 });
});
