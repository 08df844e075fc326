// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import path from "node:path";
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ShuntError } from "../../lib/errors.ts";
import type { Host } from "./host.ts";

const sockets = [
  "/run/containerd/containerd.sock",
  "/run/k3s/containerd/containerd.sock",
  "/run/crio/crio.sock",
  "/run/cri-dockerd.sock",
];

interface Sandbox {
  id: string;
  /** 0: it runs. */
  state: number;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

/** Where the node's container runtime listens. */
function findSocket(host: Host): string {
  const found = sockets
    .map((socket) => host.path(socket))
    .find((file) => statSync(file, { throwIfNoEntry: false })?.isSocket() === true);
  if (found !== undefined) return found;
  throw new ShuntError(`No container runtime listens at ${sockets.join(", ")}`, {
    code: "RuntimeMissing",
    remedy: "Restart the static pods of this node by hand: move their manifests away and back.",
  });
}

/**
 * Ends the sandboxes of these pods, so that the kubelet makes new ones, on the network that is there now.
 * @param uids as the runtime knows them: of a static pod its annotation `kubernetes.io/config.hash`
 * @returns `namespace/name` of each
 */
export async function recreateSandboxes(host: Host, uids: readonly string[]): Promise<string[]> {
  const definition = loadSync(path.join(import.meta.dirname, "cri.proto"), { keepCase: true, enums: Number });
  const { RuntimeService } = (loadPackageDefinition(definition) as any).runtime.v1;
  const client = new RuntimeService(`unix:${findSocket(host)}`, credentials.createInsecure());
  const call = (method: string, body: object, timeoutMs: number): Promise<any> =>
    new Promise((resolve, reject) => {
      client[method](body, { deadline: Date.now() + timeoutMs }, (error: Error | null, answer: any) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
  try {
    const { items = [] } = await call("ListPodSandbox", {}, 30_000);
    const chosen = sandboxesOf(items, uids);
    for (const { id } of chosen) await call("StopPodSandbox", { pod_sandbox_id: id }, 120_000);
    return chosen.map(
      ({ labels }) => `${labels["io.kubernetes.pod.namespace"]}/${labels["io.kubernetes.pod.name"]}`,
    );
  } finally {
    client.close();
  }
}

/** The sandboxes of these pods that run. */
export function sandboxesOf(all: readonly Sandbox[], uids: readonly string[]): Sandbox[] {
  const wanted = new Set(uids);
  return all.filter(
    ({ state, labels, annotations }) =>
      state === 0 &&
      (wanted.has(labels["io.kubernetes.pod.uid"] ?? "") ||
        wanted.has(annotations["kubernetes.io/config.hash"] ?? "")),
  );
}
