// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { Registry } from "../registry.ts";
import type { KubeObject } from "../resource.ts";
import { OpenApi } from "./openapi.ts";

const openApi = new OpenApi(new Registry(), "v1.33.0");

function references(document: unknown): string[] {
  return [
    ...JSON.stringify(document).matchAll(/"\$ref":"#\/(?:definitions|components\/schemas)\/([^"]+)"/g),
  ].map((match) => match[1]!);
}

test("no reference dangles", () => {
  const v2 = openApi.v2();
  assert.deepEqual(
    references(v2).filter((name) => !v2.definitions[name]),
    [],
  );
  for (const key of Object.keys(openApi.v3Index().paths)) {
    const document = openApi.v3(key)!;
    assert.deepEqual(
      references(document).filter((name) => !document.components.schemas[name]),
      [],
      key,
    );
  }
});

test("lists carry the keys that patches merge by", () => {
  const { definitions } = openApi.v2();
  const { ports, args } = definitions["io.k8s.api.core.v1.Container"].properties;
  assert.equal(ports["x-kubernetes-patch-merge-key"], "containerPort");
  assert.deepEqual(ports["x-kubernetes-list-map-keys"], ["containerPort", "protocol"]);
  assert.equal(args["x-kubernetes-list-type"], "atomic");
  assert.equal(
    definitions["io.k8s.api.core.v1.PodSpec"].properties.volumes["x-kubernetes-patch-strategy"],
    "merge,retainKeys",
  );
});

test("patches say that they can be tried out and validated", () => {
  const path = openApi.v3("apis/apps/v1")!.paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
  const names = path.patch.parameters.map((item: KubeObject) => item.name);
  assert.ok(names.includes("dryRun") && names.includes("fieldValidation"));
  assert.equal(path.patch["x-kubernetes-group-version-kind"].kind, "Deployment");
});
