// SPDX-License-Identifier: Apache-2.0
import { type Call, timestamp } from "../api.ts";
import type { KubeObject } from "../resources/index.ts";
import { badRequest, conflict, notFound } from "../status.ts";

/** Puts a pod on a node, once. Throws a 404 or 409. */
export function bindPod(call: Call, binding: KubeObject): KubeObject {
  const { api, info } = call;
  const name = info.name || binding.metadata.name;
  const pods = { group: "", plural: "pods" };
  const pod = api.store.get("", "pods", info.namespace, name);
  if (pod === undefined) throw notFound(pods, name);
  const node = binding.target?.name;
  if (typeof node !== "string" || node === "") throw badRequest("target.name: Required value");
  const { uid } = binding.metadata;
  if (uid && uid !== pod.metadata.uid)
    throw conflict(
      pods,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata.uid}`,
    );
  if (pod.metadata.deletionTimestamp !== undefined)
    throw conflict(pods, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  if (pod.spec.nodeName)
    throw conflict(pods, name, `pod ${name} is already assigned to node "${pod.spec.nodeName}"`);
  if (!call.dryRun) {
    const conditions = (pod.status?.conditions ?? []).filter(
      (entry: KubeObject) => entry.type !== "PodScheduled",
    );
    const scheduled = {
      type: "PodScheduled",
      status: "True",
      lastProbeTime: null,
      lastTransitionTime: timestamp(),
    };
    const { annotations, labels } = binding.metadata;
    api.store.put("", "pods", {
      ...pod,
      metadata: {
        ...pod.metadata,
        ...(annotations === undefined
          ? {}
          : { annotations: { ...pod.metadata.annotations, ...annotations } }),
        ...(labels === undefined ? {} : { labels: { ...pod.metadata.labels, ...labels } }),
      },
      spec: { ...pod.spec, nodeName: node },
      status: { ...pod.status, conditions: [...conditions, scheduled] },
    });
  }
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}
