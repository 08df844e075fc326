// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { withDeadline } from "../../../../lib/wait.ts";
import { runHook } from "./hooks.ts";
import type { KubeletNode } from "./kubelet-node.ts";
import { allContainers, initContainers, isSidecar, type Pod } from "./pod.ts";
import type { PodRuntime, RuntimeContainer } from "./pod-runtime.ts";

/** Seconds that a container gets to end by itself even when none are left. */
const MINIMUM_SECONDS = 2;

/** Ends containers the way their pod asks for: preStop hook, stop signal, time to end, SIGKILL. */
export class ContainerStopper {
  readonly #kubelet: KubeletNode;
  readonly #active = new Map<string, number>();

  constructor(kubelet: KubeletNode) {
    this.#kubelet = kubelet;
  }

  /** Ends every container of a pod; the sidecars after the others, the last one first. */
  async stopAll(pod: Pod, runtime: PodRuntime, graceSeconds: number): Promise<void> {
    const deadlineMs = Date.now() + graceSeconds * 1000;
    const alive = runtime.containers.filter(
      (entry) => entry.state === "running" || entry.state === "unknown",
    );
    const sidecars = initContainers(pod)
      .filter(isSidecar)
      .map((container) => container.name)
      .reverse();
    const left = () => Math.max(0, (deadlineMs - Date.now()) / 1000);
    const others = alive.filter((entry) => !sidecars.includes(entry.name));
    await Promise.all(others.map((entry) => this.stop(pod, entry, graceSeconds, "Stopping container")));
    for (const name of sidecars)
      for (const entry of alive.filter((candidate) => candidate.name === name))
        await this.stop(pod, entry, left(), "Stopping container");
  }

  /** Ends one container; returns when its process is gone. */
  async stop(pod: Pod, container: RuntimeContainer, graceSeconds: number, why: string): Promise<void> {
    const spec = allContainers(pod).find((entry) => entry.name === container.name);
    const message = why === "Stopping container" ? `Stopping container ${container.name}` : why;
    this.#kubelet.events.record(pod, "Normal", "Killing", message, `spec.containers{${container.name}}`);
    const startMs = Date.now();
    this.#active.set(container.id, graceSeconds);
    try {
      const hook = spec?.lifecycle?.preStop;
      if (hook !== undefined && graceSeconds > 0)
        await this.#preStop(pod, spec, container, hook, graceSeconds);
      const used = (Date.now() - startMs) / 1000;
      const limit = this.#active.get(container.id) ?? graceSeconds;
      const seconds = graceSeconds === 0 ? 0 : Math.max(MINIMUM_SECONDS, Math.ceil(limit - used));
      await this.#kubelet.cri.stopContainer(container.id, seconds);
    } finally {
      this.#active.delete(container.id);
    }
  }

  /** Shortens the time that containers being stopped have left. */
  hurry(graceSeconds: number): void {
    for (const [id, seconds] of this.#active) {
      if (graceSeconds >= seconds) continue;
      this.#active.set(id, graceSeconds);
      this.#kubelet.cri
        .stopContainer(id, graceSeconds)
        .catch((error) =>
          this.#kubelet.log.warn("cannot hurry a container's end", { id, error: errorMessage(error) }),
        );
    }
  }

  async #preStop(
    pod: Pod,
    spec: any,
    container: RuntimeContainer,
    hook: any,
    graceSeconds: number,
  ): Promise<void> {
    try {
      const run = runHook(this.#kubelet, pod, spec, container.id, hook);
      await withDeadline("preStop hook", run, graceSeconds * 1000);
    } catch (error) {
      const text = `PreStopHook failed: ${errorMessage(error)}`;
      this.#kubelet.events.record(pod, "Warning", "FailedPreStopHook", text, `spec.containers{${spec.name}}`);
    }
  }
}
