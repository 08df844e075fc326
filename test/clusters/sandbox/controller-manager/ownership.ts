// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../lib/kube.ts";
import { isNotFound } from "../../../../lib/kube-errors.ts";
import type { KubeObject, OwnerReference } from "../../../../lib/kube-object.ts";
import { matchesSelector } from "../../../../lib/label-selector.ts";
import { type KnownResource, pathOf } from "./resources.ts";

/** The reference that makes `owner` the controller of a new object. */
export function controllerReference(owner: KubeObject, resource: KnownResource): OwnerReference {
  return {
    apiVersion: resource.apiVersion,
    kind: resource.kind,
    name: owner.metadata.name!,
    uid: owner.metadata.uid!,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The owner that controls this object, if one does. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true);
}

/** Who claims, and what. */
export interface Claim {
  client: KubeClient;
  owner: KubeObject;
  ownerResource: KnownResource;
  /** The resource of the candidates. */
  resource: KnownResource;
  /** Whether a candidate may be adopted at all (pods that have ended may not). */
  adoptable?: (candidate: KubeObject) => boolean;
}

/**
 * The candidates that belong to the owner: those it controls and whose labels match, after taking in matching
 * ones without a controller and letting go of controlled ones that match no longer.
 */
export async function claimOwned(claim: Claim, candidates: KubeObject[]): Promise<KubeObject[]> {
  const { owner } = claim;
  const owned: KubeObject[] = [];
  for (const candidate of candidates) {
    if (candidate.metadata.namespace !== owner.metadata.namespace) continue;
    const controller = controllerOf(candidate);
    const matches = matchesSelector(owner.spec.selector, candidate.metadata.labels);
    if (controller !== undefined) {
      if (controller.uid !== owner.metadata.uid) continue;
      if (matches) owned.push(candidate);
      else if (owner.metadata.deletionTimestamp === undefined) await release(claim, candidate);
    } else if (matches && mayAdopt(claim, candidate)) {
      const adopted = await adopt(claim, candidate);
      if (adopted !== undefined) owned.push(adopted);
    }
  }
  return owned;
}

function mayAdopt({ owner, adoptable }: Claim, candidate: KubeObject): boolean {
  if (owner.metadata.deletionTimestamp !== undefined) return false;
  return candidate.metadata.deletionTimestamp === undefined && (adoptable?.(candidate) ?? true);
}

async function adopt(claim: Claim, candidate: KubeObject): Promise<KubeObject | undefined> {
  const { client, owner, ownerResource, resource } = claim;
  // The cached owner may be gone and made anew under the same name.
  const live = await client.find(pathOf(ownerResource, owner.metadata.namespace, owner.metadata.name));
  if (live?.metadata.uid !== owner.metadata.uid || live?.metadata.deletionTimestamp !== undefined)
    return undefined;
  const ownerReferences = [
    ...(candidate.metadata.ownerReferences ?? []),
    controllerReference(owner, ownerResource),
  ];
  return await patchOwners(client, resource, candidate, ownerReferences);
}

async function release({ client, owner, resource }: Claim, candidate: KubeObject): Promise<void> {
  const rest = candidate.metadata.ownerReferences!.filter(({ uid }) => uid !== owner.metadata.uid);
  await patchOwners(client, resource, candidate, rest);
}

async function patchOwners(
  client: KubeClient,
  resource: KnownResource,
  object: KubeObject,
  ownerReferences: OwnerReference[],
): Promise<KubeObject | undefined> {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  try {
    return await client.patch(pathOf(resource, namespace, name), "merge", {
      metadata: { uid, resourceVersion, ownerReferences },
    });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
