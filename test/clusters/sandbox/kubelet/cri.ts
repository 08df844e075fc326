// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from "node:url";
import { type Client, credentials, loadPackageDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ShuntError } from "../../../../lib/errors.ts";
import type {
  ContainerConfig,
  ContainerInfo,
  ContainerStats,
  ContainerStatus,
  ImageInfo,
  RuntimeCondition,
  SandboxConfig,
  SandboxInfo,
  SandboxStatus,
} from "./cri-messages.ts";

/** A call that the container runtime refused. */
export class CriError extends ShuntError {
  readonly grpcCode: number;
  constructor(method: string, cause: ServiceError) {
    super(cause.details || cause.message, { code: `Cri${method}`, cause });
    this.name = "CriError";
    this.grpcCode = cause.code;
  }
}

const isGone = (error: unknown): boolean => error instanceof CriError && error.grpcCode === status.NOT_FOUND;

/** Milliseconds for calls that only read or change the runtime's memory. */
const SHORT_MS = 30_000;
/** Milliseconds for calls that wait for processes or CNI plugins. */
const LONG_MS = 4 * 60_000;

/** The Container Runtime Interface of containerd over its unix socket. Removing what is gone succeeds. */
export class CriClient {
  readonly #runtime: Client;
  readonly #images: Client;

  /** @param endpoint `unix:///run/containerd/containerd.sock` */
  constructor(endpoint: string) {
    const definition = loadSync(fileURLToPath(new URL("./cri.proto", import.meta.url)), {
      keepCase: true,
      longs: Number,
      enums: String,
      defaults: true,
      oneofs: true,
    });
    const { v1 } = loadPackageDefinition(definition).runtime as any;
    const channel = {
      "grpc.max_receive_message_length": 16 * 1024 * 1024,
      "grpc.max_reconnect_backoff_ms": 1_000,
    };
    this.#runtime = new v1.RuntimeService(endpoint, credentials.createInsecure(), channel);
    this.#images = new v1.ImageService(endpoint, credentials.createInsecure(), channel);
  }

  close(): void {
    this.#runtime.close();
    this.#images.close();
  }

  #call<T>(client: Client, method: string, request: object, timeoutMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + timeoutMs };
      (client as any)[method](request, options, (error: ServiceError | null, answer: T) =>
        error === null ? resolve(answer) : reject(new CriError(method, error)),
      );
    });
  }

  #run<T>(method: string, request: object, timeoutMs = SHORT_MS): Promise<T> {
    return this.#call(this.#runtime, method, request, timeoutMs);
  }

  async #unlessGone(method: string, request: object, timeoutMs: number): Promise<void> {
    try {
      await this.#run(method, request, timeoutMs);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  version(): Promise<{ runtime_name: string; runtime_version: string }> {
    return this.#run("Version", {}, 5_000);
  }

  async conditions(): Promise<RuntimeCondition[]> {
    const answer = await this.#run<any>("Status", {}, 10_000);
    return answer.status?.conditions ?? [];
  }

  async runPodSandbox(config: SandboxConfig): Promise<string> {
    const answer = await this.#run<any>("RunPodSandbox", { config }, LONG_MS);
    return answer.pod_sandbox_id;
  }

  stopPodSandbox(id: string): Promise<void> {
    return this.#unlessGone("StopPodSandbox", { pod_sandbox_id: id }, LONG_MS);
  }

  removePodSandbox(id: string): Promise<void> {
    return this.#unlessGone("RemovePodSandbox", { pod_sandbox_id: id }, LONG_MS);
  }

  async podSandboxStatus(id: string): Promise<SandboxStatus | undefined> {
    try {
      const answer = await this.#run<any>("PodSandboxStatus", { pod_sandbox_id: id });
      return answer.status ?? undefined;
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  async listPodSandboxes(labels: Record<string, string> = {}): Promise<SandboxInfo[]> {
    const answer = await this.#run<any>("ListPodSandbox", { filter: { label_selector: labels } });
    return answer.items;
  }

  async listContainers(labels: Record<string, string> = {}): Promise<ContainerInfo[]> {
    const answer = await this.#run<any>("ListContainers", { filter: { label_selector: labels } });
    return answer.containers;
  }

  async containerStatus(id: string): Promise<ContainerStatus | undefined> {
    try {
      const answer = await this.#run<any>("ContainerStatus", { container_id: id });
      return answer.status ?? undefined;
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  /** The container's first process as this pid namespace numbers it; undefined when it does not run (any more). */
  async containerPid(id: string): Promise<number | undefined> {
    const answer = await this.#run<any>("ContainerStatus", { container_id: id, verbose: true });
    const { pid } = JSON.parse(answer.info?.info ?? "{}");
    return typeof pid === "number" && pid > 0 ? pid : undefined;
  }

  async createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandboxConfig: SandboxConfig,
  ): Promise<string> {
    const request = { pod_sandbox_id: sandboxId, config, sandbox_config: sandboxConfig };
    const answer = await this.#run<any>("CreateContainer", request, LONG_MS);
    return answer.container_id;
  }

  async startContainer(id: string): Promise<void> {
    await this.#run("StartContainer", { container_id: id }, LONG_MS);
  }

  /** Sends the stop signal, and SIGKILL `graceSeconds` later; returns when the container has ended. */
  stopContainer(id: string, graceSeconds: number): Promise<void> {
    const request = { container_id: id, timeout: graceSeconds };
    return this.#unlessGone("StopContainer", request, graceSeconds * 1000 + 120_000);
  }

  removeContainer(id: string): Promise<void> {
    return this.#unlessGone("RemoveContainer", { container_id: id }, LONG_MS);
  }

  async reopenContainerLog(id: string): Promise<void> {
    await this.#run("ReopenContainerLog", { container_id: id });
  }

  /** Runs a command in a container to its end. Rejects with DEADLINE_EXCEEDED when it takes too long. */
  execSync(
    id: string,
    command: string[],
    timeoutSeconds: number,
  ): Promise<{ stdout: Buffer; stderr: Buffer; exit_code: number }> {
    const request = { container_id: id, cmd: command, timeout: timeoutSeconds };
    return this.#run("ExecSync", request, timeoutSeconds === 0 ? LONG_MS : timeoutSeconds * 1000 + 10_000);
  }

  /** The one-time URL of a stream into a container or sandbox, served by the runtime on the node's loopback. */
  async streamUrl(method: "Exec" | "Attach" | "PortForward", request: object): Promise<string> {
    const answer = await this.#run<any>(method, request);
    return answer.url;
  }

  async containerStats(): Promise<ContainerStats[]> {
    const answer = await this.#run<any>("ListContainerStats", {});
    return answer.stats;
  }

  async listImages(): Promise<ImageInfo[]> {
    const answer = await this.#call<any>(this.#images, "ListImages", {}, SHORT_MS);
    return answer.images;
  }

  async imageStatus(image: string): Promise<ImageInfo | undefined> {
    const answer = await this.#call<any>(this.#images, "ImageStatus", { image: { image } }, SHORT_MS);
    return answer.image ?? undefined;
  }

  async pullImage(image: string, sandboxConfig: SandboxConfig): Promise<string> {
    const request = { image: { image }, sandbox_config: sandboxConfig };
    const answer = await this.#call<any>(this.#images, "PullImage", request, 10 * 60_000);
    return answer.image_ref;
  }
}
