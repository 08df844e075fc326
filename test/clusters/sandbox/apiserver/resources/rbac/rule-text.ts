// SPDX-License-Identifier: Apache-2.0
import type { PolicyRule } from "./rules.ts";

/** A resource rule from words: `allow("get list", "apps", "deployments deployments/scale")`. */
export function allow(verbs: string, group: string, resources: string, names?: string): PolicyRule {
  return {
    apiGroups: [group],
    resources: resources.split(" "),
    verbs: verbs.split(" "),
    ...(names ? { resourceNames: names.split(" ") } : {}),
  };
}

/** A rule on paths from words. */
export function allowPaths(verbs: string, paths: string): PolicyRule {
  return { nonResourceURLs: paths.split(" "), verbs: verbs.split(" ") };
}

/** The verbs to read. */
export const READ = "get list watch";
/** The verbs to change. */
export const WRITE = "create delete deletecollection patch update";
/** The rules every component that reports events needs. */
export const EVENTS: PolicyRule[] = [
  allow("create patch update", "", "events"),
  allow("create patch update", "events.k8s.io", "events"),
];
