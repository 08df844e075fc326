// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import { callPod, collectResults, probePods } from "./collect.ts";
import { type ProbeImage, probeDaemonSet, supportManifests } from "./manifests.ts";
import { mergeResults, type ProbeReading } from "./merge.ts";
import { headlessName, probeNamespace as namespace, probeName } from "./names.ts";
import { readSaved, saveCordoned, saveReading } from "./saved.ts";

export interface ProbeOptions {
  signal: AbortSignal;
  /** Default: the installed agent's. */
  image?: ProbeImage;
  /** Requests a second of all probes together. Default 50 a node of the first 4 nodes, and 10 a node beyond. */
  totalRate?: number;
  /** Other nodes that each node sends to. Default 6. */
  peerLimit?: number;
  /** For so long a probe pod that is told to go still answers, in milliseconds. Default 8,000. */
  lingerMs?: number;
  clusterDomain?: string;
  /** Milliseconds until the probes have to be running everywhere. Default 180,000. */
  timeoutMs?: number;
}

const daemonSetPath = resourcePath("apps/v1", "daemonsets", namespace, probeName);
const runAnnotation = "shunt.dev/probe-run";
const plurals: Record<string, string> = {
  Namespace: "namespaces",
  ServiceAccount: "serviceaccounts",
  Role: "roles",
  RoleBinding: "rolebindings",
  Service: "services",
};

/**
 * Starts the probes and returns once every path of every probe has worked. Safe to call again: probes that run
 * already go on with their counts.
 */
export async function startProbes(kube: KubeClient, options: ProbeOptions): Promise<string> {
  const { signal } = options;
  for (const object of supportManifests()) {
    const { kind, apiVersion, metadata } = object;
    await kube.apply(resourcePath(apiVersion!, plurals[kind!]!, metadata.namespace, metadata.name), object);
  }
  if ((await kube.find(daemonSetPath)) === undefined) await createDaemonSet(kube, options);
  const timeoutMs = options.timeoutMs ?? 180_000;
  const remedy = `See with kubectl -n ${namespace} get pods,events what is missing.`;
  const started = await waitFor(
    "the probes to run on every node",
    async () => {
      const { status } = await kube.get(daemonSetPath);
      if (!(status?.numberReady >= Math.max(1, status?.desiredNumberScheduled ?? 1)))
        throw new Error(`${status?.numberReady ?? 0} of ${status?.desiredNumberScheduled ?? "?"} are ready`);
      const { nodes } = await collectResults(kube, signal);
      const complete = nodes.filter(({ results }) => results.counting && results.peers >= status.numberReady);
      if (complete.length < status.numberReady)
        throw new Error(`${complete.length} of ${status.numberReady} have seen every path work`);
      return complete.length;
    },
    { timeoutMs, intervalMs: 500, signal, remedy },
  );
  const { metadata } = await kube.get(daemonSetPath);
  const run = metadata.annotations?.[runAnnotation] ?? "";
  await tellAll(await probePods(kube), "POST", `/${run}/begin`, kube, signal);
  return `probes run on ${started} nodes`;
}

async function createDaemonSet(kube: KubeClient, options: ProbeOptions): Promise<void> {
  const service = await kube.get(resourcePath("v1", "services", namespace, probeName));
  const portOf = (key: "port" | "nodePort") =>
    Object.fromEntries(service.spec.ports.map((port: any) => [port.name, port[key]]));
  const domain = options.clusterDomain ?? "cluster.local";
  const nodes = (await kube.list("/api/v1/nodes")).items.length;
  const lingerMs = options.lingerMs ?? 8_000;
  const settings = {
    run: randomBytes(6).toString("hex"),
    peerLimit: options.peerLimit ?? 6,
    lingerMs,
    sender: {
      clusterIPs: service.spec.clusterIPs ?? [service.spec.clusterIP],
      servicePorts: portOf("port"),
      nodePorts: portOf("nodePort"),
      serviceName: `${probeName}.${namespace}.svc.${domain}.`,
      headlessName: `${headlessName}.${namespace}.svc.${domain}.`,
      totalRate: options.totalRate ?? 50 * Math.min(4, nodes) + 10 * Math.max(0, nodes - 4),
    },
  };
  const image = options.image ?? (await agentImage(kube));
  const object = probeDaemonSet(image, settings, lingerMs);
  object.metadata.annotations = { [runAnnotation]: settings.run };
  await kube.apply(daemonSetPath, object);
}

async function agentImage(kube: KubeClient): Promise<ProbeImage> {
  const agent = await kube.find(resourcePath("apps/v1", "daemonsets", "kube-system", "shunt-agent"));
  const template = agent?.spec?.template?.spec;
  const container = template?.containers?.[0];
  if (container === undefined)
    throw new ShuntError("DaemonSet kube-system/shunt-agent is not there, whose image the probes need", {
      code: "NoImage",
      remedy: "Install the agent first, or name its image.",
    });
  return {
    image: container.image,
    imagePullPolicy: container.imagePullPolicy ?? "IfNotPresent",
    ...(template.imagePullSecrets === undefined ? {} : { imagePullSecrets: template.imagePullSecrets }),
  };
}

/**
 * Reads what the probes have seen since their start; once they are stopped, what they had seen until then.
 * Undefined when there never were any.
 */
export async function readProbes(kube: KubeClient, signal: AbortSignal): Promise<ProbeReading | undefined> {
  if ((await kube.find(daemonSetPath)) === undefined) return await readSaved(kube);
  const { nodes, unreachable } = await collectResults(kube, signal);
  await saveCordoned(kube, nodes);
  return mergeResults(nodes, unreachable);
}

/** Stops the probes, keeps what they saw in the cluster, and takes everything else of them away. */
export async function stopProbes(
  kube: KubeClient,
  options: { signal: AbortSignal; timeoutMs?: number },
): Promise<string> {
  const { signal } = options;
  const daemonSet = await kube.find(daemonSetPath);
  if (daemonSet !== undefined) {
    const run = daemonSet.metadata.annotations?.[runAnnotation] ?? "";
    const pods = await probePods(kube);
    await tellAll(pods, "POST", `/${run}/stop`, kube, signal);
    await waitFor(
      "the last requests to be answered",
      async () =>
        (await collectResults(kube, signal)).nodes.every(({ results }) => results.state !== "running"),
      { timeoutMs: options.timeoutMs ?? 60_000, intervalMs: 300, signal },
    );
    const { nodes, unreachable } = await collectResults(kube, signal);
    await saveReading(kube, mergeResults(nodes, unreachable));
    await tellAll(pods, "POST", `/${run}/clear`, kube, signal);
  }
  const path = `/api/v1/namespaces/${namespace}`;
  await kube.deleteIfExists(path);
  await waitFor(`namespace ${namespace} to go`, async () => (await kube.find(path)) === undefined, {
    timeoutMs: options.timeoutMs ?? 120_000,
    signal,
    remedy: `See with kubectl get all -n ${namespace} what holds it.`,
  });
  const saved = await readSaved(kube);
  return saved === undefined
    ? "no probes ran"
    : `${saved.probes.sent} requests, ${saved.probes.lost} lost; ${saved.longConnections.opened} long connections, ${saved.longConnections.broken} broken`;
}

async function tellAll(
  pods: readonly KubeObject[],
  method: string,
  path: string,
  kube: KubeClient,
  signal: AbortSignal,
): Promise<void> {
  for (const pod of pods) {
    await callPod({ kube, pod, method, path, signal }).catch((error) => {
      // One that is gone has nothing more to say; what it saw is with its node's next pod.
      if (signal.aborted) throw error;
    });
  }
}
