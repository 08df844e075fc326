// SPDX-License-Identifier: Apache-2.0
import { createServer, type Server } from "node:http";
import { errorMessage } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { sleep } from "../lib/wait.ts";
import type { DenialView } from "./policy/denials.ts";
import { type LiveTrace, parseTraceRequest, type TraceRequest } from "./policy/live-trace.ts";
import type { EndpointView, NodePolicies } from "./policy/policy-views.ts";
import type { ServiceView } from "./service-reader.ts";
import type { ServiceFilter } from "./service-view.ts";

/** One path's answer. */
export interface HttpAnswer {
  status: number;
  contentType: string;
  body: string;
  headers?: Record<string, string>;
}
/** Finds what answers a path; the query is what stands behind the question mark. */
type Route = (path: string) => ((query: URLSearchParams) => Promise<HttpAnswer> | HttpAnswer) | undefined;

/** What the agent tells about itself. */
interface AgentFacts {
  ready(): { status: string; message: string };
  status(): unknown;
  /** What is in the kernel's maps for Services; undefined while they are not loaded. */
  services(filter: ServiceFilter): Promise<ServiceView[] | undefined>;
  /** What policies deny, or would; undefined while the programs are not loaded. */
  denials(): DenialView[] | undefined;
  /** What the maps say about a connection. */
  trace(request: TraceRequest): LiveTrace;
  /** Which policies are in force. */
  policies(): NodePolicies;
  /** By which policies the node's pods are judged. */
  endpoints(): EndpointView[];
  metrics: { contentType: string; metrics(): Promise<string> };
}

/** Serves health and status to the node itself, and metrics to all, until the signal aborts. */
export function serveAgent(
  options: { healthPort: number; metricsPort: number; log: Logger; signal: AbortSignal },
  facts: AgentFacts,
): void {
  const { healthPort, metricsPort, log, signal } = options;
  const text = (status: number, body: string) => ({ status, contentType: "text/plain", body: `${body}\n` });
  const serve = (host: string, port: number, routes: Record<string, NonNullable<ReturnType<Route>>>) =>
    serveHttp({ host, port, log, signal }, (path) =>
      Object.hasOwn(routes, path) ? routes[path] : undefined,
    ).catch((error) => log.error("cannot listen", { port, error: errorMessage(error) }));
  const json = (found: unknown): HttpAnswer => ({
    status: 200,
    contentType: "application/json",
    body: JSON.stringify(found),
  });
  const inMaps = (found: unknown): HttpAnswer =>
    found === undefined ? text(503, "the kernel programs are not loaded") : json(found);
  serve("127.0.0.1", healthPort, {
    "/healthz": () => text(200, "ok"),
    "/readyz": () => {
      const { status, message } = facts.ready();
      return status === "True" ? text(200, "ok") : text(503, message);
    },
    "/status": () => json(facts.status()),
    "/services": async (query) => {
      const namespace = query.get("namespace") ?? undefined;
      return inMaps(await facts.services({ namespace, name: query.get("name") ?? undefined }));
    },
    "/policy/trace": (query) => {
      const request = parseTraceRequest(query);
      return request === undefined ? text(400, "not a connection") : inMaps(facts.trace(request));
    },
    "/policy/denials": () => inMaps(facts.denials()),
    "/policy/policies": () => json(facts.policies()),
    "/policy/endpoints": () => json(facts.endpoints()),
  });
  serve("::", metricsPort, {
    "/metrics": async () => ({
      status: 200,
      contentType: facts.metrics.contentType,
      body: await facts.metrics.metrics(),
    }),
  });
}

/**
 * Serves GET requests by path. An occupied port (an earlier agent on its way out, kube-proxy's health checks) is tried
 * again every second until the signal aborts.
 */
export async function serveHttp(
  options: { host: string; port: number; log: Logger; signal: AbortSignal },
  routes: Route,
): Promise<void> {
  const server = createServer((request, response) => {
    const [path = "/", query] = (request.url ?? "/").split("?");
    const route = routes(path);
    if (request.method !== "GET" || route === undefined) {
      response.writeHead(route === undefined ? 404 : 405).end();
      return;
    }
    Promise.resolve()
      .then(() => route(new URLSearchParams(query)))
      .catch((error): HttpAnswer => {
        options.log.error("answering failed", { path, error });
        return { status: 500, contentType: "text/plain", body: "internal error\n" };
      })
      .then(({ status, contentType, body, headers }) =>
        response.writeHead(status, { "content-type": contentType, ...headers }).end(body),
      );
  });
  server.requestTimeout = 10_000;
  options.signal.addEventListener("abort", () => {
    server.close();
    server.closeAllConnections();
  });
  let { host } = options;
  for (let tries = 0; !options.signal.aborted; tries++) {
    try {
      await listen(server, host, options.port);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (host === "::" && (code === "EAFNOSUPPORT" || code === "EADDRNOTAVAIL")) host = "0.0.0.0"; // no IPv6 here
      if (tries % 10 === 0)
        options.log.warn("cannot listen yet", { port: options.port, error: String(error) });
      await sleep(1_000, options.signal).catch(() => undefined);
    }
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
