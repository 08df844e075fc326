// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { errorMessage } from "../../../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../../../lib/kube.ts";
import { isAlreadyExists, isConflict } from "../../../../lib/kube-errors.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Logger } from "../../../../lib/log.ts";
import { sleep } from "../../../../lib/wait.ts";
import type { CriClient } from "./cri.ts";
import { nodeInfo, nodeLabels, nodeStatus, type RuntimeFacts } from "./node-status.ts";
import type { KubeletOptions } from "./options.ts";

/** Milliseconds between two questions to the runtime. */
const CHECK_MS = 2_000;
/** Milliseconds after which an unchanged status is written again. */
const HEARTBEAT_MS = 60_000;
const LEASE_MS = 10_000;
const LEASE_SECONDS = 40;
const NETWORK_MESSAGE =
  "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";

/** Registers this node, keeps its status true and its lease alive. */
export class NodeAgent {
  readonly #options: KubeletOptions;
  readonly #client: KubeClient;
  readonly #cri: CriClient;
  readonly #log: Logger;
  readonly #onNetworkReady: () => void;
  #facts: RuntimeFacts = {
    version: "",
    runtimeProblem: "container runtime is down",
    networkProblem: NETWORK_MESSAGE,
    images: [],
  };
  #info: any;
  #node: KubeObject | undefined;
  #writtenMs = 0;
  #lease: KubeObject | undefined;

  constructor(
    options: KubeletOptions,
    client: KubeClient,
    cri: CriClient,
    log: Logger,
    onNetworkReady: () => void,
  ) {
    this.#options = options;
    this.#client = client;
    this.#cri = cri;
    this.#log = log;
    this.#onNetworkReady = onNetworkReady;
  }

  get node(): KubeObject | undefined {
    return this.#node;
  }

  get networkProblem(): string | undefined {
    return this.#facts.networkProblem;
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#repeat("node status", CHECK_MS, signal, () => this.#updateStatus()),
      this.#repeat("node lease", LEASE_MS, signal, () => this.#renewLease()),
    ]);
  }

  async #repeat(
    what: string,
    everyMs: number,
    signal: AbortSignal,
    action: () => Promise<void>,
  ): Promise<void> {
    while (!signal.aborted) {
      let delayMs = everyMs;
      try {
        await action();
      } catch (error) {
        this.#log.warn(`cannot update the ${what}`, { error: errorMessage(error) });
        delayMs = Math.min(everyMs, 1_000);
      }
      await sleep(delayMs, signal).catch(() => undefined);
    }
  }

  /** Asks the runtime how it and the pod network are. Never throws. */
  async askRuntime(): Promise<void> {
    const before = this.#facts;
    try {
      const conditions = await this.#cri.conditions();
      const find = (type: string) => conditions.find((entry) => entry.type === type);
      if (this.#info === undefined) {
        const { runtime_name: name, runtime_version: version } = await this.#cri.version();
        this.#info = await nodeInfo(`${name}://${version}`);
      }
      const network = find("NetworkReady");
      const runtime = find("RuntimeReady");
      this.#facts = {
        version: this.#info.containerRuntimeVersion,
        runtimeProblem:
          runtime?.status === true ? undefined : `container runtime is not ready: ${runtime?.message ?? ""}`,
        networkProblem:
          network?.status === true
            ? undefined
            : `container runtime network not ready: NetworkReady=false reason:${network?.reason ?? ""} message:${network?.message ?? ""}`,
        images: await this.#cri.listImages(),
      };
    } catch (error) {
      this.#facts = { ...before, runtimeProblem: `container runtime is down: ${errorMessage(error)}` };
    }
    if (before.networkProblem !== undefined && this.#facts.networkProblem === undefined)
      this.#onNetworkReady();
  }

  async #updateStatus(): Promise<void> {
    await this.askRuntime();
    if (this.#info === undefined) this.#info = await nodeInfo("");
    const path = resourcePath("v1", "nodes", undefined, this.#options.nodeName);
    this.#node ??= await this.#register(path);
    const status = nodeStatus(this.#options, this.#node, this.#facts, this.#info, Date.now());
    const due = Date.now() - this.#writtenMs > HEARTBEAT_MS;
    if (!due && isSameStatus(this.#node.status ?? {}, status)) return;
    try {
      // Addresses merge by type, of which a dual-stack node has two alike: they are replaced instead.
      const addresses = [...status.addresses, { $patch: "replace" }];
      const patch = { status: { ...status, addresses } };
      this.#node = await this.#client.patch(`${path}/status`, "strategic", patch);
      this.#writtenMs = Date.now();
    } catch (error) {
      // Deleted by somebody: the next round registers it anew.
      this.#node = undefined;
      throw error;
    }
  }

  async #register(path: string): Promise<KubeObject> {
    const labels = nodeLabels(this.#options);
    const found = await this.#client.find(path);
    if (found !== undefined) {
      const stale = Object.entries(labels).some(([key, value]) => found.metadata.labels?.[key] !== value);
      return stale ? await this.#client.patch(path, "merge", { metadata: { labels } }) : found;
    }
    if (!this.#options.registerNode) throw new Error(`there is no node "${this.#options.nodeName}"`);
    const status = nodeStatus(this.#options, undefined, this.#facts, this.#info, Date.now());
    this.#log.info("registering the node", { node: this.#options.nodeName });
    return await this.#client.create(resourcePath("v1", "nodes"), {
      apiVersion: "v1",
      kind: "Node",
      metadata: {
        name: this.#options.nodeName,
        labels,
        annotations: { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
      },
      spec: {
        taints: [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }, ...this.#options.nodeTaints],
      },
      status,
    });
  }

  async #renewLease(): Promise<void> {
    const name = this.#options.nodeName;
    const path = resourcePath("coordination.k8s.io/v1", "leases", "kube-node-lease", name);
    const spec = {
      holderIdentity: name,
      leaseDurationSeconds: LEASE_SECONDS,
      renewTime: new Date().toISOString().replace("Z", "000Z"),
    };
    try {
      this.#lease ??= await this.#client.find(path);
      if (this.#lease === undefined) {
        const ownerReferences =
          this.#node === undefined
            ? []
            : [{ apiVersion: "v1", kind: "Node", name, uid: this.#node.metadata.uid }];
        const metadata = { name, namespace: "kube-node-lease", ownerReferences };
        const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec };
        this.#lease = await this.#client.create(
          resourcePath("coordination.k8s.io/v1", "leases", "kube-node-lease"),
          lease,
        );
      } else
        this.#lease = await this.#client.replace(path, {
          ...this.#lease,
          spec: { ...this.#lease.spec, ...spec },
        });
    } catch (error) {
      this.#lease = undefined;
      if (!isConflict(error) && !isAlreadyExists(error)) throw error;
    }
  }
}

/** Equal but for the times of the heartbeat. */
function isSameStatus(old: any, wanted: any): boolean {
  const bare = (status: any) => ({
    conditions: (status.conditions ?? [])
      .map(({ type, status: value, reason, message }: any) => ({ type, value, reason, message }))
      .filter((entry: any) => (wanted.conditions as any[]).some((other) => other.type === entry.type))
      .sort((a: any, b: any) => (a.type < b.type ? -1 : 1)),
    addresses: status.addresses,
    images: (status.images ?? []).length,
    capacity: status.capacity,
    runtime: status.nodeInfo?.containerRuntimeVersion,
  });
  return isDeepStrictEqual(bare(old), bare(wanted));
}
