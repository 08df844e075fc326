// SPDX-License-Identifier: Apache-2.0
import { stringify } from "yaml";
import type { KubeObject } from "../lib/kube-object.ts";
import { type JsonSchema, type PolicyKind, policyResources, policySchemas } from "../lib/policy-schema.ts";
import { VERSION } from "../lib/version.ts";
import { agentName, configName, namespace } from "./names.ts";
import type { Values } from "./values.ts";

/** What the manifests need beyond the values: found in the cluster. */
export interface ClusterFacts {
  apiServerHost: string;
  apiServerPort: number;
  clusterPodCIDRs: string[];
  serviceCIDRs: string[];
  nodePortRange: string;
  nodePortAddresses: string[];
}

const labels = {
  "app.kubernetes.io/name": "shunt",
  "app.kubernetes.io/managed-by": "shunt",
  "app.kubernetes.io/version": VERSION,
};

/** Whether an object was made by an installation. */
export const isOurs = ({ metadata }: KubeObject): boolean =>
  metadata.labels?.["app.kubernetes.io/managed-by"] === labels["app.kubernetes.io/managed-by"];

const layer = (...modes: string[]) => ({ type: "string", enum: modes });

/** The per-node object by which each layer of a node is set, and reported. */
export function customResourceDefinitions(): KubeObject[] {
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  return [
    {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "nodes.shunt.dev", labels },
      spec: {
        group: "shunt.dev",
        scope: "Cluster",
        names: {
          kind: "ShuntNode",
          listKind: "ShuntNodeList",
          plural: "nodes",
          singular: "node",
          shortNames: ["shn"],
        },
        versions: [
          {
            name: "v1alpha1",
            served: true,
            storage: true,
            subresources: { status: {} },
            additionalPrinterColumns: [
              { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
              { name: "PodNetwork", type: "string", jsonPath: ".status.layers.podNetwork.mode" },
              { name: "Services", type: "string", jsonPath: ".status.layers.services.mode" },
              { name: "Version", type: "string", jsonPath: ".status.agentVersion" },
              { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
            ],
            schema: {
              openAPIV3Schema: {
                type: "object",
                description: "How each layer of one node's agent is set, and what that agent reports.",
                properties: {
                  apiVersion: { type: "string" },
                  kind: { type: "string" },
                  metadata: { type: "object" },
                  spec: {
                    type: "object",
                    properties: {
                      podNetwork: layer("standby", "active"),
                      services: layer("off", "shadow", "handover", "on"),
                      policy: layer("off", "audit", "enforce"),
                      security: layer("observe", "enforce"),
                    },
                  },
                  status: open,
                },
              },
            },
          },
        ],
      },
    },
    {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "identities.shunt.dev", labels },
      spec: {
        group: "shunt.dev",
        scope: "Cluster",
        names: {
          kind: "ShuntIdentity",
          listKind: "ShuntIdentityList",
          plural: "identities",
          singular: "identity",
          shortNames: ["shid"],
        },
        versions: [
          {
            name: "v1alpha1",
            served: true,
            storage: true,
            additionalPrinterColumns: [
              { name: "Namespace", type: "string", jsonPath: ".metadata.labels.shunt\\.dev/namespace" },
              { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
            ],
            schema: {
              openAPIV3Schema: {
                type: "object",
                description:
                  "A set of labels, and by its name the number by which packets and flows know it.",
                properties: {
                  apiVersion: { type: "string" },
                  kind: { type: "string" },
                  metadata: { type: "object" },
                  spec: {
                    type: "object",
                    properties: { labels: { type: "object", additionalProperties: { type: "string" } } },
                  },
                },
              },
            },
          },
        ],
      },
    },
  ];
}

/** Kinds of policies that other projects define: how they are called for short, and whose they are. */
const policyKinds: {
  kind: PolicyKind;
  shortNames: string[];
  columns?: string[];
  annotations?: Record<string, string>;
}[] = [
  { kind: "CiliumNetworkPolicy", shortNames: ["cnp", "ciliumnp"] },
  { kind: "CiliumClusterwideNetworkPolicy", shortNames: ["ccnp"] },
  ...[
    { kind: "AdminNetworkPolicy" as const, shortNames: ["anp"] },
    { kind: "BaselineAdminNetworkPolicy" as const, shortNames: ["banp"] },
    // Its own project calls it cnp: kubectl would take that for it rather than for Cilium's kind.
    { kind: "ClusterNetworkPolicy" as const, shortNames: [], columns: ["Tier", "Priority"] },
  ].map((one) => ({
    ...one,
    // Groups below k8s.io need it; this is not their project's own definition.
    annotations: {
      "api-approved.kubernetes.io": "unapproved, for clusters that have no definition of it yet",
    },
  })),
];

/** The API server knows metadata itself, and takes no schema of it. */
const crdSchema = (schema: JsonSchema): JsonSchema => ({
  ...schema,
  properties: { ...schema.properties, metadata: { type: "object" } },
});

/** Kinds of policies that the agent knows and other projects define too: where they are there already, they stay theirs. */
export function policyDefinitions(): KubeObject[] {
  return policyKinds.map(({ kind, shortNames, columns = [], annotations }) => {
    const { apiVersion, plural } = policyResources[kind];
    const [group, version] = apiVersion.split("/") as [string, string];
    return {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${plural}.${group}`, labels, ...(annotations === undefined ? {} : { annotations }) },
      spec: {
        group,
        scope: kind === "CiliumNetworkPolicy" ? "Namespaced" : "Cluster",
        names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase(), shortNames },
        versions: [
          {
            name: version,
            served: true,
            storage: true,
            subresources: { status: {} },
            additionalPrinterColumns: [
              ...columns.map((name) => ({ name, type: "string", jsonPath: `.spec.${name.toLowerCase()}` })),
              { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
              { name: "Valid", type: "string", jsonPath: ".status.conditions[?(@.type=='Valid')].status" },
              {
                ...{ name: "In force", type: "string" },
                jsonPath: ".status.conditions[?(@.type=='InForce')].status",
              },
            ],
            schema: { openAPIV3Schema: crdSchema(policySchemas[kind]) },
          },
        ],
      },
    };
  });
}

/** Only what the agent reads and writes: nothing of Secrets, nothing that creates workloads. */
export function accessObjects(): KubeObject[] {
  const read = ["get", "list", "watch"];
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: agentName, namespace, labels } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: agentName, labels },
      rules: [
        { apiGroups: [""], resources: ["nodes", "services", "pods", "namespaces"], verbs: read },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: read },
        { apiGroups: [""], resources: ["nodes"], verbs: ["patch"] },
        { apiGroups: ["", "events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
        { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: read },
        {
          apiGroups: ["cilium.io"],
          resources: ["ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"],
          verbs: read,
        },
        {
          apiGroups: ["policy.networking.k8s.io"],
          resources: ["adminnetworkpolicies", "baselineadminnetworkpolicies", "clusternetworkpolicies"],
          verbs: read,
        },
        {
          apiGroups: ["cilium.io"],
          resources: ["ciliumnetworkpolicies/status", "ciliumclusterwidenetworkpolicies/status"],
          verbs: ["patch"],
        },
        {
          apiGroups: ["policy.networking.k8s.io"],
          resources: [
            "adminnetworkpolicies/status",
            "baselineadminnetworkpolicies/status",
            "clusternetworkpolicies/status",
          ],
          verbs: ["patch"],
        },
        {
          apiGroups: ["shunt.dev"],
          resources: ["identities"],
          verbs: [...read, "create", "patch", "delete"],
        },
        { apiGroups: ["shunt.dev"], resources: ["nodes"], verbs: [...read, "create", "update", "patch"] },
        { apiGroups: ["shunt.dev"], resources: ["nodes/status"], verbs: ["get", "update", "patch"] },
      ],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: agentName, labels },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: agentName },
      subjects: [{ kind: "ServiceAccount", name: agentName, namespace }],
    },
  ];
}

/** The agent's configuration file, as it reads it. */
export function agentConfig(values: Values, facts: ClusterFacts): KubeObject {
  const config = {
    routing: values.routing,
    tunnelPort: values.tunnelPort,
    mtu: values.mtu,
    masquerade: values.masquerade,
    clusterPodCIDRs: facts.clusterPodCIDRs,
    serviceCIDRs: facts.serviceCIDRs,
    services: {
      nodePortRange: facts.nodePortRange,
      nodePortAddresses: facts.nodePortAddresses,
      healthPort: values.services.healthPort,
      forwarding: values.services.forwarding,
      acceleration: values.services.acceleration,
      maps: values.services.maps,
    },
    policy: values.policy,
    defaults: values.modes,
    logLevel: values.logLevel,
    healthPort: values.healthPort,
    metricsPort: values.metricsPort,
  };
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: configName, namespace, labels },
    data: { "config.yaml": stringify(config) },
  };
}

const hostPaths: { name: string; path: string; type?: string; propagation?: string }[] = [
  { name: "bpffs", path: "/sys/fs/bpf", propagation: "Bidirectional" },
  { name: "cgroup", path: "/sys/fs/cgroup" },
  { name: "netns", path: "/run/netns", type: "DirectoryOrCreate", propagation: "HostToContainer" },
  { name: "run", path: "/var/run/shunt", type: "DirectoryOrCreate" },
  { name: "cni-bin", path: "/opt/cni/bin", type: "DirectoryOrCreate" },
  { name: "cni-conf", path: "/etc/cni/net.d", type: "DirectoryOrCreate" },
];

const volumes = hostPaths.map(({ name, path, type }) => ({
  name,
  hostPath: { path, ...(type ? { type } : {}) },
}));
const volumeMounts = hostPaths.map(({ name, path, propagation }) => ({
  name,
  mountPath: path,
  ...(propagation ? { mountPropagation: propagation } : {}),
}));

// Collect garbage early rather than take more from the node: half the memory under load.
const smallHeap = ["--max-semi-space-size=2", "--heap-growing-percent=20"];
// One arena of the C library: threads leave no holes of their own.
const smallArenas = { name: "MALLOC_ARENA_MAX", value: "1" };

/** A privileged pod in the node's network that tolerates everything, with the node's folders mounted. */
function nodePodSpec(values: Values, facts: ClusterFacts | undefined, args: string[]): any {
  const api =
    facts === undefined
      ? []
      : [
          { name: "KUBERNETES_SERVICE_HOST", value: facts.apiServerHost },
          { name: "KUBERNETES_SERVICE_PORT", value: String(facts.apiServerPort) },
        ];
  return {
    hostNetwork: true,
    dnsPolicy: "Default",
    enableServiceLinks: false,
    priorityClassName: "system-node-critical",
    tolerations: [{ operator: "Exists" }],
    nodeSelector: { "kubernetes.io/os": "linux" },
    terminationGracePeriodSeconds: 5,
    containers: [
      {
        name: "agent",
        image: values.image,
        imagePullPolicy: values.imagePullPolicy,
        command: [
          "/usr/local/bin/node",
          "--disable-warning=ExperimentalWarning",
          ...smallHeap,
          "/opt/shunt/bin/agent.ts",
          ...args,
        ],
        env: [
          { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
          smallArenas,
          ...api,
        ],
        securityContext: { privileged: true },
        terminationMessagePolicy: "FallbackToLogsOnError",
        volumeMounts,
      },
    ],
    volumes,
  };
}

function daemonSetOf(name: string, podSpec: any, maxUnavailable: string): KubeObject {
  const selector = { "k8s-app": name };
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name, namespace, labels: { ...labels, ...selector } },
    spec: {
      selector: { matchLabels: selector },
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable } },
      template: { metadata: { labels: { ...labels, ...selector } }, spec: podSpec },
    },
  };
}

/** The agent itself. */
export function agentDaemonSet(values: Values, facts: ClusterFacts, configHash: string): KubeObject {
  const podSpec = nodePodSpec(values, facts, []);
  podSpec.serviceAccountName = agentName;
  const [container] = podSpec.containers;
  const probe = (path: string, failureThreshold: number, periodSeconds: number) => ({
    httpGet: { host: "127.0.0.1", path, port: values.healthPort },
    periodSeconds,
    timeoutSeconds: 5,
    failureThreshold,
  });
  container.startupProbe = probe("/healthz", 60, 1);
  container.livenessProbe = probe("/healthz", 6, 10);
  container.readinessProbe = probe("/readyz", 3, 2);
  // 125 to 165 MiB were seen while 500 pods came and went; the test of that prints what it finds.
  container.resources = { requests: { cpu: "50m", memory: "192Mi" } };
  container.ports = [
    { name: "metrics", containerPort: values.metricsPort, hostPort: values.metricsPort, protocol: "TCP" },
  ];
  container.volumeMounts = [...volumeMounts, { name: "config", mountPath: "/etc/shunt", readOnly: true }];
  podSpec.volumes = [...volumes, { name: "config", configMap: { name: configName } }];
  const object = daemonSetOf(agentName, podSpec, "25%");
  object.spec.template.metadata.annotations = {
    "shunt.dev/config-hash": configHash,
    "prometheus.io/scrape": "true",
    "prometheus.io/port": String(values.metricsPort),
  };
  return object;
}

/** A DaemonSet that does one thing on every node as its init container, and then holds still to be counted. */
export function oneShotDaemonSet(name: string, values: Values, args: string[]): KubeObject {
  const podSpec = nodePodSpec(values, undefined, args);
  const [work] = podSpec.containers;
  podSpec.automountServiceAccountToken = false;
  podSpec.terminationGracePeriodSeconds = 0;
  podSpec.initContainers = [{ ...work, name: "work" }];
  podSpec.containers = [
    {
      name: "done",
      image: values.image,
      imagePullPolicy: values.imagePullPolicy,
      command: ["/bin/busybox", "sleep", "3600"],
    },
  ];
  return daemonSetOf(name, podSpec, "100%");
}
