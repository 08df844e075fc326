// SPDX-License-Identifier: Apache-2.0
import type { CriClient } from "./cri.ts";
import type { ContainerInfo, ContainerStatus, SandboxInfo } from "./cri-messages.ts";

export const POD_UID_LABEL = "io.kubernetes.pod.uid";
export const POD_NAME_LABEL = "io.kubernetes.pod.name";
export const POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace";
export const CONTAINER_NAME_LABEL = "io.kubernetes.container.name";
export const CONTAINER_HASH_ANNOTATION = "io.kubernetes.container.hash";
export const RESTARTS_ANNOTATION = "io.kubernetes.container.restartCount";
export const GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod";
export const MESSAGE_FILE_ANNOTATION = "shunt.dev/termination-message-file";

/** A pod sandbox as the runtime has it. */
export interface Sandbox {
  id: string;
  attempt: number;
  ready: boolean;
  createdAtMs: number;
  hostNetwork: boolean;
  ips: string[];
}

export type ContainerState = "created" | "running" | "exited" | "unknown";

/** A container as the runtime has it. */
export interface RuntimeContainer {
  id: string;
  name: string;
  sandboxId: string;
  attempt: number;
  state: ContainerState;
  createdAtMs: number;
  startedAtMs: number;
  finishedAtMs: number;
  exitCode: number;
  reason: string;
  message: string;
  image: string;
  imageRef: string;
  /** Of the container's spec when it was made. */
  hash: string;
  restarts: number;
  logPath: string;
  messageFile: string;
}

/** What the runtime has of one pod; sandboxes and containers newest first. */
export interface PodRuntime {
  sandboxes: Sandbox[];
  containers: RuntimeContainer[];
}

/** The newest container of this name, in one sandbox or in any. */
export function latest(runtime: PodRuntime, name: string, sandboxId?: string): RuntimeContainer | undefined {
  return runtime.containers.find(
    (entry) => entry.name === name && (sandboxId === undefined || entry.sandboxId === sandboxId),
  );
}

const states: Record<string, ContainerState> = {
  CONTAINER_CREATED: "created",
  CONTAINER_RUNNING: "running",
  CONTAINER_EXITED: "exited",
};

const toMs = (nanoseconds: number): number => Math.round(nanoseconds / 1e6);

/** Reads pods from the runtime, asking for details only when a state has changed since the last time. */
export class RuntimeReader {
  readonly #cri: CriClient;
  readonly #containers = new Map<string, RuntimeContainer>();
  readonly #sandboxes = new Map<string, Sandbox>();

  constructor(cri: CriClient) {
    this.#cri = cri;
  }

  async read(uid: string): Promise<PodRuntime> {
    const labels = { [POD_UID_LABEL]: uid };
    const [sandboxes, containers] = await Promise.all([
      this.#cri.listPodSandboxes(labels),
      this.#cri.listContainers(labels),
    ]);
    const runtime: PodRuntime = { sandboxes: [], containers: [] };
    for (const info of sandboxes) {
      const sandbox = await this.#sandbox(info);
      if (sandbox !== undefined) runtime.sandboxes.push(sandbox);
    }
    for (const info of containers) {
      const container = await this.#container(info);
      if (container !== undefined) runtime.containers.push(container);
    }
    runtime.sandboxes.sort((a, b) => b.createdAtMs - a.createdAtMs || b.attempt - a.attempt);
    runtime.containers.sort((a, b) => b.createdAtMs - a.createdAtMs || b.attempt - a.attempt);
    return runtime;
  }

  /** Drops what is remembered of everything that the runtime no longer has. */
  retain(ids: Set<string>): void {
    for (const id of this.#containers.keys()) if (!ids.has(id)) this.#containers.delete(id);
    for (const id of this.#sandboxes.keys()) if (!ids.has(id)) this.#sandboxes.delete(id);
  }

  async #sandbox(info: SandboxInfo): Promise<Sandbox | undefined> {
    const ready = info.state === "SANDBOX_READY";
    const known = this.#sandboxes.get(info.id);
    if (known?.ready === ready) return known;
    const status = await this.#cri.podSandboxStatus(info.id);
    if (status === undefined) return undefined;
    const network = status.network;
    const sandbox: Sandbox = {
      id: info.id,
      attempt: info.metadata.attempt,
      ready: status.state === "SANDBOX_READY",
      createdAtMs: toMs(status.created_at),
      hostNetwork: status.linux?.namespaces?.options?.network === "NODE",
      ips: network === null ? [] : [network.ip, ...network.additional_ips.map((entry) => entry.ip)],
    };
    sandbox.ips = sandbox.ips.filter((address) => address !== "");
    this.#sandboxes.set(info.id, sandbox);
    return sandbox;
  }

  async #container(info: ContainerInfo): Promise<RuntimeContainer | undefined> {
    const known = this.#containers.get(info.id);
    if (known !== undefined && known.state === (states[info.state] ?? "unknown")) return known;
    const status = await this.#cri.containerStatus(info.id);
    if (status === undefined) return undefined;
    const container = fromStatus(info, status);
    this.#containers.set(info.id, container);
    return container;
  }
}

function fromStatus(info: ContainerInfo, status: ContainerStatus): RuntimeContainer {
  return {
    id: info.id,
    name: info.labels[CONTAINER_NAME_LABEL] ?? info.metadata.name,
    sandboxId: info.pod_sandbox_id,
    attempt: info.metadata.attempt,
    state: states[status.state] ?? "unknown",
    createdAtMs: toMs(status.created_at),
    startedAtMs: toMs(status.started_at),
    finishedAtMs: toMs(status.finished_at),
    exitCode: status.exit_code,
    reason: status.reason,
    message: status.message,
    image: status.image?.image ?? "",
    imageRef: status.image_ref,
    hash: info.annotations[CONTAINER_HASH_ANNOTATION] ?? "",
    restarts: Number(info.annotations[RESTARTS_ANNOTATION] ?? info.metadata.attempt),
    logPath: status.log_path,
    messageFile: info.annotations[MESSAGE_FILE_ANNOTATION] ?? "",
  };
}
