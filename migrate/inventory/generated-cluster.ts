// SPDX-License-Identifier: Apache-2.0
// An API server for tests of size: makes every page of a huge cluster when it is asked for.
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { KubeObject } from "../../lib/kube-object.ts";

export interface GeneratedSize {
  nodes: number;
  services: number;
  pods: number;
  /** Endpoints of each Service. */
  endpoints: number;
  budgets: number;
}

const podsOfWorkload = 10;
const time = "2026-01-01T00:00:00Z";

/** The bulk that real objects carry and that nobody reads. */
const managedFields = (kind: string): unknown[] =>
  ["kube-controller-manager", "kubelet"].map((manager) => ({
    manager,
    operation: "Update",
    apiVersion: "v1",
    time,
    fieldsType: "FieldsV1",
    fieldsV1: {
      "f:metadata": { "f:labels": { ".": {}, "f:app": {}, "f:team": {} } },
      "f:spec": Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`f:${kind}Field${index}`, {}])),
    },
  }));

const nodeName = (index: number): string => `node-${String(index).padStart(5, "0")}.example.internal`;
const podRange = (index: number): string => `10.${128 + (index >> 8)}.${index & 255}`;

function generatedNode(index: number): KubeObject {
  return {
    metadata: {
      name: nodeName(index),
      uid: `node-${index}`,
      labels: {
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": `zone-${index % 3}`,
        ...(index < 5 ? { "node-role.kubernetes.io/control-plane": "" } : {}),
      },
      annotations: { "kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/containerd/containerd.sock" },
      managedFields: managedFields("node"),
    },
    spec: { podCIDRs: [`${podRange(index)}.0/24`] },
    status: {
      conditions: [{ type: "Ready", status: "True" }],
      addresses: [{ type: "InternalIP", address: `172.16.${index >> 8}.${index & 255}` }],
      allocatable: { cpu: "16", memory: "64Gi", pods: "110" },
      nodeInfo: {
        kernelVersion: "6.1.0-18-amd64",
        operatingSystem: "linux",
        osImage: "Debian GNU/Linux 12 (bookworm)",
        containerRuntimeVersion: "containerd://1.7.20",
        kubeletVersion: "v1.33.1",
        architecture: "amd64",
      },
      // What kubelets report of their images is most of a node object.
      images: Array.from({ length: 40 }, (_, image) => ({
        names: [
          `registry.example.com/team-${image}/app@sha256:${"0".repeat(64)}`,
          `registry.example.com/team-${image}/app:1`,
        ],
        sizeBytes: 100_000_000,
      })),
    },
  };
}

function generatedPod(index: number, { nodes }: GeneratedSize): KubeObject {
  const workload = Math.floor(index / podsOfWorkload);
  const onNode = index % nodes;
  const address = `${podRange(onNode)}.${2 + (Math.floor(index / nodes) % 250)}`;
  const name = `app-${workload}-6d4cf56db6-${index}`;
  return {
    metadata: {
      name,
      namespace: `team-${workload % 200}`,
      uid: `pod-${index}`,
      creationTimestamp: time,
      labels: { app: `app-${workload}`, "pod-template-hash": "6d4cf56db6", team: `team-${workload % 200}` },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "ReplicaSet",
          name: `app-${workload}-6d4cf56db6`,
          uid: `rs-${workload}`,
          controller: true,
        },
      ],
      managedFields: managedFields("pod"),
    },
    spec: {
      nodeName: nodeName(onNode),
      containers: [
        {
          name: "app",
          image: `registry.example.com/app-${workload}:1.0.0`,
          env: Array.from({ length: 12 }, (_, variable) => ({
            name: `VARIABLE_${variable}`,
            value: "some value",
          })),
          resources: { requests: { cpu: "100m", memory: "128Mi" } },
          ports: [{ containerPort: 8080 }],
          volumeMounts: [
            { name: "token", mountPath: "/var/run/secrets/kubernetes.io/serviceaccount", readOnly: true },
          ],
        },
      ],
      volumes: [
        { name: "token", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
        ...(workload % 5 === 0 ? [{ name: "scratch", emptyDir: {} }] : []),
      ],
      tolerations: [
        {
          key: "node.kubernetes.io/not-ready",
          operator: "Exists",
          effect: "NoExecute",
          tolerationSeconds: 300,
        },
      ],
      terminationGracePeriodSeconds: 30,
    },
    status: {
      phase: "Running",
      podIP: address,
      podIPs: [{ ip: address }],
      conditions: ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => ({
        type,
        status: "True",
        lastTransitionTime: time,
      })),
      containerStatuses: [
        {
          name: "app",
          ready: true,
          restartCount: 0,
          imageID: `registry.example.com/app@sha256:${"0".repeat(64)}`,
        },
      ],
    },
  };
}

const clusterIP = (index: number): string => `10.${96 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;

const generatedService = (index: number): KubeObject => ({
  metadata: {
    name: `app-${index}`,
    namespace: `team-${index % 200}`,
    managedFields: managedFields("service"),
  },
  spec: {
    type: index % 50 === 0 ? "LoadBalancer" : "ClusterIP",
    clusterIP: clusterIP(index + 1),
    selector: { app: `app-${index}` },
    ports: [{ name: "http", port: 80, protocol: "TCP" }],
  },
});

const generatedSlice = (index: number, { endpoints, nodes }: GeneratedSize): KubeObject => ({
  metadata: {
    name: `app-${index}-x7k2p`,
    namespace: `team-${index % 200}`,
    generation: 25,
    creationTimestamp: time,
    labels: { "kubernetes.io/service-name": `app-${index}` },
    managedFields: managedFields("slice"),
  },
  addressType: "IPv4",
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  endpoints: Array.from({ length: endpoints }, (_, endpoint) => {
    const pod = index * podsOfWorkload + endpoint;
    return {
      addresses: [`${podRange(pod % nodes)}.${2 + (Math.floor(pod / nodes) % 250)}`],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: nodeName(pod % nodes),
      targetRef: { kind: "Pod", namespace: `team-${index % 200}`, name: `app-${index}-6d4cf56db6-${pod}` },
    };
  }),
});

const generatedBudget = (index: number): KubeObject => ({
  metadata: { name: `app-${index}`, namespace: `team-${index % 200}` },
  spec: { maxUnavailable: 1, selector: { matchLabels: { app: `app-${index}` } } },
  status: { expectedPods: podsOfWorkload, disruptionsAllowed: 1 },
});

const flannel: KubeObject = {
  metadata: { name: "kube-flannel-ds", namespace: "kube-flannel" },
  spec: {
    template: {
      spec: {
        containers: [{ name: "kube-flannel", image: "ghcr.io/flannel-io/flannel:v0.26.1" }],
        volumes: [{ name: "cfg", configMap: { name: "kube-flannel-cfg" } }],
      },
    },
  },
};

const flannelConfig: KubeObject = {
  metadata: { name: "kube-flannel-cfg", namespace: "kube-flannel" },
  data: { "net-conf.json": '{"Network":"10.128.0.0/11","Backend":{"Type":"vxlan"}}' },
};

/** Serves the cluster on 127.0.0.1; pages are made when they are asked for, and counted by path. */
export async function serveGeneratedCluster(
  size: GeneratedSize,
): Promise<{ port: number; pages: Map<string, number>; close: () => void }> {
  const pages = new Map<string, number>();
  const lists: Record<string, [count: number, make: (index: number) => KubeObject]> = {
    "/api/v1/nodes": [size.nodes, generatedNode],
    "/api/v1/pods": [size.pods, (index) => generatedPod(index, size)],
    "/api/v1/services": [size.services, generatedService],
    "/apis/discovery.k8s.io/v1/endpointslices": [size.services, (index) => generatedSlice(index, size)],
    "/apis/policy/v1/poddisruptionbudgets": [size.budgets, generatedBudget],
    "/apis/apps/v1/daemonsets": [1, () => flannel],
  };
  const single: Record<string, object> = {
    "/version": { gitVersion: "v1.33.1" },
    "/api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg": flannelConfig,
  };
  const server = http.createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    const list = lists[url.pathname];
    const send = (status: number, body: object): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    if (list === undefined)
      return single[url.pathname] === undefined
        ? send(404, { kind: "Status", reason: "NotFound", message: "not found" })
        : send(200, single[url.pathname]!);
    const [count, make] = list;
    const limit = Number(url.searchParams.get("limit"));
    // A list without a limit would be the whole cluster at once: nobody may ask for that.
    if (!(limit > 0 && limit <= 1000)) return send(400, { kind: "Status", message: "ask for pages" });
    pages.set(url.pathname, (pages.get(url.pathname) ?? 0) + 1);
    const start = Number(url.searchParams.get("continue") ?? 0);
    const end = Math.min(count, start + limit);
    const items = Array.from({ length: end - start }, (_, offset) => make(start + offset));
    send(200, { metadata: end < count ? { continue: String(end) } : {}, items });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { port: (server.address() as AddressInfo).port, pages, close };
}
