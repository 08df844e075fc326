// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../lib/kube-object.ts";

/** Where the sample applications live. */
export const shopNamespace = "shop";

interface Application {
  name: string;
  replicas: number;
  /** Applications that each request asks in turn, by name. */
  asks: string[];
  nodePort: boolean;
}

/** A shop window that asks two others for every visitor. */
export const applications: readonly Application[] = [
  { name: "web", replicas: 3, asks: ["catalog", "cart"], nodePort: true },
  { name: "catalog", replicas: 3, asks: [], nodePort: true },
  { name: "cart", replicas: 2, asks: [], nodePort: false },
];

const port = 8080;

/**
 * A web server that ends well: it says no to readiness first, and answers what was begun. Each request that it makes
 * of others is a connection of its own to their Service.
 */
function program(name: string, asks: readonly string[]): string {
  return `
const http = require("node:http");
const ask = (name) => new Promise((resolve, reject) => {
  const request = http.get({ host: name, port: 80, agent: false, timeout: 10000 }, (response) => {
    response.resume();
    response.on("end", () => response.statusCode === 200 ? resolve() : reject(new Error(name + " says " + response.statusCode)));
  });
  request.on("timeout", () => request.destroy(new Error(name + ": no answer within 10 s")));
  request.on("error", (error) => reject(new Error(name + ": " + (error.code ?? error.message))));
});
const server = http.createServer((request, response) => {
  const asked = request.url === "/ready" ? [] : ${JSON.stringify(asks)};
  Promise.all(asked.map(ask)).then(
    () => response.writeHead(200, { connection: "close" }).end("${name} on " + process.env.NODE_NAME + "\\n"),
    (error) => response.writeHead(502, { connection: "close" }).end(error.message + "\\n"),
  );
});
server.listen(${port}, "::");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
`;
}

/** Three applications with several replicas, readiness probes, a preStop hook, Services, budgets and policies. */
export function shopManifests(image: string): KubeObject[] {
  const namespace = shopNamespace;
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    ...applications.flatMap((application) => applicationManifests(application, namespace, image)),
  ];
}

function applicationManifests(
  { name, replicas, asks, nodePort }: Application,
  namespace: string,
  image: string,
): KubeObject[] {
  const labels = { app: name };
  const metadata = { name, namespace, labels };
  const service = {
    selector: labels,
    type: nodePort ? "NodePort" : "ClusterIP",
    ipFamilyPolicy: "PreferDualStack",
    ports: [{ name: "http", port: 80, targetPort: port }],
  };
  const http = [{ port: "http" }];
  const pods = (...names: string[]) => names.map((app) => ({ podSelector: { matchLabels: { app } } }));
  const asking = applications.filter((one) => one.asks.includes(name)).map((one) => one.name);
  const dns = { ports: ["UDP", "TCP"].map((protocol) => ({ protocol, port: 53 })) };
  // Visitors from outside come by NodePorts; nobody else asks those who have none.
  const policy = {
    podSelector: { matchLabels: labels },
    policyTypes: ["Ingress", "Egress"],
    ingress: [nodePort ? { ports: http } : { from: pods(...asking), ports: http }],
    egress: asks.length === 0 ? [] : [{ to: pods(...asks), ports: http }, dns],
  };
  const budget = { maxUnavailable: 1, selector: { matchLabels: labels } };
  const template = { metadata: { labels }, spec: podSpec(name, asks, image) };
  return [
    { apiVersion: "v1", kind: "Service", metadata, spec: service },
    { apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata, spec: budget },
    { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec: policy },
    {
      ...{ apiVersion: "apps/v1", kind: "Deployment", metadata },
      spec: { replicas, selector: { matchLabels: labels }, template },
    },
  ];
}

function podSpec(name: string, asks: readonly string[], image: string): object {
  const spread = { labelSelector: { matchLabels: { app: name } }, topologyKey: "kubernetes.io/hostname" };
  return {
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 30,
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: spread }],
      },
    },
    containers: [
      {
        name: "main",
        image,
        imagePullPolicy: "IfNotPresent",
        command: ["/usr/local/bin/node", "--max-semi-space-size=1", "-e", program(name, asks)],
        env: [{ name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
        ports: [{ name: "http", containerPort: port }],
        readinessProbe: { httpGet: { path: "/ready", port }, periodSeconds: 1, failureThreshold: 3 },
        // Whoever still sends here has time to learn that it goes.
        lifecycle: { preStop: { exec: { command: ["/bin/busybox", "sleep", "8"] } } },
        resources: { requests: { cpu: "10m", memory: "32Mi" } },
      },
    ],
  };
}
