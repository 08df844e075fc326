// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isConflict, isNotFound } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { NodeGroupProvider } from "../model/tools.ts";
import { copyDeployment, removeCopies } from "./cluster-api-copy.ts";
import { type Capi, findCapi, machinesOf, type OldMachine, pathOf } from "./cluster-api-machines.ts";
import type { ProviderSetup } from "./setup.ts";

const topologyLabel = "topology.cluster.x-k8s.io/owned";
const deleteAnnotation = "cluster.x-k8s.io/delete-machine";
/** On a MachineDeployment: the Machines by which it was already scaled down. */
const removedAnnotation = "shunt.dev/removed-machines";
const scalerPrefix = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-";
/** On an old MachineDeployment: what told an autoscaler to change it. */
const scalerRecord = "shunt.dev/autoscaler-annotations";

/** MachineDeployments of Cluster API, each with a copy beside it for the new nodes. */
export function clusterApiProvider(setup: ProviderSetup): NodeGroupProvider {
  const kube = setup.management ?? setup.kube;
  const capi = (): Promise<Capi> => findCapi(kube);
  return {
    name: "cluster-api",
    check: (old) => check(setup, kube, old),
    async addNodes({ group, old }) {
      const api = await capi();
      const groups = byDeployment(await machinesOf(setup, api, old));
      const said: string[] = [];
      for (const machines of groups.values()) {
        const deployment = await api.kube.get(pathOf(api, machines[0]!, "machinedeployments"));
        await stopAutoscaler(api, deployment);
        said.push(await copyDeployment(api, deployment, machines.length, group));
      }
      return said.join("; ");
    },
    async removeNode({ node }) {
      const api = await capi();
      const [machine] = await machinesOf(setup, api, [node], { missing: "skip" });
      if (machine === undefined) return `${node} has no Machine any more`;
      const path = pathOf(api, { ...machine, name: machine.machine }, "machines");
      await kube
        .patch(path, "merge", { metadata: { annotations: { [deleteAnnotation]: "yes" } } })
        .catch((error: unknown) => {
          // It went meanwhile, as an earlier attempt asked: that one has counted it, or this one does.
          if (!isNotFound(error)) throw error;
        });
      const replicas = await scaleDown(api, machine);
      return `MachineDeployment ${machine.namespace}/${machine.name} wants ${replicas} Machines, without ${machine.machine}`;
    },
    async settleGroup({ group }) {
      return await startAutoscalers(await capi(), group, "copy");
    },
    async removeGroup({ group }) {
      const api = await capi();
      const removed = await removeCopies(api, group);
      await startAutoscalers(api, group, "old");
      return removed.length === 0 ? "there was no copy" : `deleted ${removed.join(", ")}`;
    },
  };
}

async function check(
  setup: ProviderSetup,
  kube: KubeClient,
  old: readonly string[],
): Promise<string | undefined> {
  try {
    const api = await findCapi(kube);
    const groups = byDeployment(await machinesOf(setup, api, old));
    for (const [name, machines] of groups) {
      const deployment = await kube.get(pathOf(api, machines[0]!, "machinedeployments"));
      if (deployment.metadata.labels?.[topologyLabel] !== undefined)
        return `MachineDeployment ${name} belongs to a Cluster's topology, which would put its size back; change the topology yourself with --provider manual`;
      await copyDeployment(api, deployment, machines.length, "dry-run", { dryRun: true });
    }
    return undefined;
  } catch (error) {
    if (error instanceof ShuntError) return error.message;
    throw error;
  }
}

function byDeployment(machines: readonly OldMachine[]): Map<string, OldMachine[]> {
  return Map.groupBy(machines, ({ namespace, name }) => `${namespace}/${name}`);
}

/** One Machine less, once: which ones were counted is written together with the number. */
async function scaleDown(api: Capi, machine: OldMachine): Promise<number> {
  const path = pathOf(api, machine, "machinedeployments");
  for (;;) {
    const deployment = await api.kube.get(path);
    const { annotations = {} } = deployment.metadata;
    const counted = (annotations[removedAnnotation] ?? "").split(",").filter((name) => name !== "");
    const replicas: number = deployment.spec?.replicas ?? 1;
    if (counted.includes(machine.machine)) return replicas;
    const next = Math.max(0, replicas - 1);
    const changed = {
      ...deployment,
      metadata: {
        ...deployment.metadata,
        annotations: { ...annotations, [removedAnnotation]: [...counted, machine.machine].join(",") },
      },
      spec: { ...deployment.spec, replicas: next },
    };
    try {
      await api.kube.replace(path, changed);
      return next;
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
}

/** An autoscaler would fill the old group again while it is emptied. */
async function stopAutoscaler(api: Capi, deployment: KubeObject): Promise<void> {
  const { name, namespace, annotations = {} } = deployment.metadata;
  const found = Object.entries(annotations).filter(([key]) => key.startsWith(scalerPrefix));
  if (found.length === 0) return;
  await api.kube.patch(resourcePath(api.version, "machinedeployments", namespace, name), "merge", {
    metadata: {
      annotations: {
        ...Object.fromEntries(found.map(([key]) => [key, null])),
        [scalerRecord]: JSON.stringify(Object.fromEntries(found)),
      },
    },
  });
}

/** Gives what told the autoscaler to the copies, or back to the old ones. */
async function startAutoscalers(api: Capi, group: string, to: "copy" | "old"): Promise<string> {
  const { items } = await api.kube.list(resourcePath(api.version, "machinedeployments"));
  const said: string[] = [];
  for (const old of items) {
    const record = old.metadata.annotations?.[scalerRecord];
    if (record === undefined) continue;
    const copy = items.find(
      ({ metadata }) =>
        metadata.namespace === old.metadata.namespace && metadata.name === `${old.metadata.name}-shunt`,
    );
    const target = to === "copy" ? copy : old;
    if (target === undefined) continue;
    const annotations = { ...JSON.parse(record), ...(to === "old" ? { [scalerRecord]: null } : {}) };
    const { namespace, name } = target.metadata;
    await api.kube.patch(resourcePath(api.version, "machinedeployments", namespace, name), "merge", {
      metadata: { annotations },
    });
    said.push(`${namespace}/${name}`);
  }
  const what = `group ${group}`;
  return said.length === 0
    ? `nothing held the place of ${what}`
    : `the autoscaler may change ${said.join(", ")}`;
}
