// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";

/** Its Ready condition holds and it has an address. */
export function isReady(pod: KubeObject): boolean {
  const ready = (pod.status?.conditions ?? []).some(
    (condition: any) => condition.type === "Ready" && condition.status === "True",
  );
  return ready && (pod.status?.podIPs?.length ?? 0) > 0;
}

/** One line for each pod that is not Ready, with what Kubernetes says of it. */
export function describePods(pods: readonly KubeObject[]): string {
  return pods
    .filter((pod) => !isReady(pod))
    .map((pod) => {
      const states = (pod.status?.containerStatuses ?? []).map(
        (status: any) => status.state?.waiting ?? status.state?.terminated,
      );
      const scheduled = (pod.status?.conditions ?? []).find((condition: any) => condition.status === "False");
      const why = states.find((state: any) => state !== undefined) ?? scheduled;
      const words = [why?.reason, why?.message].filter((word) => word !== undefined).join(": ");
      const where = pod.spec?.nodeName ?? "no node";
      return `\n  ${pod.metadata.name} on ${where}: ${pod.status?.phase ?? "Pending"} ${words}`.trimEnd();
    })
    .join("");
}
