// SPDX-License-Identifier: Apache-2.0
import { isNotFound } from "../../../../lib/kube-errors.ts";
import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Taint } from "../scheduler/taints.ts";
import type { Controller } from "./controllers.ts";
import { evictionDelayMs, nodeTaints, silentConditions } from "./node-health.ts";
import { findCondition, hasPodEnded, isPodReady } from "./pod-state.ts";
import { canonicalJson } from "./pod-template.ts";
import { pathOf, resources } from "./resources.ts";
import { withCondition } from "./status-write.ts";
import type { WorkQueue } from "./work-queue.ts";

const leaseNamespace = "kube-node-lease";
const monitorEveryMs = 2_000;

/** Notices silent nodes, taints nodes as their conditions say, and evicts pods that do not tolerate it. */
export class NodeLifecycle {
  readonly #controller: Controller;
  readonly #nodes: Informer;
  readonly #leases: Informer;
  readonly #pods: Informer;
  readonly #nodeQueue: WorkQueue;
  readonly #podQueue: WorkQueue;
  /** When this process last saw a sign of life, by its own clock: nodes' clocks may differ. */
  readonly #heard = new Map<string, { sign: string; atMs: number }>();

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#nodes = controller.informer(resources.nodes);
    this.#leases = controller.informer(resources.leases, {}, leaseNamespace);
    this.#pods = controller.informer(resources.pods);
    this.#nodeQueue = controller.queue((name) => this.#reconcileNode(name));
    this.#podQueue = controller.queue((key) => this.#reconcilePod(key));
    this.#nodes.onChange(({ type, object, previous }) => {
      const name = object.metadata.name!;
      if (type === "deleted") {
        this.#heard.delete(name);
        return;
      }
      this.#nodeQueue.add(name);
      const taints = canonicalJson(object.spec?.taints ?? []);
      if (taints === canonicalJson(previous?.spec?.taints ?? [])) return;
      for (const pod of this.#pods.items.values())
        if (pod.spec.nodeName === name) this.#podQueue.add(objectKey(pod));
    });
    this.#pods.onChange(({ type, object, previous }) => {
      if (type === "deleted" || !object.spec.nodeName) return;
      if (previous === undefined || previous.spec.nodeName !== object.spec.nodeName)
        this.#podQueue.add(objectKey(object));
    });
    controller.every(monitorEveryMs, async () => {
      for (const name of this.#nodes.items.keys()) this.#listen(name);
    });
  }

  #isSilent(name: string): boolean {
    const heard = this.#heard.get(name);
    return heard !== undefined && Date.now() - heard.atMs > this.#controller.shared.flags.nodeMonitorGraceMs;
  }

  #listen(name: string): void {
    const node = this.#nodes.get(name)!;
    const lease = this.#leases.get(`${leaseNamespace}/${name}`);
    const heartbeat = findCondition(node, "Ready") as { lastHeartbeatTime?: string } | undefined;
    const sign = `${lease?.spec?.renewTime}|${heartbeat?.lastHeartbeatTime}`;
    if (this.#heard.get(name)?.sign !== sign) this.#heard.set(name, { sign, atMs: Date.now() });
    if (this.#isSilent(name) && findCondition(node, "Ready")?.status !== "Unknown") this.#nodeQueue.add(name);
  }

  async #reconcileNode(name: string): Promise<undefined> {
    let node = this.#nodes.get(name);
    if (node === undefined || node.metadata.deletionTimestamp !== undefined) return undefined;
    if (this.#isSilent(name) && findCondition(node, "Ready")?.status !== "Unknown")
      node = await this.#markSilent(node);
    const taints = nodeTaints(node);
    if (canonicalJson(taints) !== canonicalJson(node.spec?.taints ?? []))
      await this.#controller.client.patch(pathOf(resources.nodes, undefined, name), "merge", {
        metadata: { resourceVersion: node.metadata.resourceVersion },
        spec: { taints },
      });
    if (findCondition(node, "Ready")?.status === "Unknown") await this.#markPods(name);
    return undefined;
  }

  async #markSilent(node: KubeObject): Promise<KubeObject> {
    const { client, events } = this.#controller;
    const name = node.metadata.name!;
    const written = await client.replace(`${pathOf(resources.nodes, undefined, name)}/status`, {
      ...node,
      status: { ...node.status, conditions: silentConditions(node) },
    });
    events.normal(node, "NodeNotReady", `Node ${name} status is now: NodeNotReady`);
    return written;
  }

  /** Pods of a silent node do not count as ready, so that Services leave them out. */
  async #markPods(nodeName: string): Promise<void> {
    for (const pod of this.#pods.list()) {
      if (pod.spec.nodeName !== nodeName || !isPodReady(pod)) continue;
      const conditions = withCondition(pod.status.conditions, {
        ...findCondition(pod, "Ready")!,
        status: "False",
      }).filter(({ type }) => type === "Ready");
      const { namespace, name, uid } = pod.metadata;
      await this.#ignoringGone(
        this.#controller.client.patch(`${pathOf(resources.pods, namespace, name)}/status`, "strategic", {
          metadata: { uid },
          status: { conditions },
        }),
      );
      this.#controller.events.warning(pod, "NodeNotReady", "Node is not ready");
    }
  }

  async #reconcilePod(key: string): Promise<number | undefined> {
    const pod = this.#pods.get(key);
    if (pod === undefined || pod.metadata.deletionTimestamp !== undefined || hasPodEnded(pod))
      return undefined;
    const node = this.#nodes.get(pod.spec.nodeName);
    const taints: Taint[] = node?.spec?.taints ?? [];
    const delayMs = evictionDelayMs(pod, taints, Date.now());
    if (delayMs === undefined) return undefined;
    if (delayMs > 0) return delayMs;
    const { namespace, name, uid } = pod.metadata;
    this.#controller.events.normal(pod, "TaintManagerEviction", `Marking for deletion Pod ${key}`);
    await this.#ignoringGone(
      this.#controller.client.delete(pathOf(resources.pods, namespace, name), {
        apiVersion: "v1",
        kind: "DeleteOptions",
        preconditions: { uid },
      }),
    );
    return undefined;
  }

  async #ignoringGone(work: Promise<unknown>): Promise<void> {
    await work.catch((error) => {
      if (!isNotFound(error)) throw error;
    });
  }
}
