// SPDX-License-Identifier: Apache-2.0
import type { KubeletNode } from "./kubelet-node.ts";
import type { PodManager } from "./pod-manager.ts";

/** A request that cannot be served, with the HTTP status that says so. */
export class HttpError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = "HttpError";
    this.status = status;
  }
}

/** One request to the kubelet's API. */
export interface KubeletRequest {
  kubelet: KubeletNode;
  manager: PodManager;
  /** Parts of the path, decoded, without the first. */
  parts: string[];
  query: URLSearchParams;
}
