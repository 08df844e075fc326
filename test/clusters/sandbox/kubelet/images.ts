// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { Backoff } from "./backoff.ts";
import type { ImageInfo, SandboxConfig } from "./cri-messages.ts";
import { type KubeletNode, StartError } from "./kubelet-node.ts";
import type { ContainerSpec, Pod } from "./pod.ts";

/** Adds the tag `latest` to an image name that has neither tag nor digest. */
export function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf("/") + 1);
  return last.includes(":") || last.includes("@") ? image : `${image}:latest`;
}

/** What to do about an image by default: `latest` is looked for again each time, others are kept. */
export function pullPolicy(container: ContainerSpec): "Always" | "IfNotPresent" | "Never" {
  return (
    container.imagePullPolicy ?? (withTag(container.image).endsWith(":latest") ? "Always" : "IfNotPresent")
  );
}

/** Sees to it that one pod's images are on the node. */
export class ImageStore {
  readonly #backoff = new Backoff(10_000, 300_000);
  readonly #failedMs = new Map<string, number>();

  /** The image on the node, pulled if the policy says so. Throws StartError with the reason shown in status. */
  async ensure(
    kubelet: KubeletNode,
    pod: Pod,
    container: ContainerSpec,
    sandbox: SandboxConfig,
    fieldPath: string,
  ): Promise<ImageInfo> {
    const name: string = container.image;
    const policy = pullPolicy(container);
    const tell = (type: "Normal" | "Warning", reason: string, message: string) =>
      kubelet.events.record(pod, type, reason, message, fieldPath);
    const present = await kubelet.cri.imageStatus(withTag(name));
    if (present !== undefined && policy !== "Always") {
      tell("Normal", "Pulled", `Container image "${name}" already present on machine`);
      return present;
    }
    if (policy === "Never") {
      const message = `Container image "${name}" is not present with pull policy of Never`;
      tell("Warning", "ErrImageNeverPull", message);
      throw new StartError("ErrImageNeverPull", message);
    }
    const failed = this.#failedMs.get(name);
    if (failed !== undefined && this.#backoff.remainingMs(name, failed, Date.now()) > 0) {
      tell("Normal", "BackOff", `Back-off pulling image "${name}"`);
      throw new StartError("ImagePullBackOff", `Back-off pulling image "${name}"`);
    }
    tell("Normal", "Pulling", `Pulling image "${name}"`);
    const start = Date.now();
    try {
      await kubelet.cri.pullImage(withTag(name), sandbox);
      const pulled = await kubelet.cri.imageStatus(withTag(name));
      if (pulled === undefined) throw new Error("the image is not there after it was pulled");
      tell("Normal", "Pulled", `Successfully pulled image "${name}" in ${Date.now() - start}ms`);
      this.#failedMs.delete(name);
      this.#backoff.forget(name);
      return pulled;
    } catch (error) {
      this.#failedMs.set(name, Date.now());
      this.#backoff.next(name, Date.now());
      const message = `Failed to pull image "${name}": ${errorMessage(error)}`;
      tell("Warning", "Failed", message);
      throw new StartError("ErrImagePull", message);
    }
  }
}
