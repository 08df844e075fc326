// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { duplicate, forbidden, invalidValue, notSupported, required } from "../field-errors.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { containerErrors } from "./containers.ts";
import { labelErrors, subdomainErrors } from "./names.ts";
import { labelMapErrors } from "./object-meta.ts";

const RESTART = ["Always", "OnFailure", "Never"];
const DNS = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** Everything wrong with a pod spec at `field`. */
export function podSpecErrors(spec: KubeObject | undefined, field: string): FieldError[] {
  if (!spec) return [required(`${field}.containers`)];
  const errors = [...volumeErrors(spec.volumes ?? [], `${field}.volumes`), ...containerErrors(spec, field)];
  if (!RESTART.includes(spec.restartPolicy))
    errors.push(notSupported(`${field}.restartPolicy`, spec.restartPolicy ?? "", RESTART));
  if (!DNS.includes(spec.dnsPolicy))
    errors.push(notSupported(`${field}.dnsPolicy`, spec.dnsPolicy ?? "", DNS));
  if (spec.dnsPolicy === "None" && !spec.dnsConfig?.nameservers?.length) {
    errors.push(
      required(
        `${field}.dnsConfig.nameservers`,
        "must provide at least one DNS nameserver when `dnsPolicy` is None",
      ),
    );
  }
  if (spec.terminationGracePeriodSeconds < 0) {
    errors.push(
      invalidValue(
        `${field}.terminationGracePeriodSeconds`,
        spec.terminationGracePeriodSeconds,
        "must be greater than or equal to 0",
      ),
    );
  }
  if (spec.activeDeadlineSeconds !== undefined && !(spec.activeDeadlineSeconds >= 1)) {
    errors.push(
      invalidValue(
        `${field}.activeDeadlineSeconds`,
        spec.activeDeadlineSeconds,
        "must be between 1 and 2147483647, inclusive",
      ),
    );
  }
  if (spec.serviceAccountName) {
    for (const error of subdomainErrors(spec.serviceAccountName)) {
      errors.push(invalidValue(`${field}.serviceAccountName`, spec.serviceAccountName, error));
    }
  }
  if (spec.hostname)
    for (const error of labelErrors(spec.hostname))
      errors.push(invalidValue(`${field}.hostname`, spec.hostname, error));
  if (spec.nodeName)
    for (const error of subdomainErrors(spec.nodeName))
      errors.push(invalidValue(`${field}.nodeName`, spec.nodeName, error));
  errors.push(...labelMapErrors(spec.nodeSelector, `${field}.nodeSelector`));
  errors.push(...tolerationErrors(spec.tolerations ?? [], `${field}.tolerations`));
  return errors;
}

function volumeErrors(volumes: KubeObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, volume] of volumes.entries()) {
    const at = `${field}[${index}]`;
    if (!volume.name) errors.push(required(`${at}.name`));
    else
      for (const error of labelErrors(volume.name))
        errors.push(invalidValue(`${at}.name`, volume.name, error));
    if (volume.name && names.has(volume.name)) errors.push(duplicate(`${at}.name`, volume.name));
    names.add(volume.name);
    const sources = Object.keys(volume).filter((key) => key !== "name");
    if (sources.length === 0) errors.push(required(at, "must specify a volume type"));
    for (const source of sources.slice(1))
      errors.push(forbidden(`${at}.${source}`, "may not specify more than 1 volume type"));
    errors.push(...sourceErrors(volume, at));
  }
  return errors;
}

const HOST_PATH_TYPES = [
  "",
  "BlockDevice",
  "CharDevice",
  "Directory",
  "DirectoryOrCreate",
  "File",
  "FileOrCreate",
  "Socket",
];

function sourceErrors(volume: KubeObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (volume.hostPath) {
    if (!volume.hostPath.path) errors.push(required(`${field}.hostPath.path`));
    if (!HOST_PATH_TYPES.includes(volume.hostPath.type ?? "")) {
      errors.push(notSupported(`${field}.hostPath.type`, volume.hostPath.type, HOST_PATH_TYPES));
    }
  }
  if (volume.secret && !volume.secret.secretName) errors.push(required(`${field}.secret.secretName`));
  if (volume.configMap && !volume.configMap.name) errors.push(required(`${field}.configMap.name`));
  if (volume.persistentVolumeClaim && !volume.persistentVolumeClaim.claimName) {
    errors.push(required(`${field}.persistentVolumeClaim.claimName`));
  }
  return errors;
}

function tolerationErrors(tolerations: KubeObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, item] of tolerations.entries()) {
    const at = `${field}[${index}]`;
    const operator = item.operator || "Equal";
    if (!item.key && operator !== "Exists") {
      errors.push(
        invalidValue(
          `${at}.operator`,
          item.operator ?? "",
          'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
      );
    }
    if (!["Equal", "Exists"].includes(operator))
      errors.push(notSupported(`${at}.operator`, operator, ["Equal", "Exists"]));
    if (operator === "Exists" && item.value) {
      errors.push(invalidValue(`${at}.operator`, item, "value must be empty when `operator` is 'Exists'"));
    }
    if (item.effect && !EFFECTS.includes(item.effect))
      errors.push(notSupported(`${at}.effect`, item.effect, EFFECTS));
    if (item.tolerationSeconds !== undefined && item.effect !== "NoExecute") {
      errors.push(
        invalidValue(
          `${at}.effect`,
          item.effect ?? "",
          "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
      );
    }
  }
  return errors;
}

/** Everything wrong with a pod, new or changed. */
export function podErrors(pod: KubeObject, previous?: KubeObject): FieldError[] {
  if (!previous) return podSpecErrors(pod.spec, "spec");
  return isDeepStrictEqual(pod.spec, previous.spec)
    ? []
    : [...podSpecErrors(pod.spec, "spec"), ...changeErrors(pod, previous)];
}

const FORBIDDEN_CHANGE =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

// What may differ is made equal, then nothing may.
function changeErrors(pod: KubeObject, previous: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const next = structuredClone(pod.spec);
  const before = previous.spec;
  for (const list of ["containers", "initContainers"]) {
    if ((next[list]?.length ?? 0) !== (before[list]?.length ?? 0)) {
      return [forbidden(`spec.${list}`, "pod updates may not add or remove containers")];
    }
    for (const [index, container] of (next[list] ?? []).entries()) {
      container.image = before[list][index].image;
      container.resources = before[list][index].resources;
    }
  }
  const lost = (before.tolerations ?? []).filter(
    (item: KubeObject) => !(next.tolerations ?? []).some((other: KubeObject) => sameToleration(item, other)),
  );
  if (lost.length)
    errors.push(
      forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"),
    );
  for (const field of [
    "tolerations",
    "activeDeadlineSeconds",
    "ephemeralContainers",
    "schedulingGates",
    "nodeName",
  ]) {
    const bound = field === "nodeName" && before.nodeName;
    if (!bound) copyField(next, before, field);
  }
  if (before.schedulingGates?.length)
    for (const field of ["nodeSelector", "affinity"]) copyField(next, before, field);
  if (!isDeepStrictEqual(next, before)) errors.push(forbidden("spec", FORBIDDEN_CHANGE));
  return errors;
}

function sameToleration(a: KubeObject, b: KubeObject): boolean {
  return isDeepStrictEqual({ ...a, tolerationSeconds: 0 }, { ...b, tolerationSeconds: 0 });
}

function copyField(to: KubeObject, from: KubeObject, field: string): void {
  if (from[field] === undefined) delete to[field];
  else to[field] = from[field];
}
