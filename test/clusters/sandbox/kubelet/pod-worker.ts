// SPDX-License-Identifier: Apache-2.0
import { rm } from "node:fs/promises";
import { errorMessage } from "../../../../lib/errors.ts";
import { resourcePath } from "../../../../lib/kube.ts";
import { isConflict, isNotFound } from "../../../../lib/kube-errors.ts";
import { removeCgroup } from "./cgroups.ts";
import { ContainerStarter } from "./container-starter.ts";
import { ContainerStopper } from "./container-stopper.ts";
import { type KubeletNode, StartError } from "./kubelet-node.ts";
import { LastWords } from "./last-words.ts";
import { graceSeconds, isStatic, isTerminal, type Pod, podCgroups, podName, podUid } from "./pod.ts";
import { PodProbes } from "./pod-probes.ts";
import type { PodRuntime } from "./pod-runtime.ts";
import { podStatus, type Verdict } from "./pod-status.ts";
import { collectGarbage, syncPod } from "./pod-sync.ts";
import { podLogFolder } from "./sandbox-config.ts";
import { writeStatus } from "./status-writer.ts";
import { removePodFolder } from "./volumes.ts";

/** Milliseconds between two looks at a pod to which nothing happens. */
const RESYNC_MS = 20_000;

/** Looks after one pod, one step at a time, from its first container to its last trace. */
export class PodWorker {
  readonly #kubelet: KubeletNode;
  readonly #probes: PodProbes;
  readonly #starter: ContainerStarter;
  readonly #stopper: ContainerStopper;
  readonly #lastWords = new LastWords();
  readonly #onFinished: () => void;
  #pod: Pod;
  /** The object in the API that stands for a static pod. */
  #mirror: Pod | undefined;
  #gone = false;
  #verdict: Verdict | undefined;
  #ended = false;
  #failures = 0;
  #busy = false;
  #dirty = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #starting = new AbortController();

  constructor(kubelet: KubeletNode, pod: Pod, onFinished: () => void) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#onFinished = onFinished;
    this.#probes = new PodProbes(kubelet, () => this.wake());
    this.#starter = new ContainerStarter(kubelet, this.#probes);
    this.#stopper = new ContainerStopper(kubelet);
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** Takes over what the API (or the manifest) now says. */
  update(pod: Pod): void {
    if (isStatic(this.#pod)) this.#pod = { ...pod, status: this.#pod.status };
    else if (Number(pod.metadata.resourceVersion) >= Number(this.#pod.metadata.resourceVersion ?? 0))
      this.#pod = pod;
    if (this.#shouldEnd) this.#beginEnd();
    this.wake();
  }

  setMirror(mirror: Pod | undefined): void {
    this.#mirror = mirror;
    this.wake();
  }

  /** The pod no longer exists (or its manifest does not): everything of it has to go. */
  remove(last?: Pod): void {
    if (last !== undefined) this.#pod = last;
    this.#gone = true;
    this.#beginEnd();
    this.wake();
  }

  /** Looks at the pod as soon as the step under way has ended. */
  wake(): void {
    this.#dirty = true;
    if (!this.#busy) void this.#loop();
  }

  /** Leaves the pod as it is: the kubelet ends, its pods run on. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#probes.stop();
    this.#starting.abort();
  }

  get #shouldEnd(): boolean {
    return this.#gone || this.#pod.metadata.deletionTimestamp !== undefined || this.#verdict !== undefined;
  }

  #beginEnd(): void {
    this.#starting.abort(new Error("the pod is being deleted"));
    const grace = graceSeconds(this.#pod);
    this.#stopper.hurry(this.#gone ? Math.min(grace, 30) : grace);
  }

  async #loop(): Promise<void> {
    this.#busy = true;
    clearTimeout(this.#timer);
    let delayMs = RESYNC_MS;
    while (this.#dirty && !this.#stopped) {
      this.#dirty = false;
      try {
        delayMs = await this.#step();
        this.#failures = 0;
      } catch (error) {
        delayMs = this.#afterFailure(error);
      }
    }
    this.#busy = false;
    if (this.#stopped) return;
    this.#timer = setTimeout(() => this.wake(), delayMs);
  }

  #afterFailure(error: unknown): number {
    if (this.#starting.signal.aborted && !this.#ended && error === this.#starting.signal.reason) return 0;
    this.#failures += 1;
    const reason = error instanceof StartError ? error.reason : "FailedSync";
    this.#kubelet.log.warn(errorMessage(error), { pod: podName(this.#pod), reason });
    this.#kubelet.events.record(this.#pod, "Warning", reason, errorMessage(error));
    const steps = reason === "NetworkNotReady" ? 1 : Math.min(this.#failures, 6);
    return Math.min(1000 * 1.6 ** steps, 10_000);
  }

  /** One step; returns after how many milliseconds to look again if nothing happens before. */
  async #step(): Promise<number> {
    if (this.#ended) return await this.#leave();
    const { reader } = this.#kubelet;
    const runtime = await reader.read(podUid(this.#pod));
    const status = await this.#observe(runtime);
    if (this.#shouldEnd || isTerminal(this.#pod) || isTerminal({ ...this.#pod, status }))
      return await this.#end();
    await this.#report(status);
    const deadlineMs = this.#deadlineMs(status.startTime);
    if (deadlineMs <= 0) {
      const message = "Pod was active on the node longer than the specified deadline";
      this.#verdict = { phase: "Failed", reason: "DeadlineExceeded", message };
      this.#beginEnd();
      return await this.#end();
    }
    const tools = {
      kubelet: this.#kubelet,
      starter: this.#starter,
      stopper: this.#stopper,
      probes: this.#probes,
    };
    const result = await syncPod(tools, this.#pod, runtime, this.#starting.signal);
    const after = result.changed ? await reader.read(podUid(this.#pod)) : runtime;
    await this.#report(await this.#observe(after));
    await collectGarbage(this.#kubelet, this.#pod, after).catch((error) =>
      this.#kubelet.log.warn("cannot collect garbage", {
        pod: podName(this.#pod),
        error: errorMessage(error),
      }),
    );
    if (result.changed) this.#dirty = true;
    return Math.min(result.retryMs ?? RESYNC_MS, deadlineMs);
  }

  #deadlineMs(startTime: string): number {
    const limit = this.#pod.spec.activeDeadlineSeconds;
    return limit === undefined ? RESYNC_MS : Date.parse(startTime) + limit * 1000 - Date.now();
  }

  /** Reads what happened and computes the status that it makes. */
  async #observe(runtime: PodRuntime): Promise<any> {
    await this.#lastWords.collect(this.#pod, runtime);
    if (this.#ended) this.#probes.stop();
    else this.#probes.follow(this.#pod, runtime, this.#shouldEnd ? ["readiness"] : undefined);
    const facts = {
      waits: this.#shouldEnd ? new Map() : this.#starter.waits,
      ready: (id: string) => this.#probes.ready(id),
      started: (id: string) => this.#probes.started(id),
      message: (id: string) => this.#lastWords.of(id),
    };
    const hostIps = this.#kubelet.options.nodeIps;
    return podStatus({ pod: this.#pod, runtime, facts, hostIps, verdict: this.#verdict, nowMs: Date.now() });
  }

  async #report(status: any): Promise<void> {
    if (isStatic(this.#pod)) this.#pod = { ...this.#pod, status };
    const target = isStatic(this.#pod) ? this.#mirror : this.#pod;
    if (target === undefined || this.#gone) return;
    try {
      const stored = await writeStatus(this.#kubelet.client, target, status);
      if (stored === undefined) return;
      if (isStatic(this.#pod)) this.#mirror = stored;
      else if (Number(stored.metadata.resourceVersion) > Number(this.#pod.metadata.resourceVersion))
        this.#pod = stored;
    } catch (error) {
      // Gone, or another pod of the same name: the watch will tell.
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  /** Ends all containers, then everything else the pod has on this node. */
  async #end(): Promise<number> {
    const { cri, reader, options, tokens } = this.#kubelet;
    const uid = podUid(this.#pod);
    const grace = this.#gone ? Math.max(1, Math.min(graceSeconds(this.#pod), 30)) : graceSeconds(this.#pod);
    await this.#stopper.stopAll(this.#pod, await reader.read(uid), grace);
    const runtime = await reader.read(uid);
    for (const sandbox of runtime.sandboxes) await cri.stopPodSandbox(sandbox.id);
    this.#probes.stop();
    this.#verdict ??= lastVerdict(this.#pod, runtime);
    await this.#report(await this.#observe(await reader.read(uid)));
    await removePodFolder(options.rootDir, uid);
    for (const path of podCgroups(uid)) await removeCgroup(path);
    tokens.forget(uid);
    this.#ended = true;
    return await this.#leave();
  }

  /** Tells the API that nothing is left, and forgets the pod once the API has done so too. */
  async #leave(): Promise<number> {
    const { metadata } = this.#pod;
    if (!this.#gone && metadata.deletionTimestamp === undefined) return RESYNC_MS;
    if (!this.#gone) {
      const path = resourcePath("v1", "pods", metadata.namespace, metadata.name);
      try {
        const body = { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } };
        const left = await this.#kubelet.client.delete<Pod>(path, {
          apiVersion: "v1",
          kind: "DeleteOptions",
          ...body,
        });
        // A finalizer keeps the object; its deletion is somebody else's now.
        if ((left?.metadata?.finalizers ?? []).length > 0) return RESYNC_MS;
      } catch (error) {
        if (!isNotFound(error) && !isConflict(error)) throw error;
      }
    }
    await this.#forget();
    return RESYNC_MS;
  }

  async #forget(): Promise<void> {
    const { cri, reader, options } = this.#kubelet;
    const runtime = await reader.read(podUid(this.#pod));
    for (const container of runtime.containers) await cri.removeContainer(container.id);
    for (const sandbox of runtime.sandboxes) {
      await cri.stopPodSandbox(sandbox.id);
      await cri.removePodSandbox(sandbox.id);
    }
    await rm(podLogFolder(options.podLogsDir, this.#pod), { recursive: true, force: true });
    await removePodFolder(options.rootDir, podUid(this.#pod));
    this.stop();
    this.#onFinished();
  }
}

/** How a pod that was told to end has ended. */
function lastVerdict(pod: Pod, runtime: PodRuntime): Verdict | undefined {
  if (isTerminal(pod) || pod.metadata.deletionTimestamp === undefined) return undefined;
  const names: string[] = pod.spec.containers.map((container: any) => container.name);
  const all = names.map((name) => runtime.containers.find((container) => container.name === name));
  const well = all.every((container) => container?.state === "exited" && container.exitCode === 0);
  return { phase: well ? "Succeeded" : "Failed", reason: "", message: "" };
}
