// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { KubeClient, Query } from "../../lib/kube.ts";
import { ApiError } from "../../lib/kube-errors.ts";
import type { KubeList, KubeObject } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";
import type { Gap } from "./details.ts";

/** The part of KubeClient that reading needs. */
export type KubeReader = Pick<KubeClient, "get" | "server">;

export interface SourceOptions {
  signal?: AbortSignal;
  /** Objects asked for at a time. */
  pageSize?: number;
  /** Milliseconds for which one page is tried. */
  retryMs?: number;
}

const passing = (error: unknown): boolean =>
  error instanceof ApiError
    ? error.status === 429 || error.status >= 500
    : error instanceof ShuntError && (error.code === "Unreachable" || error.code === "Timeout");

/**
 * Reads a cluster page by page and forgets each page once it is looked at, so that its size does not matter.
 * What may not be read becomes a gap, not a failure; an API that does not exist is empty.
 */
export class ClusterSource {
  readonly gaps: Gap[] = [];
  readonly #kube: KubeReader;
  readonly #options: SourceOptions;

  constructor(kube: KubeReader, options: SourceOptions = {}) {
    this.#kube = kube;
    this.#options = options;
  }

  /** Shows every object of a list to `visit`; the next page is under way meanwhile. Returns how many there were. */
  async each(path: string, visit: (object: KubeObject) => void): Promise<number> {
    const limit = this.#options.pageSize ?? 1000;
    let count = 0;
    let next: Promise<KubeList> | undefined = this.#get<KubeList>(path, { limit });
    while (next !== undefined) {
      let page: KubeList;
      try {
        page = await next;
      } catch (error) {
        if (this.#isAbsent(error, path)) return count;
        const token = resumeToken(error);
        if (token === undefined) throw error;
        next = this.#get<KubeList>(path, { limit, continue: token });
        continue;
      }
      const token = page.metadata?.continue;
      next = token ? this.#get<KubeList>(path, { limit, continue: token }) : undefined;
      next?.catch(() => undefined); // judged above, on its turn
      for (const object of page.items ?? []) visit(object);
      count += page.items?.length ?? 0;
    }
    return count;
  }

  /** All objects of a list that is known to be short. */
  async all(path: string): Promise<KubeObject[]> {
    const objects: KubeObject[] = [];
    await this.each(path, (object) => objects.push(object));
    return objects;
  }

  /** One object; undefined when it does not exist or may not be read. */
  async find(path: string): Promise<KubeObject | undefined> {
    try {
      return await this.#get<KubeObject>(path);
    } catch (error) {
      if (this.#isAbsent(error, path)) return undefined;
      throw error;
    }
  }

  #isAbsent(error: unknown, path: string): boolean {
    if (!(error instanceof ApiError)) return false;
    if (error.status === 404) return true;
    if (error.status !== 403 && error.status !== 401) return false;
    this.gaps.push({ resource: path, reason: error.body?.message ?? error.message });
    return true;
  }

  async #get<T>(path: string, query: Query = {}): Promise<T> {
    const deadline = Date.now() + (this.#options.retryMs ?? 60_000);
    const { signal } = this.#options;
    for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, 5_000)) {
      signal?.throwIfAborted();
      try {
        return await this.#kube.get<T>(path, { query, timeoutMs: 60_000, ...(signal ? { signal } : {}) });
      } catch (error) {
        if (!passing(error) || Date.now() + pauseMs > deadline) throw error;
        const after = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
        await sleep(Math.max(pauseMs, Math.min(after, 10_000)), signal);
      }
    }
  }
}

/** A continue token that got too old comes back with one that goes on from the same place in newer data. */
function resumeToken(error: unknown): string | undefined {
  if (!(error instanceof ApiError) || error.status !== 410) return undefined;
  const token = error.body?.metadata?.continue;
  return typeof token === "string" && token !== "" ? token : undefined;
}
