// SPDX-License-Identifier: Apache-2.0
// A whole control plane in one process for tests, with nodes whose kubelets only write statuses.
import type { KubeClient } from "../../../../lib/kube.ts";
import { connectKube } from "../../../../lib/kube-connect.ts";
import { isNotFound } from "../../../../lib/kube-errors.ts";
import { Informer } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { createLogger, type Logger } from "../../../../lib/log.ts";
import { waitFor } from "../../../../lib/wait.ts";
import type { ApiServerOptions } from "../apiserver/options.ts";
import { startTestApiServer, type TestApiServer } from "../apiserver/testing.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import { parseFlags } from "./flags.ts";
import { runControllers } from "./index.ts";
import { hasPodEnded } from "./pod-state.ts";
import { pathOf, resources } from "./resources.ts";
import { apiTime } from "./status-write.ts";

/** Kubelets that make every pod of their node run at once and end when deleted. */
export class FakeKubelets {
  readonly #client: KubeClient;
  readonly #pods: Informer;
  readonly #signal: AbortSignal;
  readonly #alive = new Set<string>();
  #nextAddress = 2;
  /** What a pod's status becomes; a test may set phases and readiness. Undefined leaves the pod alone. */
  statusOf: (pod: KubeObject) => { phase: string; ready: boolean } | undefined = () => ({
    phase: "Running",
    ready: true,
  });

  constructor(client: KubeClient, log: Logger, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
    this.#pods = new Informer(client, pathOf(resources.pods), log);
    this.#pods.onChange(({ type, object }) => {
      if (type !== "deleted") void this.#sync(object).catch(() => undefined);
    });
    void this.#pods.run(signal);
    const beat = setInterval(() => void this.#renew().catch(() => undefined), 1_000);
    signal.addEventListener("abort", () => clearInterval(beat), { once: true });
  }

  /** Adds a node with these labels and room. */
  async addNode(name: string, labels: Record<string, string> = {}, allocatable = {}): Promise<void> {
    const room = { cpu: "4", memory: "8Gi", "ephemeral-storage": "50Gi", pods: "110", ...allocatable };
    const path = pathOf(resources.nodes);
    await this.#client.create(path, {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", ...labels } },
    });
    const ready = { type: "Ready", status: "True", reason: "KubeletReady", message: "" };
    const times = { lastHeartbeatTime: apiTime(), lastTransitionTime: apiTime() };
    await this.#client.patch(`${path}/${name}/status`, "strategic", {
      status: { capacity: room, allocatable: room, conditions: [{ ...ready, ...times }] },
    });
    await this.#client.create(pathOf(resources.leases, "kube-node-lease"), {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name, namespace: "kube-node-lease" },
      spec: { holderIdentity: name, leaseDurationSeconds: 40 },
    });
    this.#alive.add(name);
  }

  /** The node says no more, as if its machine were off. */
  silence(name: string): void {
    this.#alive.delete(name);
  }

  /** Looks at all pods again, after `statusOf` changed. */
  async refresh(): Promise<void> {
    await Promise.all(this.#pods.list().map((pod) => this.#sync(pod).catch(() => undefined)));
  }

  async #renew(): Promise<void> {
    for (const name of this.#alive)
      if (!this.#signal.aborted)
        await this.#client.patch(pathOf(resources.leases, "kube-node-lease", name), "merge", {
          spec: { renewTime: new Date().toISOString().replace("Z", "000Z") },
        });
  }

  async #sync(pod: KubeObject): Promise<void> {
    if (!this.#alive.has(pod.spec.nodeName)) return;
    const { namespace, name, uid } = pod.metadata;
    const path = pathOf(resources.pods, namespace, name);
    if (pod.metadata.deletionTimestamp !== undefined) {
      await this.#client.delete(path, { gracePeriodSeconds: 0, preconditions: { uid } }).catch((error) => {
        if (!isNotFound(error)) throw error;
      });
      return;
    }
    const wanted = this.statusOf(pod);
    const isReady = pod.status?.conditions?.some(
      (entry: any) => entry.type === "Ready" && entry.status === "True",
    );
    if (wanted === undefined || hasPodEnded(pod)) return;
    if (pod.status?.phase === wanted.phase && isReady === wanted.ready) return;
    const podIP = pod.status?.podIP ?? `10.244.0.${this.#nextAddress++}`;
    await this.#client.patch(`${path}/status`, "strategic", {
      metadata: { uid },
      status: {
        phase: wanted.phase,
        podIP,
        podIPs: [{ ip: podIP }],
        conditions: ["Initialized", "ContainersReady", "Ready"].map((type) => ({
          type,
          status: wanted.ready ? "True" : "False",
          lastTransitionTime: apiTime(),
        })),
      },
    });
  }
}

/** A control plane with everything but containers. */
export interface TestControlPlane {
  server: TestApiServer;
  client: KubeClient;
  kubelets: FakeKubelets;
  /** Waits until the object at `path` satisfies the test; the object then. */
  until(path: string, what: string, test: (object: KubeObject) => unknown): Promise<KubeObject>;
  /** Waits until the list at `path` satisfies the test; its items then. */
  untilList(path: string, what: string, test: (items: KubeObject[]) => unknown): Promise<KubeObject[]>;
  apply(object: KubeObject): Promise<KubeObject>;
  stop(): Promise<void>;
}

/** Starts API server, controllers and scheduler, with these extra controller-manager flags. */
export async function startTestControlPlane(
  flags: string[] = [],
  options: Partial<ApiServerOptions> = {},
): Promise<TestControlPlane> {
  const server = await startTestApiServer(options);
  const stop = new AbortController();
  const log = createLogger(undefined, "error");
  const client = await connectKube({ kubeconfig: server.kubeconfig });
  const kubelets = new FakeKubelets(client, log, stop.signal);
  const parsed = parseFlags([
    `--kubeconfig=${server.kubeconfig}`,
    "--cluster-cidr=10.244.0.0/16,fd10:244::/56",
    ...flags,
  ]);
  await runControllers(parsed, client, log, stop.signal);
  void new Scheduler(client, log).run(stop.signal).catch(() => undefined);
  const wait = { timeoutMs: 20_000, intervalMs: 50 };
  return {
    server,
    client,
    kubelets,
    until: (path, what, test) =>
      waitFor(
        what,
        async () => {
          const object = await client.get(path);
          return test(object) ? object : undefined;
        },
        wait,
      ),
    untilList: (path, what, test) =>
      waitFor(
        what,
        async () => {
          const { items } = await client.list(path);
          return test(items) ? items : undefined;
        },
        wait,
      ),
    apply: async (object) => {
      const resource = Object.values(resources).find(({ kind }) => kind === object.kind)!;
      const path = pathOf(resource, object.metadata.namespace, object.metadata.name);
      return await client.apply(path, object, "test");
    },
    stop: async () => {
      stop.abort();
      client.close();
      await server.stop();
    },
  };
}
