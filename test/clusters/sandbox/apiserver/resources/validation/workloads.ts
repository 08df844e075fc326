// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { forbidden, invalidValue, notSupported, required } from "../field-errors.ts";
import { matches } from "../rbac/rules.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { labelMapErrors } from "./object-meta.ts";
import { podSpecErrors } from "./pod.ts";
import { selectorErrors } from "./selector.ts";

type Check = (object: KubeObject, previous?: KubeObject) => FieldError[];

function isEmptySelector(selector: KubeObject | undefined): boolean {
  return !Object.keys(selector?.matchLabels ?? {}).length && !selector?.matchExpressions?.length;
}

function immutable(object: KubeObject, previous: KubeObject | undefined, field: string): FieldError[] {
  if (!previous || isDeepStrictEqual(object.spec?.[field], previous.spec?.[field])) return [];
  return [invalidValue(`spec.${field}`, object.spec?.[field], "field is immutable")];
}

function nonNegative(value: unknown, field: string): FieldError[] {
  return typeof value === "number" && value < 0
    ? [invalidValue(field, value, "must be greater than or equal to 0")]
    : [];
}

// Selector and template of everything that keeps pods.
function templateErrors(object: KubeObject, restart: string[]): FieldError[] {
  const { spec = {} } = object;
  const errors: FieldError[] = [];
  if (!spec.selector) errors.push(required("spec.selector"));
  else {
    errors.push(...selectorErrors(spec.selector, "spec.selector"));
    if (isEmptySelector(spec.selector)) {
      errors.push(
        invalidValue(
          "spec.selector",
          spec.selector,
          `empty selector is invalid for ${object.kind.toLowerCase()}`,
        ),
      );
    }
  }
  const labels = spec.template?.metadata?.labels ?? {};
  errors.push(...labelMapErrors(labels, "spec.template.labels"));
  const selected = !isEmptySelector(spec.selector) && matches(spec.selector, labels);
  if (!selected && !(spec.selector && isEmptySelector(spec.selector))) {
    errors.push(
      invalidValue("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"),
    );
  }
  errors.push(...podSpecErrors(spec.template?.spec, "spec.template.spec"));
  const policy = spec.template?.spec?.restartPolicy;
  if (policy && !restart.includes(policy)) {
    errors.push(notSupported("spec.template.spec.restartPolicy", policy, restart));
  }
  return errors;
}

const deployment: Check = (object, previous) => {
  const { spec = {} } = object;
  const errors = [
    ...templateErrors(object, ["Always"]),
    ...nonNegative(spec.replicas, "spec.replicas"),
    ...nonNegative(spec.minReadySeconds, "spec.minReadySeconds"),
    ...immutable(object, previous, "selector"),
  ];
  const { type, rollingUpdate } = spec.strategy ?? {};
  if (type === "Recreate" && rollingUpdate) {
    errors.push(
      forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"),
    );
  }
  if (type && !["Recreate", "RollingUpdate"].includes(type)) {
    errors.push(notSupported("spec.strategy.type", type, ["Recreate", "RollingUpdate"]));
  }
  if (type === "RollingUpdate" && isZero(rollingUpdate?.maxUnavailable) && isZero(rollingUpdate?.maxSurge)) {
    errors.push(
      invalidValue(
        "spec.strategy.rollingUpdate.maxUnavailable",
        rollingUpdate.maxUnavailable,
        "may not be 0 when `maxSurge` is 0",
      ),
    );
  }
  return errors;
};

function isZero(value: unknown): boolean {
  return value === 0 || value === "0%";
}

const replicaSet: Check = (object, previous) => [
  ...templateErrors(object, ["Always"]),
  ...nonNegative(object.spec?.replicas, "spec.replicas"),
  ...immutable(object, previous, "selector"),
];

const daemonSet: Check = (object, previous) => [
  ...templateErrors(object, ["Always"]),
  ...immutable(object, previous, "selector"),
];

const STATEFUL_MUTABLE = [
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
];

const statefulSet: Check = (object, previous) => {
  const errors = [
    ...templateErrors(object, ["Always"]),
    ...nonNegative(object.spec?.replicas, "spec.replicas"),
  ];
  if (!previous) return errors;
  const fixed = (spec: KubeObject) =>
    Object.fromEntries(Object.entries(spec ?? {}).filter(([key]) => !STATEFUL_MUTABLE.includes(key)));
  if (!isDeepStrictEqual(fixed(object.spec), fixed(previous.spec))) {
    errors.push(
      forbidden(
        "spec",
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
      ),
    );
  }
  return errors;
};

const job: Check = (object, previous) => {
  const { spec = {} } = object;
  const errors = [
    ...podSpecErrors(spec.template?.spec, "spec.template.spec"),
    ...nonNegative(spec.parallelism, "spec.parallelism"),
    ...nonNegative(spec.completions, "spec.completions"),
    ...nonNegative(spec.backoffLimit, "spec.backoffLimit"),
    ...immutable(object, previous, "selector"),
    ...immutable(object, previous, "completionMode"),
  ];
  const policy = spec.template?.spec?.restartPolicy;
  if (policy === "Always") {
    errors.push(required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'));
  }
  if (previous && !previous.spec?.suspend && !isDeepStrictEqual(spec.template, previous.spec?.template)) {
    errors.push(invalidValue("spec.template", spec.template, "field is immutable"));
  }
  return errors;
};

const cronJob: Check = (object) => {
  const { spec = {} } = object;
  const errors: FieldError[] = [];
  if (!spec.schedule) errors.push(required("spec.schedule"));
  else if (!/^(@\w+( \S+)?|(\S+\s+){4}\S+)$/.test(spec.schedule.trim())) {
    const count = spec.schedule.trim().split(/\s+/).length;
    errors.push(
      invalidValue(
        "spec.schedule",
        spec.schedule,
        `expected exactly 5 fields, found ${count}: [${spec.schedule.trim().split(/\s+/).join(" ")}]`,
      ),
    );
  }
  const policies = ["Allow", "Forbid", "Replace"];
  if (!policies.includes(spec.concurrencyPolicy))
    errors.push(notSupported("spec.concurrencyPolicy", spec.concurrencyPolicy ?? "", policies));
  const path = "spec.jobTemplate.spec.template.spec";
  const pod = spec.jobTemplate?.spec?.template?.spec;
  errors.push(...podSpecErrors(pod, path));
  if (pod?.restartPolicy === "Always")
    errors.push(required(`${path}.restartPolicy`, 'valid values: "OnFailure", "Never"'));
  return errors;
};

const replicationController: Check = (object) => {
  const { spec = {} } = object;
  const errors = podSpecErrors(spec.template?.spec, "spec.template.spec");
  if (!Object.keys(spec.selector ?? {}).length) errors.push(required("spec.selector"));
  return errors;
};

/** The rules of the kinds that keep pods, by group and kind. */
export const WORKLOAD_CHECKS: Record<string, Check> = {
  "apps/Deployment": deployment,
  "apps/ReplicaSet": replicaSet,
  "apps/DaemonSet": daemonSet,
  "apps/StatefulSet": statefulSet,
  "batch/Job": job,
  "batch/CronJob": cronJob,
  "/ReplicationController": replicationController,
};
