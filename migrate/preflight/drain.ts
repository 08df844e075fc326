// SPDX-License-Identifier: Apache-2.0
import { workloadName } from "../inventory/workloads.ts";
import type { DrainConcern, DrainWorkload, Finding, Severity } from "../model/inventory.ts";
import { block, type CheckContext, finding, info, limited, named, warn } from "./check.ts";

interface Rule {
  id: string;
  severity: Severity;
  problem: string;
  remedy: string;
}

const rules: Record<DrainConcern, Rule> = {
  "several-budgets": {
    id: "drain-several-budgets",
    severity: "block",
    problem:
      "is covered by more than one PodDisruptionBudget; the API server then refuses every eviction, for ever",
    remedy: "Narrow the selectors so that one budget covers it.",
  },
  "budget-zero": {
    id: "drain-budget-zero",
    severity: "block",
    problem: "has a budget that never lets a pod go",
    remedy: "Raise maxUnavailable (or lower minAvailable), or add a replica, for the time of the migration.",
  },
  "budget-spent": {
    id: "drain-budget-spent",
    severity: "warn",
    problem: "has a budget that lets no pod go at the moment",
    remedy: "Mend its unhealthy pods first, or set unhealthyPodEvictionPolicy: AlwaysAllow on the budget.",
  },
  "single-replica": {
    id: "drain-single-replica",
    severity: "warn",
    problem: "has one replica: it is away from the end of its pod to the readiness of the next",
    remedy: "Scale it to 2 or more for the time of the migration if it must stay reachable.",
  },
  unmanaged: {
    id: "drain-unmanaged",
    severity: "block",
    problem: "has no controller: once evicted, nobody makes it anew",
    remedy: "Delete it or give it a controller; or let drains delete it: --force.",
  },
  "empty-dir": {
    id: "drain-empty-dir",
    severity: "block",
    problem: "keeps data in an emptyDir, which an eviction deletes",
    remedy: "If that is scratch data, let drains delete it: --delete-emptydir-data.",
  },
  "host-path": {
    id: "drain-host-path",
    severity: "warn",
    problem: "has data of its node mounted (hostPath), which it does not find on another",
    remedy:
      "Check that it starts elsewhere, or pin it and accept that it is down while its node is switched.",
  },
  "node-bound-volume": {
    id: "drain-node-bound-volume",
    severity: "warn",
    problem: "has a volume that exists on one node only: it is down from drain to uncordon",
    remedy: "Scale it so that other replicas serve meanwhile, or plan its node for a quiet hour.",
  },
  "tolerates-everything": {
    id: "drain-tolerates-everything",
    severity: "warn",
    problem:
      "tolerates every taint, the one of a cordoned node too: it may come back to the node that is drained",
    remedy: "Take the toleration away; the run recreates what came back before the node's new network.",
  },
  "long-grace": {
    id: "drain-long-grace",
    severity: "info",
    problem: "may take long to end",
    remedy: "Drains wait for it; see the plan's --drain-timeout.",
  },
  "static-pod": {
    id: "drain-static-pod",
    severity: "info",
    problem: "is a static pod: a drain leaves it, its sandbox is made anew in place",
    remedy: "Nothing to do.",
  },
  "host-port": {
    id: "drain-host-port",
    severity: "info",
    problem: "has ports of its node (hostPort): as many replicas as nodes find no place during a drain",
    remedy: "The agent serves host ports; let the workload do with one replica less.",
  },
};

/** Everything that makes the drain of a node slow, lossy or impossible. */
export function checkDrain(context: CheckContext): Finding[] {
  if (!context.movesPods) return [];
  const found: Finding[] = [];
  for (const concern of Object.keys(rules) as DrainConcern[]) {
    const workloads = context.inventory.drain.filter((workload) => workload.concerns.includes(concern));
    found.push(...limited(workloads.map((workload) => ofWorkload(context, concern, workload))));
  }
  return [...found, ...pods(context)];
}

function ofWorkload({ options }: CheckContext, concern: DrainConcern, workload: DrainWorkload): Finding {
  const rule = rules[concern];
  const allowed =
    (concern === "unmanaged" && options.drainForce) ||
    (concern === "empty-dir" && options.drainDeleteEmptyDirData);
  const detail = workload.details.find((text) => text.startsWith(`${concern}: `))?.slice(concern.length + 2);
  const where =
    workload.pods === 1 && workload.nodes.length === 1 ? `on ${workload.nodes[0]}` : `${workload.pods} pods`;
  return finding(allowed ? "warn" : rule.severity, {
    id: rule.id,
    object: workloadName(workload.object),
    problem: `${rule.problem} (${[detail, where].filter(Boolean).join("; ")})`,
    remedy: allowed ? "Allowed: drains delete it." : rule.remedy,
  });
}

function pods({ details }: CheckContext): Finding[] {
  const { stuck, doNotEvict, virtualMachines, severalNetworks, bandwidthLimits, pending } = details.pods;
  const found: Finding[] = [];
  for (const { name, allows, reason } of details.budgets)
    if (allows === "failed")
      found.push(
        block({
          id: "drain-budget-failed",
          object: `PodDisruptionBudget ${name}`,
          problem: `its controller cannot tell what it allows, so nothing is evicted: ${reason}`,
          remedy: "Its pods need a controller with a scale; mend its selector or delete it.",
        }),
      );
  if (stuck.count > 0)
    found.push(
      warn({
        id: "drain-pod-stuck",
        object: `Pod ${stuck.first[0]}`,
        problem: `${named(stuck, "pod has been", "pods have been")} ending for more than five minutes beyond its grace: a drain waits for such pods until its deadline`,
        remedy:
          "See which finalizer or container holds it; at worst kubectl delete pod --grace-period=0 --force.",
      }),
    );
  if (virtualMachines.count > 0)
    found.push(
      warn({
        id: "drain-virtual-machine",
        object: `Pod ${virtualMachines.first[0]}`,
        problem: `${named(virtualMachines, "virtual machine")} (KubeVirt): an eviction starts a live migration and is refused until it ends`,
        remedy: "Check that they can migrate live; raise the plan's --drain-timeout.",
      }),
    );
  if (severalNetworks.count > 0)
    found.push(
      warn({
        id: "pod-several-networks",
        object: `Pod ${severalNetworks.first[0]}`,
        problem: `${named(severalNetworks, "pod has", "pods have")} further interfaces by Multus`,
        remedy: "These interfaces stay as they are; test one such workload on the canary node.",
      }),
    );
  if (bandwidthLimits.count > 0)
    found.push(
      warn({
        id: "pod-bandwidth",
        object: `Pod ${bandwidthLimits.first[0]}`,
        problem: `${named(bandwidthLimits, "pod has", "pods have")} bandwidth annotations, which the plugin of that name enforces today and Shunt does not`,
        remedy: "Limit elsewhere (in the application, at the gateway), or accept it.",
      }),
    );
  if (doNotEvict.count > 0)
    found.push(
      info({
        id: "drain-do-not-evict",
        object: `Pod ${doNotEvict.first[0]}`,
        problem: `${named(doNotEvict, "pod asks", "pods ask")} autoscalers not to evict them; a migration has to`,
        remedy: "Tell their owners when it happens.",
      }),
    );
  if (pending.count > 0)
    found.push(
      info({
        id: "pod-pending",
        object: `Pod ${pending.first[0]}`,
        problem: `${named(pending, "pod waits", "pods wait")} for a node already now`,
        remedy: "See why (kubectl describe pod): a drain needs room on other nodes.",
      }),
    );
  return found;
}
