// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Step } from "../../lib/steps.ts";
import { waitFor } from "../../lib/wait.ts";
import { PodEndpoint, ServiceEndpoint } from "./endpoint.ts";
import type { Finalizers } from "./finalizers.ts";
import {
  codeManifest,
  deploymentManifest,
  hostDaemonSetManifest,
  type ServiceOptions,
  serviceAccountManifest,
  serviceManifest,
  type WorkloadOptions,
} from "./manifests.ts";
import { deleteNamespace, ensureNamespace } from "./namespaces.ts";
import type { ConnectivityOptions } from "./options.ts";
import { byFamily, choosePlacement, type Placement } from "./placement.ts";
import { describePods, isReady } from "./pod-state.ts";
import { removePolicies } from "./policy/objects.ts";
import { hostPortBase, type PortName, podPortBase, publishedHostPort } from "./ports.ts";
import { PodShells } from "./shell.ts";
import type { AgentFacts, NodeInfo, ServiceName } from "./world.ts";

/** What deploying fills in, step by step. */
export interface Deployment {
  kube: KubeClient;
  options: ConnectivityOptions;
  finalizers: Finalizers;
  signal: AbortSignal;
  agent: AgentFacts;
  placement: Placement;
  image: string;
  pods: Map<string, PodEndpoint>;
  hosts: PodEndpoint[];
  services: Map<string, ServiceEndpoint>;
}

/** Namespace of the pods that Pod Security's `baseline` does not admit: host network, host port, NET_ADMIN. */
const privilegedNamespace = (options: ConnectivityOptions): string => `${options.namespace}-host`;

/** The steps that bring up everything the scenarios need. */
export const deploySteps: Step<Deployment>[] = [
  {
    name: "nodes",
    title: "Choose nodes and image",
    run: async (d) => {
      d.placement = await choosePlacement(d.kube, d.options);
      d.image = d.options.image ?? (await agentImage(d.kube)) ?? "shunt.local/shunt:dev";
      const { first, second, nodes } = d.placement;
      const where = second === undefined ? first.name : `${first.name} and ${second.name}`;
      return `${nodes.length} nodes; clients and servers on ${where}; image ${d.image}`;
    },
  },
  {
    name: "namespaces",
    title: "Prepare the namespaces",
    run: async (d) => {
      const namespaces = [d.options.namespace, privilegedNamespace(d.options)] as const;
      const options = { fresh: d.options.forceDeploy, signal: d.signal };
      if (!d.options.keep)
        d.finalizers.add("delete the namespaces", async (signal) => {
          await Promise.all(namespaces.map((name) => deleteNamespace(d.kube, name, signal)));
        });
      await Promise.all([
        ensureNamespace(d.kube, namespaces[0], "baseline", options),
        ensureNamespace(d.kube, namespaces[1], "privileged", options),
      ]);
      await removePolicies(d.kube, namespaces[0]);
      return namespaces.join(", ");
    },
  },
  {
    name: "workloads",
    title: "Deploy clients, servers and Services",
    run: async (d) => {
      const objects = manifestsOf(d);
      // What the pods need comes first: without it they would be tried again later.
      const isNeeded = ({ kind }: KubeObject) => kind === "ConfigMap" || kind === "ServiceAccount";
      await Promise.all(objects.filter(isNeeded).map((object) => applyObject(d.kube, object)));
      const rest = objects.filter((object) => !isNeeded(object));
      await Promise.all(rest.map((object) => applyObject(d.kube, object)));
      return `${objects.length} objects`;
    },
  },
  {
    name: "ready",
    title: "Wait until they run",
    run: async (d, report) => {
      await waitForPods(d, report);
      await readServices(d);
      return `${d.pods.size + d.hosts.length} pods`;
    },
  },
];

const plurals: Record<string, string> = {
  ConfigMap: "configmaps",
  ServiceAccount: "serviceaccounts",
  Service: "services",
  Deployment: "deployments",
  DaemonSet: "daemonsets",
};

async function applyObject(kube: KubeClient, object: KubeObject): Promise<void> {
  const { namespace, name } = object.metadata;
  const path = resourcePath(object.apiVersion!, plurals[object.kind!]!, namespace, name);
  await kube.apply(path, object, "shunt-connectivity-test");
}

async function agentImage(kube: KubeClient): Promise<string | undefined> {
  const agent = await kube.find(resourcePath("apps/v1", "daemonsets", "kube-system", "shunt-agent"));
  return agent?.spec?.template?.spec?.containers?.[0]?.image;
}

/** The pods of their own network: name, which node, which namespace, what they may do. */
function workloadsOf(d: Deployment): WorkloadOptions[] {
  const { first, second } = d.placement;
  const open = d.options.namespace;
  const closed = privilegedNamespace(d.options);
  const make = (
    name: string,
    node: NodeInfo,
    role: WorkloadOptions["role"],
    more: Partial<WorkloadOptions> = {},
  ): WorkloadOptions => ({
    name,
    namespace: open,
    image: d.image,
    role,
    hostname: hostnameOf(node),
    tolerations: d.options.tolerations,
    ...more,
  });
  return [
    make("client", first, "client", { labels: { kind: "client" } }),
    make("client2", first, "client", {
      labels: { kind: "client", other: "client" },
      serviceAccount: "client2",
    }),
    make("echo-same-node", first, "echo", { labels: { kind: "echo" }, serviceAccount: "echo-same-node" }),
    make("echo-scaled", second ?? first, "echo"),
    make("echo-hostport", second ?? first, "echo", { namespace: closed, hostPort: publishedHostPort }),
    make("spoofer", first, "spoofer", { namespace: closed }),
    ...(second === undefined
      ? []
      : [
          make("client3", second, "client", { labels: { kind: "client", other: "node" } }),
          make("echo-other-node", second, "echo", { labels: { kind: "echo" } }),
        ]),
  ];
}

function servicesOf(d: Deployment): (ServiceOptions & { name: ServiceName })[] {
  const { namespace } = d.options;
  const far = d.placement.second === undefined ? "echo-same-node" : "echo-other-node";
  const local = { type: "NodePort", externalTrafficPolicy: "Local" } as const;
  return [
    { name: "echo-same-node", namespace, selector: { name: "echo-same-node" }, type: "NodePort" },
    { name: "echo-other-node", namespace, selector: { name: far }, type: "NodePort" },
    { name: "echo", namespace, selector: { kind: "echo" } },
    { name: "echo-headless", namespace, selector: { kind: "echo" }, headless: true },
    { name: "echo-local", namespace, selector: { name: far }, ...local },
    { name: "echo-nobody", namespace, selector: { name: "nobody" } },
    { name: "echo-scaled", namespace, selector: { name: "echo-scaled" } },
  ];
}

export function hostnameOf(node: NodeInfo): string {
  return node.labels["kubernetes.io/hostname"] ?? node.name;
}

function manifestsOf(d: Deployment): KubeObject[] {
  const closed = privilegedNamespace(d.options);
  return [
    codeManifest(d.options.namespace),
    codeManifest(closed),
    ...workloadsOf(d).flatMap(({ serviceAccount, namespace }) =>
      serviceAccount === undefined ? [] : [serviceAccountManifest(serviceAccount, namespace)],
    ),
    ...workloadsOf(d).map(deploymentManifest),
    ...servicesOf(d).map(serviceManifest),
    hostDaemonSetManifest(
      closed,
      d.image,
      // Named nodes are tested alone: thousands of others have no part in it.
      d.options.nodes.length === 0 ? undefined : d.placement.nodes.map(hostnameOf),
    ),
  ];
}

/** An endpoint of a running pod, with shells of its own that the finalizers close. */
export function podEndpoint(
  d: Pick<Deployment, "kube" | "finalizers">,
  pod: KubeObject,
  name: string,
  portBase: number,
): PodEndpoint {
  const target = { namespace: pod.metadata.namespace!, pod: pod.metadata.name!, container: "echo" };
  const runner = new PodShells(d.kube, target);
  d.finalizers.add(`close the shells of ${name}`, async () => runner.close());
  const addresses = byFamily((pod.status?.podIPs ?? []).map((entry: any) => entry.ip));
  return new PodEndpoint({ ...target, name, node: pod.spec.nodeName, addresses, portBase, runner });
}

async function waitForPods(d: Deployment, report: (progress: string) => void): Promise<void> {
  const wanted = workloadsOf(d).map((workload) => workload.name);
  const listPods = async (): Promise<KubeObject[]> => {
    const namespaces = [d.options.namespace, privilegedNamespace(d.options)];
    const lists = await Promise.all(
      namespaces.map((namespace) => d.kube.list(resourcePath("v1", "pods", namespace))),
    );
    return lists.flatMap((list) => list.items).filter((pod) => pod.metadata.deletionTimestamp === undefined);
  };
  let last: KubeObject[] = [];
  const check = async (): Promise<KubeObject[] | undefined> => {
    last = await listPods();
    const ready = last.filter(isReady);
    const names = new Set(ready.map((pod) => pod.metadata.labels?.name));
    const hosts = ready.filter((pod) => pod.metadata.labels?.name === "host-netns");
    const total = wanted.length + d.placement.nodes.length;
    report(`${wanted.filter((name) => names.has(name)).length + hosts.length} of ${total} pods run`);
    return wanted.every((name) => names.has(name)) && hosts.length >= d.placement.nodes.length
      ? ready
      : undefined;
  };
  const pods = await waitFor("the test's pods to run", check, {
    timeoutMs: 120_000,
    intervalMs: 300,
    signal: d.signal,
    remedy: `kubectl get pods -n ${d.options.namespace} says more.`,
  }).catch((error: Error) => {
    d.signal.throwIfAborted();
    error.message += describePods(last);
    throw error;
  });
  for (const pod of pods) {
    const name = pod.metadata.labels!.name!;
    if (name === "host-netns")
      d.hosts.push(podEndpoint(d, pod, `host-netns on ${pod.spec.nodeName}`, hostPortBase));
    else if (wanted.includes(name)) d.pods.set(name, podEndpoint(d, pod, name, podPortBase));
  }
}

async function readServices(d: Deployment): Promise<void> {
  const list = await d.kube.list(resourcePath("v1", "services", d.options.namespace));
  for (const service of list.items) d.services.set(service.metadata.name!, serviceEndpoint(service));
}

/** A Service with its addresses and ports; ports without one of our names keep theirs. */
export function serviceEndpoint(service: KubeObject): ServiceEndpoint {
  const ips: string[] = service.spec.clusterIPs ?? [service.spec.clusterIP];
  const ports = (service.spec.ports ?? []).map((entry: any) => [
    entry.name as PortName,
    { port: entry.port, nodePort: entry.nodePort },
  ]);
  const addresses = byFamily(ips.filter((ip) => ip !== "None"));
  return new ServiceEndpoint(
    service.metadata.name!,
    service.metadata.namespace!,
    addresses,
    Object.fromEntries(ports),
  );
}
