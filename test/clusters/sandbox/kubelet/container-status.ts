// SPDX-License-Identifier: Apache-2.0
import { type ContainerSpec, initContainers, isSidecar, type Pod } from "./pod.ts";
import { latest, type PodRuntime, type RuntimeContainer } from "./pod-runtime.ts";

/** Why a container is not running yet, by container name. */
export type Waits = Map<string, { reason: string; message: string }>;

/** What the runtime cannot say about a pod's containers. */
export interface ContainerFacts {
  waits: Waits;
  /** True when the container with this id passes its readiness probe, or has none. */
  ready(id: string): boolean;
  started(id: string): boolean;
  /** The last words of the container with this id. */
  message(id: string): string;
}

/** Time as the API writes it: whole seconds, UTC. */
export function apiTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function terminated(container: RuntimeContainer, facts: ContainerFacts): any {
  const message = facts.message(container.id) || container.message;
  return {
    exitCode: container.exitCode,
    reason: container.reason || (container.exitCode === 0 ? "Completed" : "Error"),
    ...(message === "" ? {} : { message }),
    startedAt: apiTime(container.startedAtMs),
    finishedAt: apiTime(container.finishedAtMs),
    containerID: `containerd://${container.id}`,
  };
}

/** One entry of containerStatuses or initContainerStatuses. */
export function containerStatus(
  pod: Pod,
  container: ContainerSpec,
  runtime: PodRuntime,
  facts: ContainerFacts,
  old: any,
): any {
  const current = latest(runtime, container.name);
  const wait = facts.waits.get(container.name);
  if (current === undefined) return withoutContainer(pod, container, old, wait);
  const status: any = {
    name: container.name,
    state: {},
    lastState: {},
    ready: false,
    restartCount: current.restarts,
    image: current.image || container.image,
    imageID: current.imageRef,
    containerID: `containerd://${current.id}`,
    started: false,
  };
  const previous = runtime.containers.find(
    (entry) => entry.name === container.name && entry.attempt < current.attempt,
  );
  if (previous?.state === "exited") status.lastState = { terminated: terminated(previous, facts) };
  else if (old?.containerID === status.containerID || current.restarts > 0)
    status.lastState = old?.containerID === status.containerID ? (old.lastState ?? {}) : lastOf(old);
  if (current.state === "running") {
    status.state = { running: { startedAt: apiTime(current.startedAtMs) } };
    status.started = facts.started(current.id);
    status.ready = status.started && facts.ready(current.id) && !isPlainInit(pod, container);
  } else if (current.state === "exited") {
    status.state = { terminated: terminated(current, facts) };
    if (isPlainInit(pod, container) && current.exitCode === 0) status.ready = true;
    if (wait !== undefined) {
      status.lastState = status.state;
      status.state = { waiting: wait };
    }
  } else status.state = { waiting: wait ?? { reason: "ContainerCreating" } };
  return status;
}

/** An init container that has to end, well, before the others begin. */
function isPlainInit(pod: Pod, container: ContainerSpec): boolean {
  return initContainers(pod).includes(container) && !isSidecar(container);
}

function lastOf(old: any): any {
  if (old?.state?.terminated !== undefined) return { terminated: old.state.terminated };
  return old?.lastState ?? {};
}

function withoutContainer(pod: Pod, container: ContainerSpec, old: any, wait: any): any {
  if (old?.state?.terminated !== undefined && wait === undefined) return old;
  const isInit = initContainers(pod).includes(container);
  const waitsForInit = !isInit && initContainers(pod).length > 0;
  return {
    name: container.name,
    state: { waiting: wait ?? { reason: waitsForInit ? "PodInitializing" : "ContainerCreating" } },
    lastState: lastOf(old),
    ready: false,
    restartCount: old?.restartCount ?? 0,
    image: container.image,
    imageID: "",
    started: false,
  };
}
