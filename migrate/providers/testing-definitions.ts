// SPDX-License-Identifier: Apache-2.0
// The kinds of Cluster API and Karpenter as their documentation describes them, as far as providers and tests go.
import type { KubeObject } from "../../lib/kube-object.ts";

const text = { type: "string" };
const number = { type: "integer", format: "int32" };
const texts = { type: "array", items: text };
const map = { type: "object", additionalProperties: text };
const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
const object = (properties: Record<string, unknown>, required: string[] = []) => ({
  type: "object",
  properties,
  ...(required.length === 0 ? {} : { required }),
});
const list = (properties: Record<string, unknown>, required: string[] = []) => ({
  type: "array",
  items: object(properties, required),
});

interface Version {
  name: string;
  spec: object;
  status: object;
}

function definition(
  group: string,
  kind: string,
  plural: string,
  scope: "Cluster" | "Namespaced",
  versions: Version[],
): KubeObject {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope,
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
      versions: versions.map(({ name, spec, status }, index) => ({
        name,
        served: true,
        storage: index === 0,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: object({
            apiVersion: text,
            kind: text,
            metadata: { type: "object" },
            spec,
            status,
          }),
        },
      })),
    },
  };
}

const taint = (extra: Record<string, unknown> = {}) =>
  list({ key: text, value: text, effect: { type: "string" }, ...extra }, ["key", "effect"]);

const machineSpec = (version: "v1beta1" | "v1beta2", withTaints: boolean) => {
  const reference =
    version === "v1beta1"
      ? object({ apiVersion: text, kind: text, name: text, namespace: text })
      : object({ apiGroup: text, kind: text, name: text }, ["apiGroup", "kind", "name"]);
  return object(
    {
      clusterName: text,
      version: text,
      providerID: text,
      failureDomain: text,
      bootstrap: object({ configRef: reference, dataSecretName: text }),
      infrastructureRef: reference,
      ...(withTaints
        ? { taints: taint({ propagation: { type: "string", enum: ["Always", "OnInitialization"] } }) }
        : {}),
    },
    ["clusterName", "bootstrap"],
  );
};

/** MachineDeployment, Machine and KubeadmConfigTemplate. `withTaints` is what Cluster API 1.12 added to v1beta2. */
export function clusterApiDefinitions(version: "v1beta1" | "v1beta2", withTaints = false): KubeObject[] {
  const spec = machineSpec(version, withTaints);
  const template = object({ metadata: object({ labels: map, annotations: map }), spec });
  const deployment = object(
    {
      clusterName: text,
      replicas: number,
      paused: { type: "boolean" },
      selector: open,
      strategy: open,
      template,
    },
    ["clusterName", "selector", "template"],
  );
  const machineStatus = object({
    nodeRef: object({ apiVersion: text, kind: text, name: text }),
    phase: text,
  });
  const kubeadm = object({
    template: object({
      spec: object({
        joinConfiguration: object({
          nodeRegistration: object({ name: text, kubeletExtraArgs: open, taints: taint() }),
        }),
        preKubeadmCommands: texts,
      }),
    }),
  });
  const group = "cluster.x-k8s.io";
  return [
    definition(group, "MachineDeployment", "machinedeployments", "Namespaced", [
      { name: version, spec: deployment, status: open },
    ]),
    definition(group, "Machine", "machines", "Namespaced", [{ name: version, spec, status: machineStatus }]),
    definition(`bootstrap.${group}`, "KubeadmConfigTemplate", "kubeadmconfigtemplates", "Namespaced", [
      { name: version, spec: kubeadm, status: open },
    ]),
  ];
}

/** NodePool and NodeClaim of karpenter.sh/v1. */
export function karpenterDefinitions(): KubeObject[] {
  const quantities = { type: "object", additionalProperties: { "x-kubernetes-int-or-string": true } };
  const nodeSpec = {
    taints: taint(),
    startupTaints: taint(),
    requirements: list({ key: text, operator: text, values: texts, minValues: { type: "integer" } }, [
      "key",
      "operator",
    ]),
    nodeClassRef: object({ group: text, kind: text, name: text }, ["group", "kind", "name"]),
    expireAfter: text,
    terminationGracePeriod: text,
  };
  const pool = object(
    {
      weight: { type: "integer", format: "int32", minimum: 1, maximum: 100 },
      replicas: { type: "integer", format: "int64", minimum: 0 },
      limits: quantities,
      disruption: object({
        consolidationPolicy: text,
        consolidateAfter: text,
        budgets: list({ nodes: text, schedule: text, duration: text, reasons: texts }, ["nodes"]),
      }),
      template: object(
        {
          metadata: object({ labels: map, annotations: map }),
          spec: object(nodeSpec, ["nodeClassRef", "requirements"]),
        },
        ["spec"],
      ),
    },
    ["template"],
  );
  const claim = object({ ...nodeSpec, resources: open }, ["nodeClassRef", "requirements"]);
  const status = object({ nodeName: text, providerID: text, capacity: quantities });
  return [
    definition("karpenter.sh", "NodePool", "nodepools", "Cluster", [
      { name: "v1", spec: pool, status: open },
    ]),
    definition("karpenter.sh", "NodeClaim", "nodeclaims", "Cluster", [{ name: "v1", spec: claim, status }]),
  ];
}
