// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import { headlessName, probeNamespace as namespace, probeName } from "./names.ts";
import { ports } from "./server.ts";

const labels = { "app.kubernetes.io/name": probeName, "app.kubernetes.io/managed-by": "shunt" };
const selector = { "app.kubernetes.io/name": probeName };

/** What the probe pods are made from. */
export interface ProbeImage {
  image: string;
  imagePullPolicy: string;
  imagePullSecrets?: { name: string }[];
}

/** Everything but the DaemonSet: it needs to know the addresses that the Services get. */
export function supportManifests(): KubeObject[] {
  const metadata = { name: probeName, namespace, labels };
  const servicePorts = [
    { name: "http", port: 80, targetPort: ports.http, protocol: "TCP" },
    { name: "stream", port: 81, targetPort: ports.stream, protocol: "TCP" },
    { name: "udp", port: 82, targetPort: ports.udp, protocol: "UDP" },
  ];
  const service = (name: string, spec: object): KubeObject => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace, labels },
    spec: { selector, ports: servicePorts, ipFamilyPolicy: "PreferDualStack", ...spec },
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
    service(probeName, { type: "NodePort" }),
    service(headlessName, { clusterIP: "None" }),
  ];
}

/** One probe pod a node, on every node. */
export function probeDaemonSet(image: ProbeImage, settings: object, lingerMs: number): KubeObject {
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: probeName, namespace, labels },
    spec: {
      selector: { matchLabels: selector },
      updateStrategy: { type: "RollingUpdate" },
      template: {
        metadata: { labels },
        spec: {
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
                { name: "http", containerPort: ports.http },
                { name: "stream", containerPort: ports.stream },
                { name: "udp", containerPort: ports.udp, protocol: "UDP" },
              ],
              readinessProbe: {
                httpGet: { path: "/ready", port: ports.http },
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
            { name: "results", hostPath: { path: "/var/run/shunt/probe", type: "DirectoryOrCreate" } },
          ],
        },
      },
    },
  };
}
