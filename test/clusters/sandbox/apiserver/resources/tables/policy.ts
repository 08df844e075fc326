// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { humanDuration } from "./age.ts";
import { ageOf, type Cell, type Table, table } from "./table.ts";

function createdAt(object: KubeObject): Cell[] {
  return [object.metadata?.creationTimestamp ?? "<unknown>"];
}

function bindingCells(object: KubeObject, now: Date): Cell[] {
  const subjects: KubeObject[] = object.subjects ?? [];
  const named = (kind: string) => subjects.filter((item) => item.kind === kind);
  return [
    `${object.roleRef?.kind ?? ""}/${object.roleRef?.name ?? ""}`,
    ageOf(object, now),
    named("User")
      .map((item) => item.name)
      .join(", "),
    named("Group")
      .map((item) => item.name)
      .join(", "),
    named("ServiceAccount")
      .map((item) => `${item.namespace}/${item.name}`)
      .join(", "),
  ];
}

function csrCondition(object: KubeObject): string {
  const types = new Set((object.status?.conditions ?? []).map((item: KubeObject) => item.type));
  const parts = [types.has("Denied") ? "Denied" : types.has("Approved") ? "Approved" : "Pending"];
  if (types.has("Failed")) parts.push("Failed");
  if (object.status?.certificate) parts.push("Issued");
  return parts.join(",");
}

function apiServiceCells(object: KubeObject, now: Date): Cell[] {
  const service = object.spec?.service;
  const available = object.status?.conditions?.find((item: KubeObject) => item.type === "Available");
  const text =
    available?.status === "True" ? "True" : `${available?.status ?? "Unknown"} (${available?.reason ?? ""})`;
  return [service ? `${service.namespace}/${service.name}` : "Local", text, ageOf(object, now)];
}

const BINDING = "Role | Age | +Users | +Groups | +ServiceAccounts";
const WEBHOOKS = table("Webhooks:integer | Age", (object, now) => [
  object.webhooks?.length ?? 0,
  ageOf(object, now),
]);

/** How access control, classes and extension kinds are printed. */
export const POLICY_TABLES: Record<string, Table> = {
  "rbac.authorization.k8s.io/Role": table("Created At:date", createdAt),
  "rbac.authorization.k8s.io/ClusterRole": table("Created At:date", createdAt),
  "rbac.authorization.k8s.io/RoleBinding": table(BINDING, bindingCells),
  "rbac.authorization.k8s.io/ClusterRoleBinding": table(BINDING, bindingCells),
  "scheduling.k8s.io/PriorityClass": table(
    "Value | Global-Default | Age | PreemptionPolicy",
    (object, now) => [
      object.value ?? 0,
      Boolean(object.globalDefault),
      ageOf(object, now),
      object.preemptionPolicy ?? "",
    ],
  ),
  "node.k8s.io/RuntimeClass": table("Handler | Age", (object, now) => [
    object.handler ?? "",
    ageOf(object, now),
  ]),
  "certificates.k8s.io/CertificateSigningRequest": table(
    "Age | SignerName | Requestor | RequestedDuration | Condition",
    (object, now) => [
      ageOf(object, now),
      object.spec?.signerName ?? "",
      object.spec?.username ?? "",
      object.spec?.expirationSeconds ? humanDuration(object.spec.expirationSeconds * 1000) : "<none>",
      csrCondition(object),
    ],
  ),
  "apiregistration.k8s.io/APIService": table("Service | Available | Age", apiServiceCells),
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": WEBHOOKS,
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": WEBHOOKS,
};
