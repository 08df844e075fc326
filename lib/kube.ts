// SPDX-License-Identifier: Apache-2.0
import http from "node:http";
import https from "node:https";
import type { KubeConfig } from "@kubernetes/client-node";
import { errorMessage, ShuntError } from "./errors.ts";
import { ApiError, isNotFound } from "./kube-errors.ts";
import type { KubeList, KubeObject, WatchEvent } from "./kube-object.ts";

/** Server and credentials of a client; @kubernetes/client-node's KubeConfig is one. */
export type ClientConfig = Pick<
  KubeConfig,
  "getCurrentCluster" | "getCurrentContext" | "applyToHTTPSOptions"
>;

export type PatchType = "json" | "merge" | "strategic" | "apply";

const patchContentType: Record<PatchType, string> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

export type Query = Record<string, string | number | boolean | undefined>;

export interface RequestOptions {
  query?: Query;
  body?: unknown;
  contentType?: string;
  accept?: string;
  /** Milliseconds until the request is given up. Default 30,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

interface Connection {
  options: https.RequestOptions;
  base: URL;
  refreshAtMs: number;
}

/**
 * A small client for any resource by its path. Authentication (certificates, tokens, exec plugins, in-cluster)
 * is @kubernetes/client-node's; paths are the API's own, so that no resource needs generated code.
 */
export class KubeClient {
  readonly config: ClientConfig;
  #connection: Connection | undefined;
  #agent: http.Agent | undefined;
  #agentKey = "";

  constructor(config: ClientConfig) {
    this.config = config;
  }

  /** Server URL of the current context. */
  get server(): string {
    return this.config.getCurrentCluster()?.server ?? "";
  }

  /** Closes idle connections; requests under way go on. */
  close(): void {
    this.#agent?.destroy();
    this.#agent = undefined;
    this.#agentKey = "";
    this.#connection = undefined;
  }

  async #connect(): Promise<Connection> {
    if (this.#connection !== undefined && Date.now() < this.#connection.refreshAtMs) return this.#connection;
    const options: https.RequestOptions = {};
    await this.config.applyToHTTPSOptions(options);
    const base = new URL(this.server);
    const tlsOptions = {
      ca: options.ca,
      cert: options.cert,
      key: options.key,
      rejectUnauthorized: options.rejectUnauthorized,
      servername: options.servername,
    };
    const key = JSON.stringify(tlsOptions);
    if (this.#agent === undefined || key !== this.#agentKey) {
      const keepAlive = { keepAlive: true, keepAliveMsecs: 15_000, maxSockets: 256 };
      this.#agent =
        base.protocol === "http:"
          ? new http.Agent(keepAlive)
          : new https.Agent({ ...keepAlive, ...(tlsOptions as https.AgentOptions) });
      this.#agentKey = key;
    }
    options.agent = this.#agent;
    this.#connection = { options, base, refreshAtMs: Date.now() + 30_000 };
    return this.#connection;
  }

  /** Options for an upgraded connection (exec, port-forward) to the same server with the same credentials. */
  async connectionOptions(): Promise<https.RequestOptions & { base: URL }> {
    const connection = await this.#connect();
    return { ...connection.options, agent: undefined, base: connection.base };
  }

  /** Sends one request and hands back the response as a stream, status not yet judged. */
  async open(method: string, path: string, options: RequestOptions = {}): Promise<http.IncomingMessage> {
    const connection = await this.#connect();
    const url = new URL(connection.base.href.replace(/\/$/, "") + path);
    for (const [key, value] of Object.entries(options.query ?? {}))
      if (value !== undefined) url.searchParams.set(key, String(value));
    const body =
      options.body === undefined || typeof options.body === "string" || options.body instanceof Uint8Array
        ? options.body
        : JSON.stringify(options.body);
    const headers: http.OutgoingHttpHeaders = {
      ...(connection.options.headers as http.OutgoingHttpHeaders | undefined),
      accept: options.accept ?? "application/json",
      "user-agent": "shunt",
    };
    if (body !== undefined) {
      headers["content-type"] = options.contentType ?? "application/json";
      headers["content-length"] = Buffer.byteLength(body as string);
    }
    return await new Promise((resolve, reject) => {
      const request = (url.protocol === "http:" ? http : https).request(
        url,
        {
          method,
          headers,
          agent: connection.options.agent,
          auth: connection.options.auth,
          ...(options.signal === undefined ? {} : { signal: options.signal }),
        },
        (response) => {
          request.setTimeout(0);
          resolve(response);
        },
      );
      const timeoutMs = options.timeoutMs ?? 30_000;
      request.setTimeout(timeoutMs, () =>
        request.destroy(new ShuntError(`no answer within ${timeoutMs / 1000} s`, { code: "Timeout" })),
      );
      request.on("error", (cause) =>
        reject(
          options.signal?.aborted === true
            ? cause
            : new ShuntError(`Cannot reach the API server at ${this.server}: ${errorMessage(cause)}`, {
                code: "Unreachable",
                remedy: "Check that the server runs and that the kubeconfig and its context name it.",
                cause,
              }),
        ),
      );
      request.end(body);
    });
  }

  /** Sends one request and reads the whole answer as JSON (or text). Throws ApiError for anything but 2xx. */
  async request<T = any>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const response = await this.open(method, path, options);
    const text = await readAll(response, options.timeoutMs ?? 30_000);
    const isJson = (response.headers["content-type"] ?? "").includes("json");
    let body: any = text;
    if (isJson) {
      try {
        body = JSON.parse(text);
      } catch (cause) {
        throw new ShuntError(`${method} ${path}: the answer is not JSON`, { cause });
      }
    }
    const status = response.statusCode ?? 0;
    if (status < 200 || status > 299) throw new ApiError(`${method} ${path}`, status, body, response.headers);
    return body as T;
  }

  get<T = KubeObject>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.request<T>("GET", path, options);
  }

  /** Like get, but undefined for 404 (and only for 404). */
  async find<T = KubeObject>(path: string, options: RequestOptions = {}): Promise<T | undefined> {
    try {
      return await this.get<T>(path, options);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Lists everything, page by page. */
  async list<T = KubeObject>(
    path: string,
    query: Query = {},
    options: RequestOptions = {},
  ): Promise<KubeList<T>> {
    let all: KubeList<T> | undefined;
    for await (const page of this.pages<T>(path, query, options))
      if (all === undefined) all = page;
      else all.items.push(...page.items);
    return all!;
  }

  /** The pages of a list, one after the other: of a large list no more than one need be held. At least one. */
  async *pages<T = KubeObject>(
    path: string,
    query: Query = {},
    options: RequestOptions = {},
  ): AsyncGenerator<KubeList<T>, void, void> {
    let next: string | undefined;
    do {
      const from = next === undefined ? {} : { continue: next };
      const page = await this.get<KubeList<T>>(path, {
        ...options,
        query: { limit: 500, ...query, ...from },
      });
      page.items ??= [];
      next = page.metadata.continue || undefined;
      yield page;
    } while (next !== undefined);
  }

  create<T = KubeObject>(path: string, body: unknown, query: Query = {}): Promise<T> {
    return this.request<T>("POST", path, { body, query });
  }

  replace<T = KubeObject>(path: string, body: unknown, query: Query = {}): Promise<T> {
    return this.request<T>("PUT", path, { body, query });
  }

  patch<T = KubeObject>(path: string, type: PatchType, body: unknown, query: Query = {}): Promise<T> {
    return this.request<T>("PATCH", path, { body, query, contentType: patchContentType[type] });
  }

  /** Server-side apply as field manager `manager`, taking over conflicting fields. */
  apply<T = KubeObject>(path: string, body: unknown, manager = "shunt", query: Query = {}): Promise<T> {
    return this.patch<T>(path, "apply", body, { fieldManager: manager, force: true, ...query });
  }

  delete<T = KubeObject>(path: string, body?: unknown, query: Query = {}): Promise<T> {
    return this.request<T>("DELETE", path, { query, ...(body === undefined ? {} : { body }) });
  }

  /** Deletes and is content when there is nothing to delete. */
  async deleteIfExists(path: string, body?: unknown): Promise<boolean> {
    try {
      await this.delete(path, body);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  /**
   * Watches a list path until the server ends the stream or the signal aborts; yields each event.
   * An ERROR event is thrown as ApiError (410 when the resource version is too old).
   */
  async *watch<T = KubeObject>(
    path: string,
    query: Query = {},
    signal?: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const response = await this.open("GET", path, {
      query: { watch: true, allowWatchBookmarks: true, ...query },
      ...(signal === undefined ? {} : { signal }),
    });
    if (response.statusCode !== 200) {
      const text = await readAll(response, 30_000);
      let body: unknown = text;
      try {
        body = JSON.parse(text);
      } catch {}
      throw new ApiError(`watch ${path}`, response.statusCode ?? 0, body, response.headers);
    }
    response.setEncoding("utf8");
    let rest = "";
    try {
      for await (const chunk of response) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          if (line === "") continue;
          const event = JSON.parse(line) as WatchEvent<T>;
          if (event.type === "ERROR") {
            const status = event.object as any;
            throw new ApiError(`watch ${path}`, status?.code ?? 500, status);
          }
          yield event;
        }
      }
    } finally {
      response.destroy();
    }
  }
}

async function readAll(response: http.IncomingMessage, timeoutMs: number): Promise<string> {
  response.setTimeout(timeoutMs, () =>
    response.destroy(new ShuntError("the answer stalled", { code: "Timeout" })),
  );
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** Paths of well-known resources: `resourcePath("apps/v1", "deployments", "ns", "name")`. */
export function resourcePath(apiVersion: string, plural: string, namespace?: string, name?: string): string {
  const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${group}${scope}/${plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}
