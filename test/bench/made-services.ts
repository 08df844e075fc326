// SPDX-License-Identifier: Apache-2.0
// Services and EndpointSlices as an API server gives them to an agent, as many as wanted.
import type { KubeObject } from "../../lib/kube-object.ts";

export const endpointsPerService = 5;
/** Where the servers of the target and of the throughput's service listen. */
export const serverPorts = { target: 9000, throughput: 5201 } as const;
export const servicePort = 80;

/** A cluster's Services with their slices, in the order in which kube-proxy writes them. */
export interface MadeServices {
  services: KubeObject[];
  slices: KubeObject[];
  /** ClusterIPs of the last Service, which is connected to, and of the one before, which carries throughput. */
  target: string;
  throughput: string;
}

/** This many Services; only the last two have endpoints that exist: `backends`, on both their ports. */
export function makeServices(
  count: number,
  backends: readonly string[],
  options: { targetNodePort?: number } = {},
): MadeServices {
  const services: KubeObject[] = [];
  const slices: KubeObject[] = [];
  for (let index = 0; index < count; index++) {
    const isTarget = index === count - 1;
    const isReal = index >= count - 2;
    services.push(makeService(index, isTarget ? options.targetNodePort : undefined));
    const port = index === count - 2 ? serverPorts.throughput : serverPorts.target;
    slices.push(makeSlice(index, isReal ? backends : elsewhere(index), { port }));
  }
  return { services, slices, target: clusterIp(count - 1), throughput: clusterIp(count - 2) };
}

/** Endpoints of a Service that nobody connects to; another `turn` gives others. */
export function elsewhere(index: number, turn = 0): string[] {
  return Array.from({ length: endpointsPerService }, (_, endpoint) =>
    dotted(128, index * endpointsPerService + endpoint + turn * 1_000_000),
  );
}

const serviceName = (index: number): string => `service-${String(index).padStart(6, "0")}`;
const clusterIp = (index: number): string => dotted(96, index + 256);
const dotted = (first: number, number: number): string =>
  `10.${first + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
const uid = (kind: number, number: number): string =>
  `${kind.toString(16).padStart(8, "0")}-0000-4000-8000-${number.toString(16).padStart(12, "0")}`;
const createdAt = "2026-01-01T00:00:00Z";
let version = 1000;

function makeService(index: number, nodePort: number | undefined): KubeObject {
  const app = { app: serviceName(index) };
  const port = { name: "http", port: servicePort, protocol: "TCP", targetPort: "http" };
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: serviceName(index),
      namespace: "bench",
      uid: uid(1, index),
      resourceVersion: String(version++),
      creationTimestamp: createdAt,
      labels: app,
      managedFields: managed("kubectl", {
        "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
        "f:spec": {
          "f:internalTrafficPolicy": {},
          "f:ports": {
            ".": {},
            'k:{"port":80,"protocol":"TCP"}': {
              ...{ ".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {} },
            },
          },
          "f:selector": {},
          "f:sessionAffinity": {},
          "f:type": {},
        },
      }),
    },
    spec: {
      clusterIP: clusterIp(index),
      clusterIPs: [clusterIp(index)],
      internalTrafficPolicy: "Cluster",
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      ports: [nodePort === undefined ? port : { ...port, nodePort }],
      selector: app,
      sessionAffinity: "None",
      type: nodePort === undefined ? "ClusterIP" : "NodePort",
    },
    status: { loadBalancer: {} },
  };
}

/** The one slice of a Service, with these endpoints ready. */
export function makeSlice(
  index: number,
  addresses: readonly string[],
  { port }: { port: number },
): KubeObject {
  const name = serviceName(index);
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-abcde`,
      generateName: `${name}-`,
      namespace: "bench",
      uid: uid(2, index),
      resourceVersion: String(version++),
      generation: 1,
      creationTimestamp: createdAt,
      labels: {
        app: name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": name,
      },
      annotations: { "endpoints.kubernetes.io/last-change-trigger-time": createdAt },
      ownerReferences: [
        {
          ...{ apiVersion: "v1", kind: "Service", name, uid: uid(1, index), controller: true },
          ...{ blockOwnerDeletion: true },
        } as never,
      ],
      managedFields: managed("kube-controller-manager", {
        "f:addressType": {},
        "f:endpoints": {},
        "f:metadata": {
          "f:annotations": { ".": {}, "f:endpoints.kubernetes.io/last-change-trigger-time": {} },
          "f:generateName": {},
          "f:labels": {
            ...{ ".": {}, "f:app": {}, "f:endpointslice.kubernetes.io/managed-by": {} },
            "f:kubernetes.io/service-name": {},
          },
          "f:ownerReferences": { ".": {}, [`k:{"uid":"${uid(1, index)}"}`]: {} },
        },
        "f:ports": {},
      }),
    },
    addressType: "IPv4",
    endpoints: addresses.map((address, endpoint) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: "n2",
      targetRef: {
        kind: "Pod",
        namespace: "bench",
        name: `${name}-${endpoint}`,
        uid: uid(3, index * endpointsPerService + endpoint),
      },
      zone: "zone-a",
    })),
    ports: [{ name: "http", port, protocol: "TCP" }],
  };
}

const managed = (manager: string, fieldsV1: unknown): unknown[] => [
  { manager, operation: "Update", apiVersion: "v1", time: createdAt, fieldsType: "FieldsV1", fieldsV1 },
];
