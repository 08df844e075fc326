// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import { headlessName, nameOf, probeNamespace as namespace, type ProbeRole, probeName } from "./names.ts";
import { hostPorts, ports } from "./server.ts";

const selectorOf = (role: ProbeRole) => ({ "app.kubernetes.io/name": nameOf[role] });
const labelsOf = (role: ProbeRole) => ({ ...selectorOf(role), "app.kubernetes.io/managed-by": "shunt" });
const labels = labelsOf("pod");

/** Folder of a node where its probes keep what they saw. */
const resultsFolder = "/var/run/shunt/probe";

/** What the probe pods are made from. */
export interface ProbeImage {
  image: string;
  imagePullPolicy: string;
  imagePullSecrets?: { name: string }[];
}

/** Everything but the DaemonSet: it needs to know the addresses that the Services get. */
export function supportManifests(): KubeObject[] {
  const metadata = { name: probeName, namespace, labels };
  const servicePorts = ({ http, stream, udp }: typeof ports) => [
    { name: "http", port: 80, targetPort: http, protocol: "TCP" },
    { name: "stream", port: 81, targetPort: stream, protocol: "TCP" },
    { name: "udp", port: 82, targetPort: udp, protocol: "UDP" },
  ];
  const service = (name: string, role: ProbeRole, spec: object): KubeObject => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace, labels: labelsOf(role) },
    spec: {
      selector: selectorOf(role),
      ports: servicePorts(role === "host" ? hostPorts : ports),
      ipFamilyPolicy: "PreferDualStack",
      ...spec,
    },
  });
  return [
    {
      apiVersion: "v1",
      kind: "Namespace",
      // Results are kept in a folder of the node, which the baseline profile does not allow.
      metadata: {
        name: namespace,
        labels: { ...labels, "pod-security.kubernetes.io/enforce": "privileged" },
      },
    },
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "Role",
      metadata,
      rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] }],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: probeName },
      subjects: [{ kind: "ServiceAccount", name: probeName, namespace }],
    },
    service(probeName, "pod", { type: "NodePort" }),
    service(nameOf.host, "host", { type: "NodePort" }),
    service(headlessName, "pod", { clusterIP: "None" }),
  ];
}

/** One probe pod a node, on every node: in the pod network, or in the node's own. */
export function probeDaemonSet(
  role: ProbeRole,
  image: ProbeImage,
  settings: object,
  lingerMs: number,
): KubeObject {
  const name = nameOf[role];
  const podLabels = labelsOf(role);
  const { http, stream, udp } = role === "host" ? hostPorts : ports;
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name, namespace, labels: podLabels },
    spec: {
      selector: { matchLabels: selectorOf(role) },
      updateStrategy: { type: "RollingUpdate" },
      template: {
        metadata: { labels: podLabels },
        spec: {
          ...(role === "host" ? { hostNetwork: true } : {}),
          serviceAccountName: probeName,
          enableServiceLinks: false,
          tolerations: [{ operator: "Exists" }],
          terminationGracePeriodSeconds: Math.ceil(lingerMs / 1_000) + 20,
          ...(image.imagePullSecrets === undefined ? {} : { imagePullSecrets: image.imagePullSecrets }),
          containers: [
            {
              name: "probe",
              image: image.image,
              imagePullPolicy: image.imagePullPolicy,
              command: ["/usr/local/bin/node", "--max-semi-space-size=1", "/opt/shunt/bin/probe.ts"],
              env: [
                field("NODE_NAME", "spec.nodeName"),
                field("POD_UID", "metadata.uid"),
                { name: "PROBE_SETTINGS", value: JSON.stringify(settings) },
              ],
              ports: [
                { name: "http", containerPort: http },
                { name: "stream", containerPort: stream },
                { name: "udp", containerPort: udp, protocol: "UDP" },
              ],
              readinessProbe: {
                httpGet: { path: "/ready", port: http },
                periodSeconds: 2,
                timeoutSeconds: 5,
                failureThreshold: 5,
              },
              resources: { requests: { cpu: "50m", memory: "64Mi" } },
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
              volumeMounts: [{ name: "results", mountPath: "/results" }],
            },
          ],
          volumes: [
            {
              name: "results",
              hostPath: {
                path: role === "host" ? `${resultsFolder}-host` : resultsFolder,
                type: "DirectoryOrCreate",
              },
            },
          ],
        },
      },
    },
  };
}
