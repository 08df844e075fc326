// SPDX-License-Identifier: Apache-2.0
import { mkdir } from "node:fs/promises";
import { setPriority } from "node:os";
import { join } from "node:path";
import { errorMessage } from "../../../../lib/errors.ts";
import { Backoff } from "./backoff.ts";
import { containerConfig, containerHash } from "./container-config.ts";
import type { Waits } from "./container-status.ts";
import type { SandboxConfig } from "./cri-messages.ts";
import { runHook } from "./hooks.ts";
import { ImageStore } from "./images.ts";
import { type KubeletNode, StartError } from "./kubelet-node.ts";
import { type ContainerSpec, initContainers, type Pod, podName, podUid } from "./pod.ts";
import type { PodProbes } from "./pod-probes.ts";
import { latest, type PodRuntime, type Sandbox } from "./pod-runtime.ts";

/** Nice value of what a node lives from. */
const criticalPriority = -10;

/** A sandbox ready for containers. */
export interface ReadySandbox {
  sandbox: Sandbox;
  config: SandboxConfig;
  volumes: Map<string, string>;
}

/** Starts the containers of one pod, holding back those that keep failing. */
export class ContainerStarter {
  readonly waits: Waits = new Map();
  readonly #kubelet: KubeletNode;
  readonly #probes: PodProbes;
  readonly #crashes = new Backoff(10_000, 300_000);
  readonly #images = new ImageStore();
  /** When a container that could not be started may be tried again, by name. */
  readonly #notBeforeMs = new Map<string, number>();

  constructor(kubelet: KubeletNode, probes: PodProbes) {
    this.#kubelet = kubelet;
    this.#probes = probes;
  }

  /**
   * Starts a container, or says in `waits` why not.
   * @returns milliseconds until it should be tried again; undefined when it was started
   */
  async start(
    pod: Pod,
    container: ContainerSpec,
    runtime: PodRuntime,
    ready: ReadySandbox,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const pauseMs = (this.#notBeforeMs.get(container.name) ?? 0) - Date.now();
    if (pauseMs > 0) return pauseMs;
    const heldMs = this.#heldBackMs(pod, container, runtime);
    if (heldMs > 0) return heldMs;
    try {
      await this.#start(pod, container, runtime, ready, signal);
      this.waits.delete(container.name);
      return undefined;
    } catch (error) {
      const reason = error instanceof StartError ? error.reason : "RunContainerError";
      this.waits.set(container.name, { reason, message: errorMessage(error) });
      if (!reason.includes("Image"))
        this.#tell(pod, container, "Warning", "Failed", `Error: ${errorMessage(error)}`);
      const retryMs = reason.includes("Image") ? 8_000 : 3_000;
      this.#notBeforeMs.set(container.name, Date.now() + retryMs);
      return retryMs;
    }
  }

  #heldBackMs(pod: Pod, container: ContainerSpec, runtime: PodRuntime): number {
    const last = latest(runtime, container.name);
    if (last === undefined || last.state === "running") return 0;
    const key = `${container.name} ${containerHash(container)}`;
    const failedMs = last.finishedAtMs > 0 ? last.finishedAtMs : last.createdAtMs;
    const remainingMs = this.#crashes.remainingMs(key, failedMs, Date.now());
    if (remainingMs === 0) {
      this.#crashes.next(key, failedMs);
      return 0;
    }
    const delay = formatDelay(this.#crashes.delayMs(key));
    const who = `container=${container.name} pod=${pod.metadata.name}_${pod.metadata.namespace}(${podUid(pod)})`;
    this.waits.set(container.name, {
      reason: "CrashLoopBackOff",
      message: `back-off ${delay} restarting failed ${who}`,
    });
    const text = `Back-off restarting failed container ${container.name} in pod ${pod.metadata.name}_${pod.metadata.namespace}(${podUid(pod)})`;
    this.#tell(pod, container, "Warning", "BackOff", text);
    return remainingMs;
  }

  async #start(
    pod: Pod,
    container: ContainerSpec,
    runtime: PodRuntime,
    ready: ReadySandbox,
    signal: AbortSignal,
  ): Promise<void> {
    const { cri } = this.#kubelet;
    const field = fieldPath(pod, container);
    const image = await this.#images.ensure(this.#kubelet, pod, container, ready.config, field);
    signal.throwIfAborted();
    const restarts = nextRestart(pod, container, runtime);
    const plan = {
      pod,
      container,
      attempt: restarts,
      restarts,
      image,
      podIps: ready.sandbox.ips,
      volumes: ready.volumes,
    };
    const config = await containerConfig(this.#kubelet, plan);
    await mkdir(join(ready.config.log_directory, container.name), { recursive: true });
    const create = cri.createContainer(ready.sandbox.id, config, ready.config);
    const id = await create.catch((error) => {
      throw new StartError("CreateContainerError", errorMessage(error));
    });
    this.#tell(pod, container, "Normal", "Created", `Created container ${container.name}`);
    const hook = container.lifecycle?.postStart;
    if (hook !== undefined) this.#probes.pendingHooks.add(id);
    await cri.startContainer(id);
    if (pod.spec.priorityClassName?.startsWith("system-")) await this.#prefer(id);
    this.#tell(pod, container, "Normal", "Started", `Started container ${container.name}`);
    if (hook !== undefined) await this.#postStart(pod, container, id, hook);
  }

  /**
   * Nodes of a sandbox have no CPU controller of their own, by which what they live from gets its share: here it is
   * scheduled before what they carry.
   */
  async #prefer(id: string): Promise<void> {
    try {
      const pid = await this.#kubelet.cri.containerPid(id);
      if (pid !== undefined) setPriority(pid, criticalPriority);
    } catch (error) {
      this.#kubelet.log.debug("priority not set", { container: id, error: errorMessage(error) });
    }
  }

  async #postStart(pod: Pod, container: ContainerSpec, id: string, hook: any): Promise<void> {
    try {
      await runHook(this.#kubelet, pod, container, id, hook);
    } catch (error) {
      const message = `PostStartHook failed: ${errorMessage(error)}`;
      this.#tell(pod, container, "Warning", "FailedPostStartHook", message);
      await this.#kubelet.cri.stopContainer(id, 2);
      throw new StartError("PostStartHookError", message);
    } finally {
      this.#probes.pendingHooks.delete(id);
    }
  }

  #tell(pod: Pod, container: ContainerSpec, type: "Normal" | "Warning", reason: string, text: string): void {
    this.#kubelet.events.record(pod, type, reason, text, fieldPath(pod, container));
    this.#kubelet.log.debug(text, { pod: podName(pod), container: container.name });
  }
}

/** Counts on from the newest container, or from the status when the runtime has forgotten it. */
function nextRestart(pod: Pod, container: ContainerSpec, runtime: PodRuntime): number {
  const last = latest(runtime, container.name);
  if (last !== undefined) return last.restarts + 1;
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const old = statuses.find((entry) => entry.name === container.name);
  return old?.containerID === undefined ? 0 : (old.restartCount ?? 0) + 1;
}

function fieldPath(pod: Pod, container: ContainerSpec): string {
  return `spec.${initContainers(pod).includes(container) ? "initContainers" : "containers"}{${container.name}}`;
}

function formatDelay(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
