// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Toleration } from "./options.ts";
import { hostPortBase, type PortName, podPortBase, portOffsets } from "./ports.ts";

/** Marks what the test made, so that it never deletes anything else. */
export const managedBy = { "app.kubernetes.io/managed-by": "shunt-connectivity-test" };

const codeFolder = "/etc/shunt-test";
const codeFiles = ["echo-server.ts", "dial.ts", "dns-query.ts", "reach.ts"];

export type PodSecurity = "baseline" | "privileged";

export function namespaceManifest(name: string, level: PodSecurity): KubeObject {
  const labels = { ...managedBy, "pod-security.kubernetes.io/enforce": level };
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

/** The echo server's source: it runs in any image with Node, whatever version of this program built that. */
export function codeManifest(namespace: string): KubeObject {
  const files = codeFiles.map((file) => [file, readFileSync(new URL(file, import.meta.url), "utf8")]);
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "echo-server", namespace, labels: managedBy },
    data: { ...Object.fromEntries(files), "package.json": '{ "type": "module" }\n' },
  };
}

export interface WorkloadOptions {
  name: string;
  namespace: string;
  image: string;
  /** Further labels; Services select by `kind`. */
  labels?: Record<string, string>;
  /** Value of the node's kubernetes.io/hostname label. */
  hostname: string;
  tolerations: readonly Toleration[];
  /** client: may send ICMP; echo: may do nothing; spoofer: may set addresses. */
  role: "client" | "echo" | "spoofer";
  hostPort?: number;
  /** Default: that of the namespace. */
  serviceAccount?: string;
}

/** A Deployment of one pod on one node. */
export function deploymentManifest(options: WorkloadOptions): KubeObject {
  const { name, namespace } = options;
  const labels = { ...managedBy, name, ...options.labels };
  const spec = {
    ...podSpec(options.image, podPortBase),
    securityContext: podSecurity(options.role),
    nodeSelector: { "kubernetes.io/hostname": options.hostname },
    tolerations: options.tolerations,
    ...(options.serviceAccount === undefined ? {} : { serviceAccountName: options.serviceAccount }),
  };
  const container = spec.containers[0]!;
  container.securityContext = containerSecurity(options.role);
  container.ports = servedPorts.map(([portName, protocol]) => ({
    name: portName,
    containerPort: podPortBase + portOffsets[portName],
    protocol,
    ...(portName === "http" && options.hostPort !== undefined ? { hostPort: options.hostPort } : {}),
  }));
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace, labels },
    spec: {
      replicas: 1,
      strategy: { type: "Recreate" },
      selector: { matchLabels: { name } },
      template: { metadata: { labels }, spec },
    },
  };
}

/** One pod on the host's network on every node, control plane included; or only where these host names are. */
export function hostDaemonSetManifest(
  namespace: string,
  image: string,
  hostnames?: readonly string[],
): KubeObject {
  const labels = { ...managedBy, name: "host-netns" };
  const matchExpressions = [{ key: "kubernetes.io/hostname", operator: "In", values: hostnames }];
  const nodeAffinity = {
    requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] },
  };
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "host-netns", namespace, labels },
    spec: {
      selector: { matchLabels: { name: "host-netns" } },
      template: {
        metadata: { labels },
        spec: {
          ...podSpec(image, hostPortBase),
          hostNetwork: true,
          dnsPolicy: "ClusterFirstWithHostNet",
          ...(hostnames === undefined ? {} : { affinity: { nodeAffinity } }),
          tolerations: [{ operator: "Exists" }],
        },
      },
    },
  };
}

/** A bare pod whose readiness is its own word, not the network's. */
export function readyPodManifest(options: WorkloadOptions): KubeObject {
  const { metadata, spec } = deploymentManifest(options).spec.template;
  const url = `http://127.0.0.1:${podPortBase + portOffsets.control}/ready`;
  spec.containers[0].readinessProbe = {
    exec: { command: ["curl", "-q", "-s", "-f", "-o", "/dev/null", "--max-time", "2", url] },
    periodSeconds: 1,
    timeoutSeconds: 3,
  };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: options.name, namespace: options.namespace, labels: metadata.labels },
    spec,
  };
}

function podSpec(image: string, portBase: number): { containers: any[]; [field: string]: any } {
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 1,
    volumes: [{ name: "code", configMap: { name: "echo-server" } }],
    containers: [
      {
        name: "echo",
        image,
        imagePullPolicy: "IfNotPresent",
        command: [
          "node",
          "--max-semi-space-size=1",
          "--max-old-space-size=64",
          `${codeFolder}/echo-server.ts`,
        ],
        env: [
          { name: "PORT_BASE", value: String(portBase) },
          { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
          { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
        ],
        volumeMounts: [{ name: "code", mountPath: codeFolder, readOnly: true }],
        resources: { requests: { cpu: "10m", memory: "32Mi" } },
      },
    ],
  };
}

/** A client sends ICMP: as root with the runtime's default capabilities, or by the sysctl, both `baseline`. */
function podSecurity(role: WorkloadOptions["role"]): unknown {
  if (role === "client") return { sysctls: [{ name: "net.ipv4.ping_group_range", value: "0 2147483647" }] };
  if (role === "spoofer") return {};
  return {
    runAsNonRoot: true,
    runAsUser: 65_534,
    runAsGroup: 65_534,
    seccompProfile: { type: "RuntimeDefault" },
  };
}

function containerSecurity(role: WorkloadOptions["role"]): unknown {
  if (role === "client") return { allowPrivilegeEscalation: false };
  if (role === "spoofer") return { capabilities: { add: ["NET_ADMIN"] } };
  return { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
}

export function serviceAccountManifest(name: string, namespace: string): KubeObject {
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace, labels: managedBy } };
}

export interface ServiceOptions {
  name: string;
  namespace: string;
  selector: Record<string, string>;
  type?: "ClusterIP" | "NodePort";
  headless?: boolean;
  externalTrafficPolicy?: "Local";
}

const servedPorts: [PortName, string][] = [
  ["http", "TCP"],
  ["second", "TCP"],
  ["tcp", "TCP"],
  ["udp", "UDP"],
];

/** A Service of both families where the cluster has both, at ports that are not the pods' own. */
export function serviceManifest(options: ServiceOptions): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: options.name, namespace: options.namespace, labels: managedBy },
    spec: {
      type: options.type ?? "ClusterIP",
      ...(options.headless === true ? { clusterIP: "None" } : {}),
      ...(options.externalTrafficPolicy === undefined
        ? {}
        : { externalTrafficPolicy: options.externalTrafficPolicy }),
      ipFamilyPolicy: "PreferDualStack",
      selector: options.selector,
      ports: servedPorts.map(([name, protocol]) => ({
        name,
        protocol,
        // A headless Service translates nothing: its port is the pods' port.
        port: options.headless === true ? podPortBase + portOffsets[name] : 80 + portOffsets[name],
        targetPort: podPortBase + portOffsets[name],
      })),
    },
  };
}
