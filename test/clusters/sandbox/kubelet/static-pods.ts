// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { errorMessage } from "../../../../lib/errors.ts";
import { resourcePath } from "../../../../lib/kube.ts";
import { isAlreadyExists } from "../../../../lib/kube-errors.ts";
import { sleep } from "../../../../lib/wait.ts";
import type { KubeletNode } from "./kubelet-node.ts";
import { HASH_ANNOTATION, MIRROR_ANNOTATION, type Pod, podName, podUid, SOURCE_ANNOTATION } from "./pod.ts";
import type { PodManager } from "./pod-manager.ts";

const SCAN_MS = 2_000;

/** Makes a pod of a manifest: named after the node, with an id that changes when the text does. */
export function staticPod(manifest: any, nodeName: string): Pod {
  const hash = createHash("sha256")
    .update(JSON.stringify([manifest, nodeName]))
    .digest("hex")
    .slice(0, 32);
  const tolerations = [{ operator: "Exists", effect: "NoExecute" }, ...(manifest.spec.tolerations ?? [])];
  return {
    ...manifest,
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...manifest.metadata,
      name: `${manifest.metadata.name}-${nodeName}`,
      namespace: manifest.metadata.namespace ?? "default",
      uid: hash,
      annotations: { ...manifest.metadata.annotations, [HASH_ANNOTATION]: hash, [SOURCE_ANNOTATION]: "file" },
    },
    spec: {
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
      dnsPolicy: "ClusterFirst",
      enableServiceLinks: true,
      ...manifest.spec,
      nodeName,
      tolerations,
    },
  };
}

/** Runs the pods of a folder of manifests, and shows each in the API as a mirror pod. */
export class StaticPods {
  readonly #kubelet: KubeletNode;
  readonly #manager: PodManager;
  readonly #folder: string | undefined;
  #known = new Map<string, Pod>();

  constructor(kubelet: KubeletNode, manager: PodManager, folder: string | undefined) {
    this.#kubelet = kubelet;
    this.#manager = manager;
    this.#folder = folder;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#scan().catch((error) =>
        this.#kubelet.log.warn("static pods", { error: errorMessage(error) }),
      );
      await sleep(SCAN_MS, signal).catch(() => undefined);
    }
  }

  async #scan(): Promise<void> {
    const found = new Map<string, Pod>();
    for (const name of await this.#manifests()) {
      if (name.startsWith(".") || !/\.(ya?ml|json)$/.test(name)) continue;
      try {
        const manifest = parse(await readFile(join(this.#folder ?? "", name), "utf8"));
        if (manifest?.kind !== "Pod" || !Array.isArray(manifest.spec?.containers))
          throw new Error("it is not a Pod");
        const pod = staticPod(manifest, this.#kubelet.options.nodeName);
        found.set(podUid(pod), pod);
      } catch (error) {
        this.#kubelet.log.warn("cannot use a manifest", { name, error: errorMessage(error) });
      }
    }
    for (const [uid, pod] of found) if (!this.#known.has(uid)) this.#manager.set(pod);
    for (const uid of this.#known.keys()) if (!found.has(uid)) this.#manager.remove(uid);
    this.#known = found;
    const names = new Set([...found.values()].map(podName));
    for (const mirror of this.#manager.mirrors())
      if (!names.has(podName(mirror))) await this.#removeMirror(mirror);
    for (const pod of found.values()) await this.#ensureMirror(pod);
  }

  async #manifests(): Promise<string[]> {
    if (this.#folder === undefined) return [];
    return await readdir(this.#folder).catch(() => []);
  }

  async #ensureMirror(pod: Pod): Promise<void> {
    const node = this.#kubelet.node();
    if (node === undefined) return;
    const mirror = this.#manager.mirror(pod);
    const hash = pod.metadata.annotations?.[HASH_ANNOTATION] ?? "";
    if (mirror !== undefined && mirror.metadata.deletionTimestamp === undefined) {
      if (mirror.metadata.annotations?.[MIRROR_ANNOTATION] === hash) return;
    }
    if (mirror !== undefined) await this.#removeMirror(pod);
    const owner = {
      apiVersion: "v1",
      kind: "Node",
      name: node.metadata.name,
      uid: node.metadata.uid,
      controller: true,
    };
    const { uid: _, ...metadata } = pod.metadata;
    const annotations = { ...metadata.annotations, [MIRROR_ANNOTATION]: hash };
    const body = {
      ...pod,
      status: undefined,
      metadata: { ...metadata, annotations, ownerReferences: [owner] },
    };
    try {
      await this.#kubelet.client.create(resourcePath("v1", "pods", metadata.namespace), body);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  async #removeMirror(pod: Pod): Promise<void> {
    const mirror = this.#manager.mirror(pod);
    if (mirror === undefined) return;
    const { namespace, name, uid } = mirror.metadata;
    const body = { apiVersion: "v1", kind: "DeleteOptions", gracePeriodSeconds: 0, preconditions: { uid } };
    await this.#kubelet.client.deleteIfExists(resourcePath("v1", "pods", namespace, name), body);
  }
}
