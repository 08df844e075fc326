// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { hasPodEnded } from "./pod-state.ts";
import { pathOf, resources } from "./resources.ts";

const everyMs = 5_000;
const goneForMs = 10_000;
const maxEnded = 12_500;

/** Deletes pods that nothing will ever finish: on nodes that are gone, being deleted unplaced, or too many ended. */
export function podGarbageCollector(controller: Controller): void {
  const pods = controller.informer(resources.pods);
  const nodes = controller.informer(resources.nodes);
  const missingSince = new Map<string, number>();

  controller.every(everyMs, async () => {
    const now = Date.now();
    const all = pods.list();
    const named = new Set(all.map((pod) => pod.spec.nodeName).filter(Boolean));
    for (const name of missingSince.keys())
      if (nodes.get(name) !== undefined || !named.has(name)) missingSince.delete(name);
    for (const name of named)
      if (nodes.get(name) === undefined && !missingSince.has(name)) missingSince.set(name, now);
    const isOrphan = (pod: KubeObject) =>
      now - (missingSince.get(pod.spec.nodeName) ?? Number.POSITIVE_INFINITY) >= goneForMs;
    const isUnplaced = (pod: KubeObject) =>
      !pod.spec.nodeName && pod.metadata.deletionTimestamp !== undefined;
    const ended = all
      .filter((pod) => hasPodEnded(pod) && pod.metadata.deletionTimestamp === undefined)
      .sort((a, b) => (a.metadata.creationTimestamp! < b.metadata.creationTimestamp! ? -1 : 1));
    const surplus = ended.slice(0, Math.max(0, ended.length - maxEnded));
    const doomed = new Set([...all.filter((pod) => isOrphan(pod) || isUnplaced(pod)), ...surplus]);
    for (const pod of doomed) await deleteNow(pod);
  });

  async function deleteNow(pod: KubeObject): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    const path = pathOf(resources.pods, namespace, name);
    const gone = pod.spec.nodeName && nodes.get(pod.spec.nodeName) === undefined;
    if (gone && !hasPodEnded(pod))
      await controller.client
        .patch(`${path}/status`, "strategic", { metadata: { uid }, status: { phase: "Failed" } })
        .catch(() => undefined);
    await controller.client.deleteIfExists(path, {
      apiVersion: "v1",
      kind: "DeleteOptions",
      gracePeriodSeconds: 0,
      preconditions: { uid },
    });
  }
}
