// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { readJsonPath } from "./json-path.ts";

const OBJECT = {
  metadata: { annotations: { "a.b/c": "dotted" } },
  spec: {
    ports: [
      { name: "http", port: 80 },
      { name: "dns", port: 53 },
    ],
  },
  status: {
    conditions: [
      { type: "Ready", status: "True" },
      { type: "Paused", status: "False" },
    ],
  },
};

test("the paths that printed columns use are understood", () => {
  const cases: [string, unknown[]][] = [
    [".spec.ports[0].port", [80]],
    [".spec.ports[-1].name", ["dns"]],
    [".spec.ports[*].name", ["http", "dns"]],
    ['.status.conditions[?(@.type=="Ready")].status', ["True"]],
    [".status.conditions[?(@.type=='Paused')].status", ["False"]],
    ["metadata.annotations.a\\.b/c", ["dotted"]],
    ["metadata.annotations['a.b/c']", ["dotted"]],
    [".spec.missing.deep", []],
    [".spec..ports", []],
    [".constructor.name", []],
  ];
  for (const [path, expected] of cases) assert.deepEqual(readJsonPath(path, OBJECT), expected, path);
});
