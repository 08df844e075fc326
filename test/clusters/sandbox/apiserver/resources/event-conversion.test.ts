// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventFromStorage, eventToStorage } from "./event-conversion.ts";

test("an event comes back from the core form as it went in", () => {
  const event = {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: "a" },
    regarding: { kind: "Pod", name: "web" },
    note: "Started",
    reportingController: "kubelet",
    deprecatedCount: 2,
  };
  const stored = eventToStorage(event);
  assert.equal(stored.apiVersion, "v1");
  assert.equal(stored.message, "Started");
  assert.deepEqual(stored.involvedObject, event.regarding);
  assert.deepEqual(eventFromStorage(stored), event);
});
