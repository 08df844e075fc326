// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { age } from "./age.ts";
import { ageOf, type Cell, column, formatLabels, type Table, table } from "./table.ts";

const ROLE_PREFIX = "node-role.kubernetes.io/";

function nodeCells(node: KubeObject, now: Date): Cell[] {
  const info = node.status?.nodeInfo ?? {};
  return [
    nodeStatus(node),
    nodeRoles(node),
    ageOf(node, now),
    info.kubeletVersion ?? "",
    address(node, "InternalIP"),
    address(node, "ExternalIP"),
    info.osImage || "<unknown>",
    info.kernelVersion || "<unknown>",
    info.containerRuntimeVersion || "<unknown>",
  ];
}

function nodeStatus(node: KubeObject): string {
  const ready = node.status?.conditions?.find((condition: KubeObject) => condition.type === "Ready");
  const parts = [ready ? (ready.status === "True" ? "Ready" : "NotReady") : "Unknown"];
  if (node.spec?.unschedulable) parts.push("SchedulingDisabled");
  return parts.join(",");
}

function nodeRoles(node: KubeObject): string {
  const roles = new Set<string>();
  for (const [key, value] of Object.entries<string>(node.metadata?.labels ?? {})) {
    if (key.startsWith(ROLE_PREFIX) && key.length > ROLE_PREFIX.length)
      roles.add(key.slice(ROLE_PREFIX.length));
    if (key === "kubernetes.io/role" && value) roles.add(value);
  }
  return [...roles].sort().join(",") || "<none>";
}

function address(node: KubeObject, type: string): string {
  return node.status?.addresses?.find((item: KubeObject) => item.type === type)?.address ?? "<none>";
}

const EVENT_TABLE: Table = {
  columns: [
    column("Last Seen"),
    column("Type"),
    column("Reason"),
    column("Object"),
    column("Subobject", "string", 1),
    column("Source", "string", 1),
    column("Message"),
    column("First Seen", "string", 1),
    column("Count", "string", 1),
    column("Name", "string", 1, "name"),
  ],
  row: eventCells,
};

function eventCells(event: KubeObject, now: Date): Cell[] {
  const about = event.involvedObject ?? event.regarding ?? {};
  const first = event.firstTimestamp ?? event.deprecatedFirstTimestamp ?? event.eventTime;
  const last =
    event.series?.lastObservedTime ?? event.lastTimestamp ?? event.deprecatedLastTimestamp ?? first;
  const source = event.source ?? event.deprecatedSource ?? {};
  const component = source.component || event.reportingComponent || event.reportingController || "";
  return [
    age(last, now),
    event.type ?? "",
    event.reason ?? "",
    `${String(about.kind ?? "").toLowerCase()}/${about.name ?? ""}`,
    about.fieldPath ?? "",
    source.host ? `${component}, ${source.host}` : component,
    String(event.message ?? event.note ?? "").trim(),
    age(first, now),
    String(event.series?.count ?? event.count ?? event.deprecatedCount ?? 1),
    event.metadata?.name ?? "",
  ];
}

const ACCESS_MODES: Record<string, string> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};

function accessModes(modes: string[] | undefined): string {
  return (modes ?? []).map((mode) => ACCESS_MODES[mode] ?? mode).join(",");
}

function volumeCells(volume: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = volume;
  const claim = spec.claimRef ? `${spec.claimRef.namespace}/${spec.claimRef.name}` : "";
  return [
    spec.capacity?.storage ?? "",
    accessModes(spec.accessModes),
    spec.persistentVolumeReclaimPolicy ?? "",
    volume.metadata?.deletionTimestamp ? "Terminating" : (status.phase ?? ""),
    claim,
    spec.storageClassName ?? "",
    spec.volumeAttributesClassName ?? "<unset>",
    status.reason ?? "",
    ageOf(volume, now),
    spec.volumeMode ?? "<unset>",
  ];
}

function claimCells(claim: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = claim;
  const bound = Boolean(spec.volumeName);
  return [
    claim.metadata?.deletionTimestamp ? "Terminating" : (status.phase ?? ""),
    spec.volumeName ?? "",
    bound ? (status.capacity?.storage ?? "0") : "",
    bound ? accessModes(status.accessModes) : "",
    spec.storageClassName ?? "",
    spec.volumeAttributesClassName ?? "<unset>",
    ageOf(claim, now),
    spec.volumeMode ?? "<unset>",
  ];
}

function quotaCells(quota: KubeObject, now: Date): Cell[] {
  const { hard = {}, used = {} } = quota.status ?? {};
  const requests: string[] = [];
  const limits: string[] = [];
  for (const name of Object.keys(hard).sort()) {
    (name.startsWith("limits") ? limits : requests).push(`${name}: ${used[name] ?? "0"}/${hard[name]}`);
  }
  return [requests.join(", "), limits.join(", "), ageOf(quota, now)];
}

function size(map: KubeObject | undefined): number {
  return Object.keys(map ?? {}).length;
}

function createdAt(object: KubeObject): string {
  return object.metadata?.creationTimestamp ?? "<unknown>";
}

/** How the kinds of the core group besides pods and services are printed. */
export const CLUSTER_TABLES: Record<string, Table> = {
  "/Node": table(
    "Status | Roles | Age | Version | +Internal-IP | +External-IP | +OS-Image | +Kernel-Version | +Container-Runtime",
    nodeCells,
  ),
  "/Namespace": table("Status | Age", (object, now) => [object.status?.phase ?? "", ageOf(object, now)]),
  "/ConfigMap": table("Data | Age", (object, now) => [
    String(size(object.data) + size(object.binaryData)),
    ageOf(object, now),
  ]),
  "/Secret": table("Type | Data | Age", (object, now) => [
    object.type ?? "",
    String(size(object.data)),
    ageOf(object, now),
  ]),
  "/ServiceAccount": table("Secrets | Age", (object, now) => [
    String(object.secrets?.length ?? 0),
    ageOf(object, now),
  ]),
  "/Event": EVENT_TABLE,
  "events.k8s.io/Event": EVENT_TABLE,
  "/PersistentVolume": table(
    "Capacity | Access Modes | Reclaim Policy | Status | Claim | StorageClass | VolumeAttributesClass | Reason | Age | +VolumeMode",
    volumeCells,
  ),
  "/PersistentVolumeClaim": table(
    "Status | Volume | Capacity | Access Modes | StorageClass | VolumeAttributesClass | Age | +VolumeMode",
    claimCells,
  ),
  "/LimitRange": table("Created At", (object) => [createdAt(object)]),
  "/ResourceQuota": table("Request | Limit | Age", quotaCells),
  "/PodTemplate": table("Containers | Images | Pod Labels", (object) => [
    (object.template?.spec?.containers ?? []).map((item: KubeObject) => item.name).join(","),
    (object.template?.spec?.containers ?? []).map((item: KubeObject) => item.image).join(","),
    formatLabels(object.template?.metadata?.labels),
  ]),
  "coordination.k8s.io/Lease": table("Holder | Age", (object, now) => [
    object.spec?.holderIdentity ?? "",
    ageOf(object, now),
  ]),
  "apiextensions.k8s.io/CustomResourceDefinition": table("Created At:date", (object) => [createdAt(object)]),
  "storage.k8s.io/CSINode": table("Drivers | Age", (object, now) => [
    String(object.spec?.drivers?.length ?? 0),
    ageOf(object, now),
  ]),
  "storage.k8s.io/StorageClass": {
    ...table(
      "Provisioner | ReclaimPolicy | VolumeBindingMode | AllowVolumeExpansion | Age",
      (object, now) => [
        object.provisioner ?? "",
        object.reclaimPolicy ?? "Delete",
        object.volumeBindingMode ?? "Immediate",
        Boolean(object.allowVolumeExpansion),
        ageOf(object, now),
      ],
    ),
    row: storageClassRow,
  },
};

const DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class";

function storageClassRow(object: KubeObject, now: Date): Cell[] {
  const isDefault = object.metadata?.annotations?.[DEFAULT_CLASS] === "true";
  return [
    `${object.metadata?.name ?? ""}${isDefault ? " (default)" : ""}`,
    object.provisioner ?? "",
    object.reclaimPolicy ?? "Delete",
    object.volumeBindingMode ?? "Immediate",
    Boolean(object.allowVolumeExpansion),
    ageOf(object, now),
  ];
}
