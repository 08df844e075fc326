// SPDX-License-Identifier: Apache-2.0
// Events of both groups share one store, in the core form.
import type { KubeObject } from "./resource.ts";

const TO_CORE: Record<string, string> = {
  note: "message",
  regarding: "involvedObject",
  reportingController: "reportingComponent",
  deprecatedSource: "source",
  deprecatedFirstTimestamp: "firstTimestamp",
  deprecatedLastTimestamp: "lastTimestamp",
  deprecatedCount: "count",
};
const FROM_CORE = Object.fromEntries(Object.entries(TO_CORE).map(([newer, core]) => [core, newer]));

function rename(object: KubeObject, names: Record<string, string>, apiVersion: string): KubeObject {
  const entries = Object.entries(object).map(([key, value]) => [names[key] ?? key, value]);
  return { ...Object.fromEntries(entries), apiVersion };
}

/** A stored event as events.k8s.io/v1 serves it. */
export function eventFromStorage(object: KubeObject): KubeObject {
  return rename(object, FROM_CORE, "events.k8s.io/v1");
}

/** An events.k8s.io/v1 event in the form that is stored. */
export function eventToStorage(object: KubeObject): KubeObject {
  return rename(object, TO_CORE, "v1");
}
