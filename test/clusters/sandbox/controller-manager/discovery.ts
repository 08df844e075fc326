// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import type { KubeClient } from "../../../../lib/kube.ts";
import type { Logger } from "../../../../lib/log.ts";
import type { KnownResource } from "./resources.ts";

/** A resource as the server describes it. */
export interface ServedResource extends KnownResource {
  namespaced: boolean;
  verbs: string[];
}

/**
 * Every resource that the server serves, in its preferred version. A group that fails is left out and logged;
 * `complete` tells whether there was one, since then nothing may be concluded from absence.
 */
export async function discoverResources(
  client: KubeClient,
  log: Logger,
): Promise<{ served: ServedResource[]; complete: boolean }> {
  const groups = await client.get<any>("/apis");
  const versions: string[] = ["v1"];
  for (const group of groups.groups ?? [])
    versions.push((group.preferredVersion ?? group.versions[0]).groupVersion);
  const served: ServedResource[] = [];
  let complete = true;
  for (const apiVersion of versions) {
    try {
      const list = await client.get<any>(apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`);
      for (const { name, kind, namespaced, verbs } of list.resources ?? [])
        if (!name.includes("/")) served.push({ apiVersion, kind, plural: name, namespaced, verbs });
    } catch (error) {
      complete = false;
      log.warn("discovery failed for a group", { apiVersion, error: errorMessage(error) });
    }
  }
  return { served, complete };
}

/** Resources whose objects can be deleted, watched and so collected. */
export function isCollectable({ verbs, apiVersion, plural }: ServedResource): boolean {
  if (plural === "events" || apiVersion.startsWith("metrics.k8s.io/")) return false;
  return ["list", "watch", "delete"].every((verb) => verbs.includes(verb));
}
