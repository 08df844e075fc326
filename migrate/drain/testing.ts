// SPDX-License-Identifier: Apache-2.0
// A client with faults, and small objects, for the tests of drains.
import { KubeClient, type RequestOptions, resourcePath } from "../../lib/kube.ts";
import { ApiError } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";

/** One request as it was sent. */
export interface SentRequest {
  method: string;
  path: string;
  options: RequestOptions;
}

/** What happens instead of (or before) a request: throws to fail it, returns to let it through. */
export type Fault = (request: SentRequest) => void | Promise<void>;

/** A client that remembers what it sent, and fails as told. */
export class FaultyKube extends KubeClient {
  readonly sent: SentRequest[] = [];
  fault: Fault = () => undefined;

  override async request<T = any>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const request = { method, path, options };
    this.sent.push(request);
    await this.fault(request);
    return await super.request<T>(method, path, options);
  }

  /** Evictions and deletions sent. */
  get removals(): SentRequest[] {
    return this.sent.filter(({ method, path }) => method === "DELETE" || path.endsWith("/eviction"));
  }
}

/** A fault for the first `times` requests that match. */
export function failFirst(times: number, matches: (request: SentRequest) => boolean, error: Error): Fault {
  let left = times;
  return (request) => {
    if (left > 0 && matches(request)) {
      left--;
      throw error;
    }
  };
}

/** An answer of the API server. */
export function answer(status: number, message: string, cause?: string, retryAfter?: string): ApiError {
  const causes = cause === undefined ? [] : [{ reason: cause, message }];
  const headers = retryAfter === undefined ? {} : { "retry-after": retryAfter };
  return new ApiError("test", status, { kind: "Status", message, details: { causes } }, headers);
}

export const podPath = (namespace: string, name?: string): string =>
  resourcePath("v1", "pods", namespace, name);
export const nodePath = (name: string): string => resourcePath("v1", "nodes", undefined, name);

/** An owner reference as a controller makes it. */
export const ownedBy = (kind: string, name: string, apiVersion = "apps/v1") => ({
  ownerReferences: [{ apiVersion, kind, name, uid: `uid-of-${name}`, controller: true }],
});

/** A pod on a node, controlled by a ReplicaSet unless told otherwise. */
export function podOn(node: string, namespace: string, name: string, metadata = {}, spec = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { app: name }, ...metadata },
    spec: { nodeName: node, containers: [{ name: "main", image: "one" }], ...spec },
  };
}

/** Makes a namespace in which pods can be made, and an object that owns them without a controller at work. */
export async function makeNamespace(kube: KubeClient, namespace: string): Promise<void> {
  await kube.create("/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: namespace },
  });
  const account = resourcePath("v1", "serviceaccounts", namespace, "default");
  await waitFor("the service account", () => kube.find(account), { timeoutMs: 10_000, intervalMs: 20 });
}

/** A controller of pods that nobody runs: its pods stay gone. */
export async function makeOwner(kube: KubeClient, namespace: string): Promise<KubeObject["metadata"]> {
  const controller = await kube.create(resourcePath("v1", "configmaps", namespace), {
    metadata: { name: "owner", namespace },
  });
  const { name, uid } = controller.metadata;
  return {
    ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: name!, uid: uid!, controller: true }],
  };
}

/** A disruption budget over the pods with these labels. */
export const budget = (namespace: string, name: string, matchLabels: object, spec: object): KubeObject => ({
  apiVersion: "policy/v1",
  kind: "PodDisruptionBudget",
  metadata: { name, namespace },
  spec: { selector: { matchLabels }, ...spec },
});
