// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import type { Change, Informer } from "../../../../lib/kube-informer.ts";
import { sleep } from "../../../../lib/wait.ts";
import { podsWithCgroup, removeCgroup } from "./cgroups.ts";
import type { SandboxInfo } from "./cri-messages.ts";
import type { KubeletNode } from "./kubelet-node.ts";
import { isMirror, type Pod, podCgroups, podName, podUid } from "./pod.ts";
import { POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL } from "./pod-runtime.ts";
import { PodWorker } from "./pod-worker.ts";
import { podFolders, removePodFolder } from "./volumes.ts";

/** Milliseconds between two looks at what runs. */
const RELIST_MS = 500;

/** Gives every pod of the node a worker, and wakes it when something happens to the pod. */
export class PodManager {
  readonly #kubelet: KubeletNode;
  readonly #workers = new Map<string, PodWorker>();
  readonly #mirrors = new Map<string, Pod>();
  #seen = new Map<string, string>();
  #synced = false;

  constructor(kubelet: KubeletNode) {
    this.#kubelet = kubelet;
  }

  pods(): Pod[] {
    return [...this.#workers.values()].map((worker) => worker.pod);
  }

  find(namespace: string, name: string): Pod | undefined {
    return this.pods().find((pod) => pod.metadata.namespace === namespace && pod.metadata.name === name);
  }

  /** Follows the pods that the API places on this node. */
  async follow(pods: Informer<Pod>, signal: AbortSignal): Promise<void> {
    pods.onChange((change) => this.#onChange(change));
    void pods.run(signal);
    await pods.whenSynced(signal);
    this.#synced = true;
    await this.#removeStrayFolders();
  }

  wakeAll(): void {
    for (const worker of this.#workers.values()) worker.wake();
  }

  stop(): void {
    for (const worker of this.#workers.values()) worker.stop();
  }

  /** Takes over a pod, or what is new about it. */
  set(pod: Pod): void {
    const uid = podUid(pod);
    const worker = this.#workers.get(uid);
    if (worker !== undefined) {
      worker.update(pod);
      return;
    }
    const fresh = new PodWorker(this.#kubelet, pod, () => this.#workers.delete(uid));
    this.#workers.set(uid, fresh);
    const mirror = this.#mirrors.get(podName(pod));
    if (mirror !== undefined) fresh.setMirror(mirror);
    fresh.wake();
  }

  /** A pod or a manifest is gone. */
  remove(uid: string, last?: Pod): void {
    this.#workers.get(uid)?.remove(last);
  }

  mirrors(): Pod[] {
    return [...this.#mirrors.values()];
  }

  mirror(pod: Pod): Pod | undefined {
    return this.#mirrors.get(podName(pod));
  }

  #onChange({ type, object }: Change<Pod>): void {
    // Items of a list do not carry their kind, which events name.
    const pod = { kind: "Pod", apiVersion: "v1", ...object };
    if (isMirror(pod)) this.#onMirror(type, pod);
    else if (type === "deleted") this.remove(podUid(pod), pod);
    else this.set(pod);
  }

  #onMirror(type: string, pod: Pod): void {
    const name = podName(pod);
    if (type === "deleted") this.#mirrors.delete(name);
    else this.#mirrors.set(name, pod);
    for (const worker of this.#workers.values())
      if (podName(worker.pod) === name) worker.setMirror(type === "deleted" ? undefined : pod);
  }

  /** Looks at the runtime again and again, and wakes the pods to which something happened. */
  async watchRuntime(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#relist();
      } catch (error) {
        this.#kubelet.log.warn("cannot list what runs", { error: errorMessage(error) });
      }
      await sleep(RELIST_MS, signal).catch(() => undefined);
    }
  }

  async #relist(): Promise<void> {
    const { cri, reader } = this.#kubelet;
    const [sandboxes, containers] = await Promise.all([cri.listPodSandboxes(), cri.listContainers()]);
    const states = new Map<string, string[]>();
    for (const entry of [...sandboxes, ...containers]) {
      const uid = entry.labels[POD_UID_LABEL];
      if (uid === undefined) continue;
      const list = states.get(uid) ?? [];
      list.push(`${entry.id} ${entry.state}`);
      states.set(uid, list);
    }
    reader.retain(new Set([...sandboxes, ...containers].map((entry) => entry.id)));
    const now = new Map([...states].map(([uid, list]) => [uid, list.sort().join("\n")]));
    for (const uid of new Set([...now.keys(), ...this.#seen.keys()]))
      if (now.get(uid) !== this.#seen.get(uid)) this.#workers.get(uid)?.wake();
    this.#seen = now;
    if (this.#synced) this.#adoptOrphans(sandboxes);
  }

  /** What runs for a pod that the API no longer knows is ended as if the pod had just been deleted. */
  #adoptOrphans(sandboxes: SandboxInfo[]): void {
    for (const { labels } of sandboxes) {
      const uid = labels[POD_UID_LABEL];
      if (uid === undefined || this.#workers.has(uid)) continue;
      const metadata = {
        uid,
        name: labels[POD_NAME_LABEL] ?? "",
        namespace: labels[POD_NAMESPACE_LABEL] ?? "",
      };
      this.#kubelet.log.info("ending a pod that is not in the API", {
        pod: `${metadata.namespace}/${metadata.name}`,
      });
      this.set({ apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [] } });
      this.remove(uid);
    }
  }

  async #removeStrayFolders(): Promise<void> {
    const { cri, options } = this.#kubelet;
    const alive = new Set((await cri.listPodSandboxes()).map((entry) => entry.labels[POD_UID_LABEL]));
    const isStray = (uid: string) => !this.#workers.has(uid) && !alive.has(uid);
    for (const uid of await podFolders(options.rootDir))
      if (isStray(uid)) await removePodFolder(options.rootDir, uid);
    for (const uid of await podsWithCgroup())
      if (isStray(uid)) for (const path of podCgroups(uid)) await removeCgroup(path);
  }
}
