// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../lib/kube.ts";
import { isNotFound } from "../../../../lib/kube-errors.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { claimOwned, controllerReference } from "./ownership.ts";
import { canonicalJson, shortHash, templateWithout } from "./pod-template.ts";
import { type KnownResource, pathOf, resources } from "./resources.ts";

/** The label by which a pod names the revision it was made from. */
export const revisionHashLabel = "controller-revision-hash";

/** The patch that a revision keeps: it puts the whole template back. */
function revisionData(owner: KubeObject): any {
  return { spec: { template: { ...owner.spec.template, $patch: "replace" } } };
}

const revisionNumber = (revision: KubeObject): number => revision.revision ?? 0;

/** A revision's hash, as pods of a DaemonSet carry it. */
export function revisionHash(revision: KubeObject): string {
  return revision.metadata.labels?.[revisionHashLabel] ?? "";
}

/** The revisions of an owner, oldest first, after adopting the ones that are its. */
export async function ownRevisions(
  client: KubeClient,
  owner: KubeObject,
  ownerResource: KnownResource,
  cached: KubeObject[],
): Promise<KubeObject[]> {
  const owned = await claimOwned(
    { client, owner, ownerResource, resource: resources.controllerRevisions },
    cached,
  );
  return owned.sort((a, b) => revisionNumber(a) - revisionNumber(b));
}

/**
 * The revision of the owner's current template: an equal one, raised to the top of the history when it is an
 * older one, or a new one.
 */
export async function currentRevision(
  client: KubeClient,
  owner: KubeObject,
  ownerResource: KnownResource,
  known: KubeObject[],
): Promise<KubeObject> {
  const data = revisionData(owner);
  const wanted = canonicalJson(data);
  const last = known.at(-1);
  const next = (last === undefined ? 0 : revisionNumber(last)) + 1;
  const equal = known.findLast((revision) => canonicalJson(revision.data) === wanted);
  if (equal !== undefined && equal === last) return equal;
  const { namespace } = owner.metadata;
  if (equal !== undefined)
    return await client.patch(
      pathOf(resources.controllerRevisions, namespace, equal.metadata.name),
      "merge",
      {
        revision: next,
      },
    );
  return await createRevision(client, owner, ownerResource, next, data);
}

async function createRevision(
  client: KubeClient,
  owner: KubeObject,
  ownerResource: KnownResource,
  number: number,
  data: any,
): Promise<KubeObject> {
  const { namespace, name, annotations } = owner.metadata;
  const hash = shortHash([
    templateWithout(owner.spec.template, revisionHashLabel),
    owner.status?.collisionCount ?? 0,
  ]);
  const { "kubectl.kubernetes.io/last-applied-configuration": _, ...kept } = annotations ?? {};
  const revision = {
    apiVersion: "apps/v1",
    kind: "ControllerRevision",
    metadata: {
      name: `${name}-${hash}`,
      namespace,
      labels: { ...owner.spec.template.metadata?.labels, [revisionHashLabel]: hash },
      annotations: kept,
      ownerReferences: [controllerReference(owner, ownerResource)],
    },
    revision: number,
    data,
  };
  const path = pathOf(resources.controllerRevisions, namespace, revision.metadata.name);
  const present = await client.find(path);
  if (present !== undefined && canonicalJson(present.data) === canonicalJson(data)) return present;
  return await client.create(pathOf(resources.controllerRevisions, namespace), revision);
}

/** Deletes the oldest revisions that no pod was made from, down to the limit. */
export async function trimRevisions(
  client: KubeClient,
  known: KubeObject[],
  isLive: (revision: KubeObject) => boolean,
  limit: number,
): Promise<void> {
  const idle = known.filter((revision) => !isLive(revision));
  for (const revision of idle.slice(0, Math.max(0, idle.length - limit))) {
    const { namespace, name } = revision.metadata;
    await client.delete(pathOf(resources.controllerRevisions, namespace, name)).catch((error) => {
      if (!isNotFound(error)) throw error;
    });
  }
}
