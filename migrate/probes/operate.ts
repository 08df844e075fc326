// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep, waitFor } from "../../lib/wait.ts";
import { callPod, collectResults, probePods } from "./collect.ts";
import { type Latencies, latenciesOf, latencyFigures } from "./latency-figures.ts";
import { type ProbeImage, probeDaemonSet, supportManifests } from "./manifests.ts";
import { mergeResults, type ProbeReading } from "./merge.ts";
import { headlessName, nameOf, probeNamespace as namespace, type ProbeRole } from "./names.ts";
import { readFigures, readSaved, saveCordoned, saveFigures, saveReading } from "./saved.ts";

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
  /** Other figures of the cluster as it is, for the comparison of before and after. */
  figures?: (signal: AbortSignal) => Promise<Record<string, number>>;
}

const pathOf = (role: ProbeRole): string => resourcePath("apps/v1", "daemonsets", namespace, nameOf[role]);
const daemonSetPath = pathOf("pod");
const roles: ProbeRole[] = ["host", "pod"];
/** Share of all requests that the probes in the nodes' own network send. */
const hostShare = 0.25;
/** So long the probes look at one state of the cluster for the figures before and after, in milliseconds. */
const figuresMs = 6_000;
/** So long every node may take to learn that a pod serves no more, and answers under way to arrive. */
const settleMs = 4_000;
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
  if ((await kube.find(daemonSetPath)) === undefined) await createDaemonSets(kube, options);
  const timeoutMs = options.timeoutMs ?? 180_000;
  const remedy = `See with kubectl -n ${namespace} get pods,events what is missing.`;
  const started = await waitFor(
    "the probes to run on every node",
    async () => {
      const states = await Promise.all(roles.map((role) => kube.get(pathOf(role))));
      const { nodes } = await collectResults(kube, signal);
      let count = 0;
      for (const [index, { status }] of states.entries()) {
        const ready = status?.numberReady ?? 0;
        if (ready < Math.max(1, status?.desiredNumberScheduled ?? 1))
          throw new Error(`${ready} of ${status?.desiredNumberScheduled ?? "?"} are ready`);
        const complete = nodes.filter(
          ({ results }) => results.role === roles[index] && results.counting && results.peers >= ready,
        );
        if (complete.length < ready)
          throw new Error(`${complete.length} of ${ready} have seen every path work`);
        count = complete.length;
      }
      return count;
    },
    { timeoutMs, intervalMs: 500, signal, remedy },
  );
  const { metadata } = await kube.get(daemonSetPath);
  const run = metadata.annotations?.[runAnnotation] ?? "";
  await tellAll(await probePods(kube), "POST", `/${run}/begin`, kube, signal);
  await keepFigures(kube, options);
  return `probes run on ${started} nodes`;
}

/** Figures of the state before anything is switched. Whoever starts probes that run already finds them taken. */
async function keepFigures(kube: KubeClient, { signal, figures }: ProbeOptions): Promise<void> {
  if ((await readFigures(kube)) !== undefined) return;
  const others = figures?.(signal);
  others?.catch(() => undefined);
  const from = await readLatencies(kube, signal);
  await sleep(figuresMs, signal);
  const seen = latencyFigures(from, await readLatencies(kube, signal));
  await saveFigures(kube, { ...seen, ...(await others) });
}

async function readLatencies(kube: KubeClient, signal: AbortSignal): Promise<Latencies> {
  const { nodes } = await collectResults(kube, signal);
  return latenciesOf(nodes);
}

async function createDaemonSets(kube: KubeClient, options: ProbeOptions): Promise<void> {
  const nodes = (await kube.list("/api/v1/nodes")).items.length;
  const totalRate = options.totalRate ?? 50 * Math.min(4, nodes) + 10 * Math.max(0, nodes - 4);
  const image = options.image ?? (await agentImage(kube));
  const run = (await kube.find(pathOf("host")))?.metadata.annotations?.[runAnnotation] ?? newRun();
  const rates = { host: totalRate * hostShare, pod: totalRate * (1 - hostShare) };
  // The pods' own comes last: where it is, both are.
  for (const role of roles) {
    const object = await daemonSetOf(kube, { role, run, image, totalRate: rates[role] }, options);
    await kube.apply(pathOf(role), object);
  }
}

const newRun = (): string => randomBytes(6).toString("hex");

async function daemonSetOf(
  kube: KubeClient,
  { role, run, image, totalRate }: { role: ProbeRole; run: string; image: ProbeImage; totalRate: number },
  options: ProbeOptions,
): Promise<KubeObject> {
  const name = nameOf[role];
  const service = await kube.get(resourcePath("v1", "services", namespace, name));
  const portOf = (key: "port" | "nodePort") =>
    Object.fromEntries(service.spec.ports.map((port: any) => [port.name, port[key]]));
  const domain = options.clusterDomain ?? "cluster.local";
  const lingerMs = options.lingerMs ?? 8_000;
  const settings = {
    role,
    run,
    peerLimit: options.peerLimit ?? 6,
    lingerMs,
    sender: {
      clusterIPs: service.spec.clusterIPs ?? [service.spec.clusterIP],
      servicePorts: portOf("port"),
      nodePorts: portOf("nodePort"),
      serviceName: `${name}.${namespace}.svc.${domain}.`,
      headlessName: `${headlessName}.${namespace}.svc.${domain}.`,
      totalRate,
    },
  };
  const object = probeDaemonSet(role, image, settings, lingerMs);
  object.metadata.annotations = { [runAnnotation]: run };
  return object;
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
  const before = await readFigures(kube);
  const figures = before === undefined ? {} : { figures: { before, after: {} } };
  return { ...mergeResults(nodes, unreachable), ...figures };
}

/**
 * Before a node is removed: has everything of the probes that is there, or passes through it, end in good order, as
 * clients that are told to go elsewhere do, and keeps what its own saw.
 */
export async function leaveNode(kube: KubeClient, node: string, signal: AbortSignal): Promise<void> {
  const daemonSet = await kube.find(daemonSetPath);
  if (daemonSet === undefined) return;
  const pods = await probePods(kube);
  if (!pods.some(({ spec }) => spec.nodeName === node)) return;
  const run = daemonSet.metadata.annotations?.[runAnnotation] ?? "";
  await tellAll(pods, "POST", `/${run}/node-leaves/${node}`, kube, signal);
  await waitFor(
    `the probes on ${node} to be out of their Services`,
    async () => {
      const there = (await probePods(kube)).filter(({ spec }) => spec.nodeName === node);
      return there.every(({ status }) =>
        status?.conditions?.some((one: any) => one.type === "Ready" && one.status !== "True"),
      );
    },
    { timeoutMs: 60_000, intervalMs: 500, signal },
  );
  await sleep(settleMs, signal);
  const { nodes } = await collectResults(kube, signal);
  await saveCordoned(kube, nodes);
}

/** Stops the probes, keeps what they saw in the cluster, and takes everything else of them away. */
export async function stopProbes(
  kube: KubeClient,
  options: Pick<ProbeOptions, "signal" | "timeoutMs" | "figures">,
): Promise<string> {
  const { signal, figures } = options;
  const daemonSet = await kube.find(daemonSetPath);
  if (daemonSet !== undefined) {
    const run = daemonSet.metadata.annotations?.[runAnnotation] ?? "";
    const others = figures?.(signal);
    others?.catch(() => undefined);
    const from = await readLatencies(kube, signal);
    await sleep(figuresMs, signal);
    const pods = await probePods(kube);
    await tellAll(pods, "POST", `/${run}/stop`, kube, signal);
    // What was kept of a node that was removed since says for ever that its probe runs.
    const there = new Set(pods.map(({ spec }) => spec.nodeName as string));
    await waitFor(
      "the last requests to be answered",
      async () =>
        (await collectResults(kube, signal)).nodes.every(
          ({ results }) => results.state !== "running" || !there.has(results.node),
        ),
      { timeoutMs: options.timeoutMs ?? 60_000, intervalMs: 300, signal },
    );
    const { nodes, unreachable } = await collectResults(kube, signal);
    const before = (await readFigures(kube)) ?? {};
    const after = { ...latencyFigures(from, latenciesOf(nodes)), ...(await others) };
    await saveReading(kube, { ...mergeResults(nodes, unreachable), figures: { before, after } });
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
