// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "./builtin-table.ts";
import type { KubeObject } from "./resource.ts";

const PATHS: Record<string, string[]> = {
  "/Pod": [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
  ],
  "/Node": ["spec.unschedulable"],
  "/Namespace": ["status.phase"],
  "/Service": ["spec.clusterIP", "spec.type"],
  "/Secret": ["type"],
  "/Event": [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "type",
  ],
  "/ReplicationController": ["status.replicas"],
  "apps/ReplicaSet": ["status.replicas"],
  "batch/Job": ["status.successful"],
  "certificates.k8s.io/CertificateSigningRequest": ["spec.signerName"],
};

// These print "false" when unset, where other unset fields print "".
const BOOLEAN_PATHS = new Set(["spec.unschedulable", "spec.hostNetwork"]);

function read(object: KubeObject, path: string): unknown {
  let value: any = object;
  for (const part of path.split(".")) value = value?.[part];
  return value;
}

function asText(path: string, value: unknown): string {
  if (value === undefined || value === null) return BOOLEAN_PATHS.has(path) ? "false" : "";
  return String(value);
}

/** The fields a field selector may name for this kind, with the object's values. */
export function selectableFields(row: BuiltinKind, object: KubeObject): Record<string, string> {
  const fields: Record<string, string> = { "metadata.name": object.metadata?.name ?? "" };
  if (row.namespaced) fields["metadata.namespace"] = object.metadata?.namespace ?? "";
  for (const path of PATHS[`${row.group}/${row.kind}`] ?? []) fields[path] = asText(path, read(object, path));
  if (row.kind === "Event") {
    fields.source = object.source?.component || object.reportingComponent || "";
  }
  if (row.kind === "Job" && row.group === "batch") {
    fields["status.successful"] = String(object.status?.succeeded ?? 0);
  }
  return fields;
}
