// SPDX-License-Identifier: Apache-2.0
// Which Machines the old nodes are, and which MachineDeployment each belongs to.
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { ProviderSetup } from "./setup.ts";

const group = "cluster.x-k8s.io";
export const deploymentLabel = `${group}/deployment-name`;

/** The management cluster, and the version of the API that is spoken to it. */
export interface Capi {
  kube: KubeClient;
  /** cluster.x-k8s.io/v1beta1 where it is served, else v1beta2. */
  version: string;
}

/** A node's Machine; `namespace` and `name` are of its MachineDeployment. */
export interface OldMachine {
  node: string;
  machine: string;
  namespace: string;
  name: string;
}

/** Finds the API. Throws when it is not there. */
export async function findCapi(kube: KubeClient): Promise<Capi> {
  const served = await kube.find<{ versions?: { version: string }[] }>(`/apis/${group}`);
  const versions = (served?.versions ?? []).map(({ version }) => version);
  const version = ["v1beta1", "v1beta2"].find((name) => versions.includes(name));
  if (version !== undefined) return { kube, version: `${group}/${version}` };
  throw new ShuntError(
    versions.length === 0
      ? `the cluster at ${kube.server} has no Cluster API (${group}); name the management cluster with --provider-kubeconfig and --provider-context`
      : `Cluster API at ${kube.server} serves ${versions.join(", ")}, and v1beta1 or v1beta2 is needed`,
    { code: "Blocked" },
  );
}

export const pathOf = (
  { version }: Capi,
  { namespace, name }: { namespace: string; name: string },
  plural: "machines" | "machinedeployments",
): string => resourcePath(version, plural, namespace, name);

/** The Machines of these nodes. A management cluster may know nodes of the same name in several clusters. */
export async function machinesOf(
  { kube, options }: ProviderSetup,
  api: Capi,
  nodes: readonly string[],
  { missing = "refuse" }: { missing?: "refuse" | "skip" } = {},
): Promise<OldMachine[]> {
  const wanted = new Map<string, KubeObject | undefined>();
  for (const name of nodes) wanted.set(name, await kube.find(resourcePath("v1", "nodes", undefined, name)));
  const { items } = await api.kube.list(resourcePath(api.version, "machines"));
  const found: OldMachine[] = [];
  const clusters = new Set<string>();
  for (const [node, object] of wanted) {
    const own = items.filter((machine) => isOf(machine, node, object, options));
    if (own.length > 1)
      throw new ShuntError(
        `node ${node} is of ${own.length} clusters: ${own.map(clusterOf).join(", ")}; say which with --provider-set cluster=NAME and namespace=NAMESPACE`,
        { code: "Blocked" },
      );
    const [machine] = own;
    if (machine === undefined) {
      if (missing === "skip") continue;
      throw new ShuntError(`no Machine has node ${node}`, { code: "Blocked" });
    }
    const deployment = machine.metadata.labels?.[deploymentLabel];
    if (deployment === undefined)
      throw new ShuntError(`Machine ${machine.metadata.name} of node ${node} is of no MachineDeployment`, {
        code: "Blocked",
      });
    clusters.add(clusterOf(machine));
    const { namespace, name } = machine.metadata;
    found.push({ node, machine: name!, namespace: namespace!, name: deployment });
  }
  if (clusters.size <= 1) return found;
  throw new ShuntError(
    `the nodes are of several clusters: ${[...clusters].join(", ")}; say which with --provider-set cluster=NAME and namespace=NAMESPACE`,
    { code: "Blocked" },
  );
}

const clusterOf = ({ metadata, spec }: KubeObject): string => `${metadata.namespace}/${spec?.clusterName}`;

function isOf(
  { metadata, spec, status }: KubeObject,
  node: string,
  object: KubeObject | undefined,
  options: ProviderSetup["options"],
): boolean {
  if (status?.nodeRef?.name !== node) return false;
  const said = object?.metadata.annotations ?? {};
  const cluster = options.cluster ?? said[`${group}/cluster-name`];
  const namespace = options.namespace ?? said[`${group}/cluster-namespace`];
  return (
    (cluster === undefined || spec?.clusterName === cluster) &&
    (namespace === undefined || metadata.namespace === namespace)
  );
}
