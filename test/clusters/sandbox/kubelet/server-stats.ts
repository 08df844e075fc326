// SPDX-License-Identifier: Apache-2.0
import type { KubeletNode } from "./kubelet-node.ts";
import { podUid } from "./pod.ts";
import type { PodManager } from "./pod-manager.ts";
import { CONTAINER_NAME_LABEL, POD_UID_LABEL } from "./pod-runtime.ts";

/** CPU and memory of the node's containers, in the shape of the summary API. */
export async function serveStats(kubelet: KubeletNode, manager: PodManager): Promise<object> {
  const stats = await kubelet.cri.containerStats();
  const pods = manager.pods().map((pod) => ({
    podRef: { name: pod.metadata.name, namespace: pod.metadata.namespace, uid: pod.metadata.uid },
    startTime: pod.status?.startTime,
    containers: stats
      .filter((entry) => entry.attributes.labels[POD_UID_LABEL] === podUid(pod))
      .map((entry) => ({
        name: entry.attributes.labels[CONTAINER_NAME_LABEL],
        cpu: { usageCoreNanoSeconds: entry.cpu?.usage_core_nano_seconds?.value ?? 0 },
        memory: { workingSetBytes: entry.memory?.working_set_bytes?.value ?? 0 },
      })),
  }));
  return { node: { nodeName: kubelet.options.nodeName }, pods };
}

/** A few numbers for Prometheus. */
export async function serveMetrics(kubelet: KubeletNode, manager: PodManager): Promise<string> {
  const containers = await kubelet.cri.listContainers();
  const running = containers.filter((entry) => entry.state === "CONTAINER_RUNNING").length;
  return [
    "# TYPE kubelet_running_pods gauge",
    `kubelet_running_pods ${manager.pods().length}`,
    "# TYPE kubelet_running_containers gauge",
    `kubelet_running_containers{container_state="running"} ${running}`,
    "",
  ].join("\n");
}
