// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../../../lib/kube.ts";
import { isConflict, isNotFound } from "../../../../lib/kube-errors.ts";
import { type Change, Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Logger } from "../../../../lib/log.ts";
import { EventRecorder } from "../controller-manager/event-recorder.ts";
import { failureMessage, nodeFilter, type Refusal } from "./filters.ts";
import { findPreemption, preemptionMessage } from "./preemption.ts";
import { SchedulingQueue } from "./scheduling-queue.ts";
import { bestNode } from "./scores.ts";
import { Snapshot } from "./snapshot.ts";

const schedulerName = "default-scheduler";
const maxBindings = 16;

/** Gives every pod that asks for this scheduler a node, and says why when it cannot. */
export class Scheduler {
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #events: EventRecorder;
  readonly #pods: Informer;
  readonly #nodes: Informer;
  readonly #namespaces: Informer;
  readonly #queue = new SchedulingQueue();
  /** Node of pods whose binding was sent but is not in the cache yet, by uid. */
  readonly #assumed = new Map<string, { pod: KubeObject; nodeName: string }>();
  #snapshot: Snapshot | undefined;
  #binding = 0;
  #timer: NodeJS.Timeout | undefined;
  #running = false;

  constructor(client: KubeClient, log: Logger) {
    this.#client = client;
    this.#log = log;
    this.#events = new EventRecorder(client, schedulerName, log);
    this.#pods = new Informer(client, resourcePath("v1", "pods"), log);
    this.#nodes = new Informer(client, resourcePath("v1", "nodes"), log);
    this.#namespaces = new Informer(client, resourcePath("v1", "namespaces"), log);
    this.#pods.onChange((change) => this.#podChanged(change));
    this.#nodes.onChange((change) => this.#nodeChanged(change));
  }

  /** Schedules until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const informers = [this.#pods, this.#nodes, this.#namespaces];
    const running = informers.map((informer) => informer.run(signal));
    await Promise.all(informers.map((informer) => informer.whenSynced(signal)));
    this.#running = true;
    signal.addEventListener("abort", () => this.#stop(), { once: true });
    this.#soon();
    await Promise.all(running);
  }

  #stop(): void {
    this.#running = false;
    clearTimeout(this.#timer);
  }

  #podChanged({ type, object, previous }: Change): void {
    this.#snapshot = undefined;
    const key = objectKey(object);
    const uid = object.metadata.uid!;
    if (type === "deleted" || object.spec.nodeName) this.#assumed.delete(uid);
    if (type === "deleted" || !isWaiting(object)) {
      this.#queue.remove(key);
      // Room became free, or a pod came that another wants to be near.
      const hasEnded = type === "deleted" || isOver(object);
      const isNew = previous === undefined || previous.spec.nodeName !== object.spec.nodeName;
      if (hasEnded || isNew || previous.metadata.labels !== object.metadata.labels) this.#queue.wake("pod");
    } else if (!this.#assumed.has(uid)) {
      const isChanged = JSON.stringify(previous?.spec) !== JSON.stringify(object.spec);
      this.#queue.put(object, isChanged);
    }
    this.#soon();
  }

  #nodeChanged({ type, object, previous }: Change): void {
    this.#snapshot = undefined;
    if (type === "modified" && placeOf(object) === placeOf(previous!)) return;
    this.#queue.wake("node");
    this.#soon();
  }

  #soon(): void {
    if (!this.#running) return;
    clearTimeout(this.#timer);
    const delayMs = this.#queue.untilReadyMs();
    if (delayMs === undefined || this.#binding >= maxBindings) return;
    this.#timer = setTimeout(() => this.#scheduleReady(), Math.min(delayMs, 60_000));
  }

  #scheduleReady(): void {
    while (this.#running && this.#binding < maxBindings) {
      const pod = this.#queue.next();
      if (pod === undefined) break;
      try {
        this.#schedule(pod);
      } catch (error) {
        this.#log.error("scheduling failed", { pod: objectKey(pod), error });
      }
    }
    this.#soon();
  }

  #currentSnapshot(): Snapshot {
    if (this.#snapshot !== undefined) return this.#snapshot;
    const placed = [...this.#assumed.values()];
    for (const pod of this.#pods.items.values())
      if (pod.spec.nodeName && !isOver(pod)) placed.push({ pod, nodeName: pod.spec.nodeName });
    this.#snapshot = new Snapshot(this.#nodes.items.values(), placed, this.#namespaces.items);
    return this.#snapshot;
  }

  #schedule(pod: KubeObject): void {
    const snapshot = this.#currentSnapshot();
    const filter = nodeFilter(pod, snapshot);
    const refusals = new Map<string, Refusal>();
    const fitting = snapshot.list().filter((info) => {
      const refusal = filter(info);
      if (refusal !== undefined) refusals.set(info.name, refusal);
      return refusal === undefined;
    });
    if (fitting.length === 0) {
      void this.#refuse(pod, snapshot, refusals);
      return;
    }
    const info = bestNode(pod, fitting, snapshot);
    info.add(pod);
    this.#assumed.set(pod.metadata.uid!, { pod, nodeName: info.name });
    this.#queue.remove(objectKey(pod));
    void this.#bind(pod, info.name);
  }

  async #bind(pod: KubeObject, nodeName: string): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    this.#binding++;
    try {
      await this.#client.create(`${resourcePath("v1", "pods", namespace, name)}/binding`, {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name, namespace, uid },
        target: { apiVersion: "v1", kind: "Node", name: nodeName },
      });
      this.#events.normal(pod, "Scheduled", `Successfully assigned ${namespace}/${name} to ${nodeName}`);
    } catch (error) {
      this.#assumed.delete(uid!);
      this.#snapshot = undefined;
      const live = this.#pods.get(objectKey(pod));
      if (live !== undefined && isWaiting(live) && live.metadata.uid === uid) {
        this.#queue.put(live, false);
        this.#queue.next();
        this.#queue.retry(objectKey(live));
      }
      if (!isNotFound(error) && !isConflict(error))
        this.#log.warn("binding failed", { pod: objectKey(pod), node: nodeName, error: errorMessage(error) });
    } finally {
      this.#binding--;
      this.#soon();
    }
  }

  async #refuse(pod: KubeObject, snapshot: Snapshot, refusals: Map<string, Refusal>): Promise<void> {
    const preemption = findPreemption(pod, snapshot, refusals);
    const message = failureMessage(
      refusals,
      preemption === undefined && refusals.size > 0 ? preemptionMessage(pod, refusals) : undefined,
    );
    this.#events.warning(pod, "FailedScheduling", message);
    const status: Record<string, unknown> = {
      conditions: [
        {
          type: "PodScheduled",
          status: "False",
          reason: "Unschedulable",
          message,
          lastProbeTime: null,
          lastTransitionTime: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
        },
      ],
    };
    if (preemption !== undefined) status.nominatedNodeName = preemption.info.name;
    try {
      await this.#writeStatus(pod, status, message, preemption?.info.name);
      for (const victim of preemption?.victims ?? []) await this.#evict(victim, pod, preemption!.info.name);
    } catch (error) {
      if (!isNotFound(error))
        this.#log.warn("status not written", { pod: objectKey(pod), error: errorMessage(error) });
    }
  }

  async #writeStatus(pod: KubeObject, status: object, message: string, nominated?: string): Promise<void> {
    const conditions: any[] = pod.status?.conditions ?? [];
    const present = conditions.find(({ type }) => type === "PodScheduled");
    if (present?.message === message && pod.status?.nominatedNodeName === nominated) return;
    const path = resourcePath("v1", "pods", pod.metadata.namespace, pod.metadata.name);
    await this.#client.patch(`${path}/status`, "strategic", { metadata: { uid: pod.metadata.uid }, status });
  }

  async #evict(victim: KubeObject, pod: KubeObject, nodeName: string): Promise<void> {
    if (victim.metadata.deletionTimestamp !== undefined) return;
    const { namespace, name, uid } = victim.metadata;
    await this.#client.deleteIfExists(resourcePath("v1", "pods", namespace, name), {
      apiVersion: "v1",
      kind: "DeleteOptions",
      preconditions: { uid },
    });
    this.#events.normal(victim, "Preempted", `Preempted by pod ${pod.metadata.uid} on node ${nodeName}`);
  }
}

const isOver = (pod: KubeObject): boolean =>
  pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";

/** Whether a pod is this scheduler's to place. */
function isWaiting(pod: KubeObject): boolean {
  return (
    !pod.spec.nodeName &&
    !isOver(pod) &&
    pod.metadata.deletionTimestamp === undefined &&
    (pod.spec.schedulerName ?? schedulerName) === schedulerName &&
    (pod.spec.schedulingGates ?? []).length === 0
  );
}

/** What of a node decides who fits; the rest is heartbeat. */
function placeOf(node: KubeObject): string {
  return JSON.stringify([
    node.metadata.labels,
    node.spec?.taints,
    node.spec?.unschedulable,
    node.status?.allocatable,
  ]);
}
