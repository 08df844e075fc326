// SPDX-License-Identifier: Apache-2.0
// The copy of a MachineDeployment whose nodes come with the readiness taint.
import { ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import { isAlreadyExists } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { readinessTaint } from "../model/tools.ts";
import { type Capi, deploymentLabel } from "./cluster-api-machines.ts";
import { groupLabel, groupValue } from "./group-label.ts";

const clusterLabel = "cluster.x-k8s.io/cluster-name";
const bootstrapGroup = "bootstrap.cluster.x-k8s.io";
const kubeadmKind = "KubeadmConfigTemplate";

interface CopyOptions {
  /** Ask the API server whether it would take it, and change nothing. */
  dryRun?: boolean;
}

/** Makes the copy with this many Machines; one that is there already is left as it is. */
export async function copyDeployment(
  api: Capi,
  deployment: KubeObject,
  replicas: number,
  group: string,
  options: CopyOptions = {},
): Promise<string> {
  const { namespace, name } = deployment.metadata;
  const copyName = `${name}-shunt`;
  const there = await api.kube.find(resourcePath(api.version, "machinedeployments", namespace, copyName));
  if (there !== undefined) {
    if (options.dryRun === true || there.metadata.labels?.[groupLabel] === groupValue(group))
      return `MachineDeployment ${namespace}/${copyName} is there`;
    throw new ShuntError(`MachineDeployment ${namespace}/${copyName} is of another migration`, {
      code: "Blocked",
      remedy: "Rename or delete it.",
    });
  }
  const copy = copyOf(deployment, copyName, replicas, group);
  const bootstrap = await copyBootstrap(api, deployment, group, options);
  const template = copy.spec.template.spec;
  // A taint of the Machine itself needs a newer Cluster API; that of the kubeadm template works in all of them.
  if (bootstrap === undefined)
    template.taints = [...(template.taints ?? []), { ...readinessTaint, propagation: "OnInitialization" }];
  else template.bootstrap.configRef.name = bootstrap;
  const query = options.dryRun === true ? { dryRun: "All" } : {};
  const made = await api.kube.create(resourcePath(api.version, "machinedeployments", namespace), copy, query);
  if (bootstrap !== undefined || made.spec?.template?.spec?.taints !== undefined)
    return `MachineDeployment ${namespace}/${copyName} with ${replicas} Machines`;
  if (options.dryRun !== true)
    await api.kube.deleteIfExists(resourcePath(api.version, "machinedeployments", namespace, copyName));
  throw new ShuntError(
    `MachineDeployment ${namespace}/${name} has no ${kubeadmKind}, and this Cluster API knows no taints of Machines (v1beta2, 1.12): its nodes cannot keep pods away until the agent runs`,
    { code: "Blocked" },
  );
}

function copyOf(deployment: KubeObject, copyName: string, replicas: number, group: string): any {
  const { apiVersion, kind, metadata, spec } = structuredClone(deployment) as any;
  const cluster = { [clusterLabel]: spec.clusterName };
  const own = { ...cluster, [deploymentLabel]: copyName };
  const { paused: _, ...rest } = spec;
  return {
    apiVersion,
    kind,
    metadata: {
      name: copyName,
      namespace: metadata.namespace,
      labels: { ...metadata.labels, ...cluster, [groupLabel]: groupValue(group) },
    },
    spec: {
      ...rest,
      replicas,
      // Its own Machines only: those of the old one have the old one's name.
      selector: { matchLabels: own },
      template: {
        ...spec.template,
        metadata: {
          ...spec.template?.metadata,
          labels: { ...spec.template?.metadata?.labels, ...own },
        },
      },
    },
  };
}

/** Copies the kubeadm template with the taint. Returns the copy's name; undefined for bootstrap of another kind. */
async function copyBootstrap(
  api: Capi,
  deployment: KubeObject,
  group: string,
  { dryRun = false }: CopyOptions,
): Promise<string | undefined> {
  const ref = deployment.spec?.template?.spec?.bootstrap?.configRef;
  if (ref?.kind !== kubeadmKind) return undefined;
  const { namespace, name: owner } = deployment.metadata;
  const version = ref.apiVersion ?? (await preferredVersion(api, ref.apiGroup ?? bootstrapGroup));
  const path = (name?: string) => resourcePath(version, "kubeadmconfigtemplates", namespace, name);
  const template = structuredClone(await api.kube.get(path(ref.name))) as any;
  const name = `${owner}-shunt`;
  const config = template.spec.template.spec;
  const registration = config.joinConfiguration?.nodeRegistration ?? {};
  const taints = (registration.taints ?? []).filter(({ key }: { key: string }) => key !== readinessTaint.key);
  config.joinConfiguration = {
    ...config.joinConfiguration,
    nodeRegistration: { ...registration, taints: [...taints, { ...readinessTaint }] },
  };
  const copy = {
    apiVersion: template.apiVersion,
    kind: template.kind,
    metadata: {
      name,
      namespace,
      labels: { ...template.metadata.labels, [groupLabel]: groupValue(group) },
      ownerReferences: template.metadata.ownerReferences,
    },
    spec: template.spec,
  };
  try {
    await api.kube.create(path(), copy, dryRun ? { dryRun: "All" } : {});
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
  return name;
}

async function preferredVersion(api: Capi, group: string): Promise<string> {
  const found = await api.kube.find<any>(`/apis/${group}`);
  const version = found?.preferredVersion?.groupVersion;
  if (typeof version === "string") return version;
  throw new ShuntError(`the management cluster serves no ${group}`, { code: "Blocked" });
}

/** Deletes the copies of this group and their templates. Returns their names. */
export async function removeCopies(api: Capi, group: string): Promise<string[]> {
  const labelSelector = `${groupLabel}=${groupValue(group)}`;
  const { items } = await api.kube.list(resourcePath(api.version, "machinedeployments"), { labelSelector });
  const removed: string[] = [];
  for (const { metadata } of items) {
    await api.kube.deleteIfExists(
      resourcePath(api.version, "machinedeployments", metadata.namespace, metadata.name),
    );
    removed.push(`${metadata.namespace}/${metadata.name}`);
  }
  const served = await api.kube.find<any>(`/apis/${bootstrapGroup}`);
  const version = served?.preferredVersion?.groupVersion;
  if (typeof version !== "string") return removed;
  const templates = await api.kube.find<any>(resourcePath(version, "kubeadmconfigtemplates"), {
    query: { labelSelector },
  });
  for (const { metadata } of templates?.items ?? [])
    await api.kube.deleteIfExists(
      resourcePath(version, "kubeadmconfigtemplates", metadata.namespace, metadata.name),
    );
  return removed;
}
