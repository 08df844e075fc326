// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { age, humanDuration } from "./age.ts";
import {
  ageOf,
  type Cell,
  containerCells,
  formatLabels,
  formatSelector,
  type Table,
  table,
} from "./table.ts";

function wide(object: KubeObject): Cell[] {
  return [...containerCells(object.spec?.template), formatSelector(object.spec?.selector)];
}

function deploymentCells(object: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = object;
  return [
    `${status.readyReplicas ?? 0}/${spec.replicas ?? 0}`,
    status.updatedReplicas ?? 0,
    status.availableReplicas ?? 0,
    ageOf(object, now),
    ...wide(object),
  ];
}

function replicaCells(object: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = object;
  return [spec.replicas ?? 0, status.replicas ?? 0, status.readyReplicas ?? 0, ageOf(object, now)];
}

function daemonSetCells(object: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = object;
  return [
    status.desiredNumberScheduled ?? 0,
    status.currentNumberScheduled ?? 0,
    status.numberReady ?? 0,
    status.updatedNumberScheduled ?? 0,
    status.numberAvailable ?? 0,
    formatLabels(spec.template?.spec?.nodeSelector),
    ageOf(object, now),
    ...wide(object),
  ];
}

function jobCells(job: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = job;
  const done = status.succeeded ?? 0;
  const parallelism = spec.parallelism ?? 0;
  let completions = parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
  if (spec.completions !== undefined) completions = `${done}/${spec.completions}`;
  return [jobStatus(job), completions, jobDuration(status, now), ageOf(job, now), ...wide(job)];
}

function jobStatus(job: KubeObject): string {
  const has = (type: string) =>
    job.status?.conditions?.some((item: KubeObject) => item.type === type && item.status === "True");
  if (has("Complete")) return "Complete";
  if (has("Failed")) return "Failed";
  if (job.metadata?.deletionTimestamp) return "Terminating";
  if (has("Suspended")) return "Suspended";
  if (has("FailureTarget")) return "FailureTarget";
  if (has("SuccessCriteriaMet")) return "SuccessCriteriaMet";
  return "Running";
}

function jobDuration(status: KubeObject, now: Date): string {
  if (!status.startTime) return "";
  const end = status.completionTime ? Date.parse(status.completionTime) : now.getTime();
  return humanDuration(end - Date.parse(status.startTime));
}

function cronJobCells(object: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = object;
  const template = spec.jobTemplate?.spec?.template;
  return [
    spec.schedule ?? "",
    spec.timeZone ?? "<none>",
    spec.suspend ? "True" : "False",
    status.active?.length ?? 0,
    status.lastScheduleTime ? age(status.lastScheduleTime, now) : "<none>",
    ageOf(object, now),
    ...containerCells(template),
    formatSelector(spec.jobTemplate?.spec?.selector),
  ];
}

const REPLICAS =
  "Desired:integer | Current:integer | Ready:integer | Age | +Containers | +Images | +Selector";

function autoscalerCells(object: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = object;
  const targets = (spec.metrics ?? []).map((metric: KubeObject, index: number) => {
    const target = metric.resource?.target ?? {};
    const current = status.currentMetrics?.[index]?.resource?.current?.averageUtilization;
    const name = metric.resource?.name ?? String(metric.type).toLowerCase();
    return `${name}: ${current === undefined ? "<unknown>" : `${current}%`}/${target.averageUtilization ?? "<auto>"}%`;
  });
  return [
    `${spec.scaleTargetRef?.kind ?? ""}/${spec.scaleTargetRef?.name ?? ""}`,
    targets.join(", ") || "<none>",
    String(spec.minReplicas ?? "<unset>"),
    spec.maxReplicas ?? 0,
    status.currentReplicas ?? 0,
    ageOf(object, now),
  ];
}

/** How workloads are printed. */
export const WORKLOAD_TABLES: Record<string, Table> = {
  "apps/Deployment": table(
    "Ready | Up-to-date | Available | Age | +Containers | +Images | +Selector",
    deploymentCells,
  ),
  "apps/ReplicaSet": table(REPLICAS, (object, now) => [...replicaCells(object, now), ...wide(object)]),
  "/ReplicationController": table(REPLICAS, (object, now) => [
    ...replicaCells(object, now),
    ...containerCells(object.spec?.template),
    formatLabels(object.spec?.selector),
  ]),
  "apps/StatefulSet": table("Ready | Age | +Containers | +Images", (object, now) => [
    `${object.status?.readyReplicas ?? 0}/${object.spec?.replicas ?? 0}`,
    ageOf(object, now),
    ...containerCells(object.spec?.template),
  ]),
  "apps/DaemonSet": table(
    "Desired:integer | Current:integer | Ready:integer | Up-to-date:integer | Available:integer | Node Selector | Age | +Containers | +Images | +Selector",
    daemonSetCells,
  ),
  "apps/ControllerRevision": table("Controller | Revision:integer | Age", (object, now) => {
    const owner = object.metadata?.ownerReferences?.find((item: KubeObject) => item.controller);
    const group = owner?.apiVersion?.includes("/") ? `.${owner.apiVersion.split("/")[0]}` : "";
    const controller = owner ? `${String(owner.kind).toLowerCase()}${group}/${owner.name}` : "<none>";
    return [controller, object.revision ?? 0, ageOf(object, now)];
  }),
  "batch/Job": table("Status | Completions | Duration | Age | +Containers | +Images | +Selector", jobCells),
  "batch/CronJob": table(
    "Schedule | Timezone | Suspend:boolean | Active:integer | Last Schedule | Age | +Containers | +Images | +Selector",
    cronJobCells,
  ),
  "autoscaling/HorizontalPodAutoscaler": table(
    "Reference | Targets | MinPods | MaxPods | Replicas | Age",
    autoscalerCells,
  ),
  "policy/PodDisruptionBudget": table(
    "Min Available | Max Unavailable | Allowed Disruptions:integer | Age",
    (object, now) => [
      String(object.spec?.minAvailable ?? "N/A"),
      String(object.spec?.maxUnavailable ?? "N/A"),
      object.status?.disruptionsAllowed ?? 0,
      ageOf(object, now),
    ],
  ),
};
