// SPDX-License-Identifier: Apache-2.0
// Tries every case on a cluster of the sandbox with real packets, and compares them with the truth, cell by cell.
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { sleep, waitFor } from "../../lib/wait.ts";
import {
  type Case,
  namespaceLabels,
  namespaces,
  podLabels,
  podNames,
  policyCases,
  replacements,
} from "./policy-cases.ts";
import { type Flood, PolicyProber, processIn } from "./policy-prober.ts";
import {
  type Cell,
  type NetworkPolicy,
  portName,
  ports,
  protocols,
  type TruthPod,
  truthTable,
} from "./policy-truth.ts";

/** What the suite found. */
export interface PolicyConformance {
  cases: number;
  steps: number;
  /** Cells compared. */
  probes: number;
  differences: number;
  /** Up to ten of each step that differs. */
  failures: { case: string; step: number; cell: string; expected: string; seen: string }[];
}

export interface PolicyConformanceOptions {
  kube: KubeClient;
  /** Runs a command in a pod, and returns what it printed. */
  exec: (namespace: string, pod: string, command: string[]) => Promise<string>;
  /** Nodes for the pods, in turn. */
  nodes: readonly string[];
  image: string;
  signal: AbortSignal;
  progress: (line: string) => void;
  /** Cases to try; default all. */
  only?: (name: string) => boolean;
  /** How long a change may take until all packets meet it, in milliseconds. Default 8,000. */
  settleMs?: number;
}

/** How long what is denied gets to arrive after all, in milliseconds. */
const patienceMs = 240;
const maxFailures = 10;
/** Between one change of the policies and the next. */
const pauseMs = 10;

/** Makes three namespaces with three pods each, and tries all cases. The namespaces stay, without policies. */
export async function checkPolicies(options: PolicyConformanceOptions): Promise<PolicyConformance> {
  const pods = await makePods(options);
  const cases = policyCases(pods).filter(({ name }) => options.only?.(name) ?? true);
  const result: PolicyConformance = { cases: 0, steps: 0, probes: 0, differences: 0, failures: [] };
  const world = new World(options, pods);
  const prober = await startProber(options, pods);
  try {
    for (const [index, one] of cases.entries()) {
      const startedAt = Date.now();
      const before = result.differences;
      for (const [step, wanted] of one.steps.entries()) {
        options.signal.throwIfAborted();
        const cells = await world.bring(wanted);
        const differing = await compare(prober, cells, options);
        result.steps++;
        result.probes += cells.filter(isTried).length;
        result.differences += differing.length;
        for (const { cell, seen } of differing.slice(0, maxFailures))
          result.failures.push({
            ...{ case: one.name, step: step + 1, cell: wordsOf(cell) },
            ...{ expected: verdict(cell.allowed), seen: verdict(seen) },
          });
      }
      result.cases++;
      const found = result.differences - before;
      const said = found === 0 ? "as it should be" : `${found} DIFFER`;
      options.progress(
        `${index + 1} of ${cases.length}: ${one.name}: ${said} (${((Date.now() - startedAt) / 1_000).toFixed(1)} s)`,
      );
    }
  } finally {
    prober.stop();
    await world.bring({ policies: [] });
  }
  return result;
}

async function startProber(
  { exec }: PolicyConformanceOptions,
  pods: readonly TruthPod[],
): Promise<PolicyProber> {
  const probed = [];
  for (const { namespace, name, addresses } of pods) {
    const netns = await exec(namespace, name, ["readlink", "/proc/self/ns/net"]);
    probed.push({ pid: processIn(netns.trim()), addresses });
  }
  return await PolicyProber.start(probed);
}

/** What came of changing policies while packets flowed. */
export interface PolicyReplacement {
  replaced: number;
  allowed: Flood;
  forbidden: Flood;
  /** Allowed datagrams and connections that did not arrive, and forbidden ones that did. */
  differences: number;
}

const batchMs = 5_000;

/**
 * Replaces the policies of two pods over and over, each time by others that allow port 80 and forbid port 81 between
 * them just so, while one pod sends to both ports of the other all the time.
 */
export async function replacePolicies(
  options: PolicyConformanceOptions & { times: number },
): Promise<PolicyReplacement> {
  const { times, signal, progress } = options;
  const pods = await makePods(options);
  const world = new World(options, pods);
  const prober = await startProber(options, pods);
  const [from, to] = [0, 1];
  const none = { sent: 0, arrived: 0, opened: 0, connected: 0 };
  const result: PolicyReplacement = {
    ...{ replaced: 0, differences: 0, allowed: { ...none }, forbidden: { ...none } },
  };
  try {
    let [variant] = replacements;
    const settled = await compare(prober, await world.bring({ policies: variant! }), options);
    if (settled.length > 0)
      throw new Error(`the policies are not in force: ${wordsOf(settled[0]!.cell)} is not as it should be`);
    while (result.replaced < times) {
      let isOver = false;
      const flooding = prober.flood(batchMs, from, to).finally(() => {
        isOver = true;
      });
      flooding.catch(() => undefined);
      while (!isOver && result.replaced < times) {
        signal.throwIfAborted();
        variant = replacements[++result.replaced % replacements.length];
        await world.bring({ policies: variant! });
        await sleep(pauseMs, signal);
      }
      const seen = await flooding;
      for (const [key, port] of [
        ["allowed", "80"],
        ["forbidden", "81"],
      ] as const)
        for (const count of ["sent", "arrived", "opened", "connected"] as const)
          result[key][count] += seen[port][count];
      progress(`${result.replaced} of ${times} times; ${result.allowed.sent} datagrams to each port`);
    }
  } finally {
    prober.stop();
    await world.bring({ policies: [] });
  }
  const { allowed, forbidden } = result;
  result.differences =
    allowed.sent -
    allowed.arrived +
    (allowed.opened - allowed.connected) +
    forbidden.arrived +
    forbidden.connected;
  return result;
}

const verdict = (allowed: boolean): string => (allowed ? "allowed" : "denied");
const isTried = ({ from, to, family }: Cell): boolean =>
  from.addresses[family] !== undefined && to.addresses[family] !== undefined;
const wordsOf = ({ family, from, to, protocol, port }: Cell): string =>
  `${from.namespace}/${from.name} to ${to.namespace}/${to.name}, ${protocol} ${port}, IPv${family === 0 ? 4 : 6}`;

/** Asks until all is as it should be, or its time is over. Returns what then still differs. */
async function compare(
  prober: PolicyProber,
  cells: readonly Cell[],
  { settleMs = 8_000, signal }: PolicyConformanceOptions,
): Promise<{ cell: Cell; seen: boolean }[]> {
  const deadline = Date.now() + settleMs;
  for (;;) {
    signal.throwIfAborted();
    const seen = await prober.ask(patienceMs);
    if (seen.length !== cells.length) throw new Error(`${seen.length} answers for ${cells.length} cells`);
    const differing = cells.flatMap((cell, index) =>
      cell.allowed === seen[index] ? [] : [{ cell, seen: seen[index]! }],
    );
    if (differing.length === 0 || Date.now() >= deadline) return differing;
  }
}

async function makePods({ kube, nodes, image, signal }: PolicyConformanceOptions): Promise<TruthPod[]> {
  for (const namespace of namespaces)
    await kube.apply(resourcePath("v1", "namespaces", undefined, namespace), {
      ...{ apiVersion: "v1", kind: "Namespace" },
      metadata: { name: namespace, labels: namespaceLabels(namespace) },
    });
  const made = namespaces.flatMap((namespace, group) =>
    podNames.map((name, index) => ({ namespace, name, node: nodes[(group + index) % nodes.length]! })),
  );
  for (const { namespace, name, node } of made)
    await kube.apply(resourcePath("v1", "pods", namespace, name), {
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: { name, namespace, labels: podLabels(name) },
      spec: {
        nodeName: node,
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            ...{ name: "main", image, imagePullPolicy: "IfNotPresent" },
            command: ["/bin/busybox", "sleep", "36000"],
            ports: protocols.flatMap((protocol) =>
              ports.map((port) => ({ name: portName(port, protocol), containerPort: port, protocol })),
            ),
          },
        ],
      },
    });
  return await Promise.all(
    made.map(async ({ namespace, name }) => {
      const path = resourcePath("v1", "pods", namespace, name);
      const status = await waitFor(
        `pod ${namespace}/${name} to run`,
        async () => {
          const { status } = await kube.get(path);
          if (status?.phase !== "Running") throw new Error(`it is ${status?.phase}`);
          return status;
        },
        { timeoutMs: 120_000, intervalMs: 300, signal },
      );
      const ips: string[] = status.podIPs.map(({ ip }: { ip: string }) => ip);
      const addresses = [ips.find((ip) => !ip.includes(":")), ips.find((ip) => ip.includes(":"))];
      return { namespace, name, labels: podLabels(name), addresses };
    }),
  );
}

/** What the cluster has of a case now. */
class World {
  readonly #kube: KubeClient;
  readonly #pods: readonly TruthPod[];
  readonly #policies = new Map<string, string>();
  #podLabels: Record<string, Record<string, string>> = {};
  #namespaceLabels: Record<string, Record<string, string>> = {};

  constructor({ kube }: PolicyConformanceOptions, pods: readonly TruthPod[]) {
    this.#kube = kube;
    this.#pods = pods;
  }

  /** Changes what is not as wanted, and returns what then has to come of every packet. */
  async bring(step: Case["steps"][number]): Promise<Cell[]> {
    const wanted = new Map(step.policies.map((one) => [pathOf(one), one]));
    for (const [path, text] of [...this.#policies]) {
      const next = wanted.get(path);
      if (next === undefined) {
        await this.#kube.delete(path);
        this.#policies.delete(path);
      } else if (JSON.stringify(next) !== text) {
        const { metadata } = await this.#kube.get(path);
        await this.#kube.replace(path, { ...next, metadata });
        this.#policies.set(path, JSON.stringify(next));
      }
    }
    for (const [path, policy] of wanted)
      if (!this.#policies.has(path)) {
        await this.#kube.create(path.slice(0, path.lastIndexOf("/")), policy);
        this.#policies.set(path, JSON.stringify(policy));
      }
    const { podLabels: ofPods = {}, namespaceLabels: ofNamespaces = {} } = step;
    await this.#label("pods", this.#podLabels, ofPods);
    await this.#label("namespaces", this.#namespaceLabels, ofNamespaces);
    this.#podLabels = ofPods;
    this.#namespaceLabels = ofNamespaces;
    return truthTable({
      pods: this.#pods.map((pod) => ({
        ...pod,
        labels: { ...pod.labels, ...ofPods[`${pod.namespace}/${pod.name}`] },
      })),
      namespaceLabels: Object.fromEntries(
        namespaces.map((name) => [name, { ...namespaceLabels(name), ...ofNamespaces[name] }]),
      ),
      policies: step.policies,
    });
  }

  async #label(
    plural: "pods" | "namespaces",
    before: Record<string, Record<string, string>>,
    after: Record<string, Record<string, string>>,
  ): Promise<void> {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const gone = Object.fromEntries(Object.keys(before[key] ?? {}).map((label) => [label, null]));
      const labels = { ...gone, ...after[key] };
      const [name = "", namespace] = key.split("/").reverse();
      await this.#kube.patch(resourcePath("v1", plural, namespace, name), "merge", { metadata: { labels } });
    }
  }
}

const pathOf = ({ metadata }: NetworkPolicy): string =>
  resourcePath("networking.k8s.io/v1", "networkpolicies", metadata.namespace, metadata.name);
