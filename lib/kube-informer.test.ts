// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeClient } from "./kube.ts";
import { ApiError } from "./kube-errors.ts";
import { forgetManagers, Informer } from "./kube-informer.ts";
import type { KubeList, KubeObject } from "./kube-object.ts";
import { createLogger } from "./log.ts";

const object = (name: string): KubeObject => ({
  metadata: { name, namespace: "default", resourceVersion: "5", managedFields: [{}] },
});

test("a list is kept page by page, synced with its last one, and followed from its version", async () => {
  const stop = new AbortController();
  const steps: string[] = [];
  const look = (when: string) =>
    steps.push(`${when}: ${[...informer.items.keys()].join(" ")}${informer.synced ? ", synced" : ""}`);
  const client = {
    async *pages(): AsyncGenerator<KubeList> {
      look("before");
      const list = { apiVersion: "v1", kind: "ThingList", metadata: { resourceVersion: "9", continue: "c" } };
      yield { ...list, items: [object("a"), object("b")] };
      look("between");
      yield { ...list, metadata: { resourceVersion: "9" }, items: [object("c")] };
    },
    async *watch(_path: string, { resourceVersion }: { resourceVersion: string }) {
      look(`watch from ${resourceVersion}`);
      yield { type: "BOOKMARK", object: { metadata: { resourceVersion: "10" } } };
      stop.abort();
    },
  };
  const log = createLogger(() => undefined);
  const informer = new Informer(client as unknown as KubeClient, "/things", log, {}, forgetManagers);
  await informer.run(stop.signal);
  assert.deepEqual(steps, [
    "before: ",
    "between: default/a default/b",
    "watch from 9: default/a default/b default/c, synced",
  ]);
  assert.deepEqual(
    informer.list().map(({ kind, metadata }) => [kind, metadata.managedFields]),
    Array.from({ length: 3 }, () => ["Thing", undefined]),
  );
});

test("a kind that the server does not have has no objects, until it has", async () => {
  const stop = new AbortController();
  const synced: boolean[] = [];
  let refusals = 0;
  const client = {
    async *pages(): AsyncGenerator<KubeList> {
      synced.push(informer.synced);
      if (refusals++ < 5) throw new ApiError("GET /things", 404, "404 page not found");
      yield { kind: "ThingList", metadata: { resourceVersion: "9" }, items: [object("a")] };
    },
    async *watch() {
      stop.abort();
      yield* [];
    },
  };
  const warnings: string[] = [];
  const log = createLogger((line) => void (line.includes("warn") && warnings.push(line)));
  const informer = new Informer(client as unknown as KubeClient, "/things", log, {}, forgetManagers, {
    mayBeAbsent: true,
  });
  await informer.run(stop.signal);
  assert.deepEqual(synced, [false, false, false, false, false, true], "not upon the first refusals");
  assert.deepEqual([[...informer.items.keys()], warnings], [["default/a"], []]);
});
