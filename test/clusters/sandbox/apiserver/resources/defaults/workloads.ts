// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { setDefaults, setNonEmpty } from "./object.ts";
import { defaultPodSpec } from "./pod.ts";

/** Deployment. */
export function defaultDeployment(object: KubeObject): void {
  const spec = object.spec;
  if (!spec) return;
  setDefaults(spec, { replicas: 1, strategy: {}, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
  setNonEmpty(spec.strategy, { type: "RollingUpdate" });
  if (spec.strategy.type === "RollingUpdate") {
    setDefaults(spec.strategy, { rollingUpdate: {} });
    setDefaults(spec.strategy.rollingUpdate, { maxUnavailable: "25%", maxSurge: "25%" });
  }
  defaultPodSpec(spec.template?.spec);
}

/** ReplicaSet. */
export function defaultReplicaSet(object: KubeObject): void {
  setDefaults(object.spec, { replicas: 1 });
  defaultPodSpec(object.spec?.template?.spec);
}

/** ReplicationController: selector and labels come from the template. */
export function defaultReplicationController(object: KubeObject): void {
  setDefaults(object.spec, { replicas: 1 });
  const labels = object.spec?.template?.metadata?.labels;
  if (labels) {
    setDefaults(object.spec, { selector: labels });
    setDefaults(object.metadata, { labels });
  }
  defaultPodSpec(object.spec?.template?.spec);
}

/** StatefulSet. */
export function defaultStatefulSet(object: KubeObject): void {
  const spec = object.spec;
  if (!spec) return;
  setNonEmpty(spec, { podManagementPolicy: "OrderedReady" });
  setDefaults(spec, {
    replicas: 1,
    revisionHistoryLimit: 10,
    updateStrategy: {},
    persistentVolumeClaimRetentionPolicy: {},
  });
  setNonEmpty(spec.persistentVolumeClaimRetentionPolicy, { whenDeleted: "Retain", whenScaled: "Retain" });
  setNonEmpty(spec.updateStrategy, { type: "RollingUpdate" });
  if (spec.updateStrategy.type === "RollingUpdate") {
    setDefaults(spec.updateStrategy, { rollingUpdate: {} });
    setDefaults(spec.updateStrategy.rollingUpdate, { partition: 0 });
  }
  defaultPodSpec(spec.template?.spec);
  for (const claim of Array.isArray(spec.volumeClaimTemplates) ? spec.volumeClaimTemplates : []) {
    setDefaults(claim, { apiVersion: "v1", kind: "PersistentVolumeClaim", status: {} });
    setDefaults(claim.spec, { volumeMode: "Filesystem" });
    setDefaults(claim.status, { phase: "Pending" });
  }
}

/** DaemonSet. */
export function defaultDaemonSet(object: KubeObject): void {
  const spec = object.spec;
  if (!spec) return;
  setDefaults(spec, { revisionHistoryLimit: 10, updateStrategy: {} });
  setNonEmpty(spec.updateStrategy, { type: "RollingUpdate" });
  if (spec.updateStrategy.type === "RollingUpdate") {
    setDefaults(spec.updateStrategy, { rollingUpdate: {} });
    setDefaults(spec.updateStrategy.rollingUpdate, { maxUnavailable: 1, maxSurge: 0 });
  }
  defaultPodSpec(spec.template?.spec);
}

function defaultJobSpec(spec: KubeObject | undefined): void {
  if (!spec) return;
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  setDefaults(spec, {
    parallelism: 1,
    backoffLimit: spec.backoffLimitPerIndex === undefined ? 6 : 2147483647,
    completionMode: "NonIndexed",
    suspend: false,
    podReplacementPolicy: spec.podFailurePolicy ? "Failed" : "TerminatingOrFailed",
  });
  defaultPodSpec(spec.template?.spec);
}

/** Job. */
export function defaultJob(object: KubeObject): void {
  defaultJobSpec(object.spec);
  const labels = object.spec?.template?.metadata?.labels;
  if (labels && object.metadata) setDefaults(object.metadata, { labels });
}

/** CronJob. */
export function defaultCronJob(object: KubeObject): void {
  setNonEmpty(object.spec, { concurrencyPolicy: "Allow" });
  setDefaults(object.spec, { suspend: false, successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1 });
  const job = object.spec?.jobTemplate?.spec;
  if (!job) return;
  // The template's own job is defaulted when it is created; only the pod spec is filled in here.
  defaultPodSpec(job.template?.spec);
}

/** HorizontalPodAutoscaler. */
export function defaultAutoscaler(object: KubeObject): void {
  setDefaults(object.spec, { minReplicas: 1 });
  if (object.spec && !object.spec.metrics?.length) {
    object.spec.metrics = [
      {
        type: "Resource",
        resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } },
      },
    ];
  }
}
