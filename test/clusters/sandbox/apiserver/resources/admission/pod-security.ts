// SPDX-License-Identifier: Apache-2.0
// Pod Security admission: the levels a namespace's labels ask for.
import type { BuiltinKind } from "../builtin-table.ts";
import { invalid, invalidValue, refuse } from "../field-errors.ts";
import type { KubeObject, PrepareContext } from "../resource.ts";
import { violations } from "./pod-security-checks.ts";

const PREFIX = "pod-security.kubernetes.io/";
const LEVELS = ["privileged", "baseline", "restricted"];

const TEMPLATES: Record<string, (object: KubeObject) => KubeObject | undefined> = {
  PodTemplate: (object) => object.template,
  ReplicationController: (object) => object.spec?.template,
  ReplicaSet: (object) => object.spec?.template,
  Deployment: (object) => object.spec?.template,
  StatefulSet: (object) => object.spec?.template,
  DaemonSet: (object) => object.spec?.template,
  Job: (object) => object.spec?.template,
  CronJob: (object) => object.spec?.jobTemplate?.spec?.template,
};

/** Refuses or warns about pods, and warns about what would make pods, that a namespace's level forbids. */
export function admitPodSecurity(row: BuiltinKind, ctx: PrepareContext): void {
  const { object, store, warnings } = ctx;
  if (row.kind === "Namespace" && row.group === "") {
    checkLabels(object);
    return;
  }
  const isPod = row.kind === "Pod" && row.group === "";
  if (isPod && ctx.operation !== "create") return;
  const template = isPod ? object : TEMPLATES[row.kind]?.(object);
  if (!template?.spec) return;
  const namespace = store.get("", "namespaces", undefined, object.metadata.namespace);
  const labels = namespace?.metadata.labels ?? {};
  if (isPod) {
    const text = judge(labels, "enforce", template);
    if (text) throw refuse("pods", "", object.metadata.name ?? "", `violates ${text}`);
  }
  const warning = judge(labels, "warn", template);
  if (warning) warnings.push(`would violate ${warning}`);
}

function judge(labels: Record<string, string>, mode: string, pod: KubeObject): string | undefined {
  const level = labels[`${PREFIX}${mode}`];
  if (!level || level === "privileged") return undefined;
  const version = labels[`${PREFIX}${mode}-version`] ?? "latest";
  const found = violations(level === "baseline" ? "baseline" : "restricted", pod);
  if (found.length === 0) return undefined;
  const texts = found.map(({ reason, detail }) => (detail ? `${reason} (${detail})` : reason));
  return `PodSecurity "${level}:${version}": ${texts.join(", ")}`;
}

function checkLabels(namespace: KubeObject): void {
  const errors = ["enforce", "audit", "warn"].flatMap((mode) => {
    const value = namespace.metadata.labels?.[`${PREFIX}${mode}`];
    if (value === undefined || LEVELS.includes(value)) return [];
    return [invalidValue(`metadata.labels[${PREFIX}${mode}]`, value, `must be one of ${LEVELS.join(", ")}`)];
  });
  if (errors.length) throw invalid("Namespace", "", namespace.metadata.name, errors);
}
