// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeClient } from "./kube.ts";
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
