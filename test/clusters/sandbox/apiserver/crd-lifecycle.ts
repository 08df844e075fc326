// SPDX-License-Identifier: Apache-2.0
// Custom kinds come and go with their definitions; a definition that is deleted takes its objects along.
import type { Api } from "./api.ts";
import { systemCall } from "./bootstrap.ts";
import { deleteObject } from "./delete.ts";
import type { KubeObject } from "./resources/index.ts";
import type { StoreEvent } from "./store.ts";
import { isReadyToGo, removeObject } from "./write.ts";

const GROUP = "apiextensions.k8s.io";
const PLURAL = "customresourcedefinitions";
const CLEANUP = "customresourcecleanup.apiextensions.k8s.io";

/** Serves the kinds of every definition in the store, now and as they change. */
export function followCrds(api: Api): void {
  for (const crd of api.store.list(GROUP, PLURAL)) serve(api, crd);
  api.store.watch(GROUP, PLURAL, api.store.revision, (event) => follow(api, event));
}

function follow(api: Api, { type, object: crd }: StoreEvent): void {
  if (type === "DELETED") {
    api.registry.removeCrd(crd.metadata.name);
    return;
  }
  api.registry.addCrd(crd);
  // The store is in the middle of telling its watchers: write once it is done.
  queueMicrotask(() => serve(api, crd));
}

function current(api: Api, crd: KubeObject): KubeObject | undefined {
  const found = api.store.get(GROUP, PLURAL, undefined, crd.metadata.name);
  return found?.metadata.uid === crd.metadata.uid ? found : undefined;
}

function serve(api: Api, changed: KubeObject): void {
  const crd = current(api, changed);
  if (crd === undefined) return;
  api.registry.addCrd(crd);
  const finalizers: string[] = crd.metadata.finalizers ?? [];
  if (crd.metadata.deletionTimestamp === undefined) {
    if (!finalizers.includes(CLEANUP)) putFinalizers(api, crd, [...finalizers, CLEANUP]);
    return;
  }
  if (finalizers.includes(CLEANUP)) cleanUp(api, crd);
}

function putFinalizers(api: Api, crd: KubeObject, finalizers: string[]): KubeObject {
  return api.store.put(GROUP, PLURAL, { ...crd, metadata: { ...crd.metadata, finalizers } });
}

// Deletes all objects of the kinds; ends when the last one is gone, some may wait for their finalizers.
function cleanUp(api: Api, crd: KubeObject): void {
  const { group, names, versions } = crd.spec;
  const version = versions.find((entry: KubeObject) => entry.served)?.name;
  const resource = version === undefined ? undefined : api.registry.lookup(group, version, names.plural);
  if (resource !== undefined) {
    const call = { ...systemCall(api, `${group}/${version}`, names.kind), resource };
    for (const object of api.store.list(group, names.plural))
      if (object.metadata.deletionTimestamp === undefined) deleteObject(call, object, {});
  }
  if (api.store.list(group, names.plural).length > 0) {
    const stop = api.store.watch(group, names.plural, api.store.revision, ({ type }) => {
      if (type !== "DELETED" || api.store.list(group, names.plural).length > 0) return;
      stop();
      queueMicrotask(() => serve(api, crd));
    });
    return;
  }
  const finalizers = crd.metadata.finalizers.filter((name: string) => name !== CLEANUP);
  const left = { ...crd, metadata: { ...crd.metadata, finalizers } };
  if (isReadyToGo(left)) removeObject(systemCall(api, `${GROUP}/v1`, "CustomResourceDefinition"), left);
  else putFinalizers(api, crd, finalizers);
}
