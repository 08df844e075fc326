// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { type HttpAnswer, serveHttp } from "./health-server.ts";
import type { HealthCheck } from "./service-model.ts";

/** What load balancers ask of a node as a whole. */
export interface NodeHealth {
  /** Whether Services are routed as they should be. */
  healthy: boolean;
  /** On its way out of the cluster: no new connections, please (KEP-3836). */
  leaving: boolean;
}

/**
 * Answers load balancers' health checks where kube-proxy does: on each Service's healthCheckNodePort whether this node
 * has an endpoint of it, and on one port of the node whether it is healthy at all.
 */
export class ServiceHealth {
  readonly #log: Logger;
  readonly #nodePort: number;
  readonly #host: string;
  readonly #checks = new Map<number, { check: HealthCheck; stop: AbortController }>();
  #node: NodeHealth = { healthy: false, leaving: false };
  #nodeServer: AbortController | undefined;

  /** `nodePort`: the port for the whole node, 10256 with kube-proxy; 0 is none. */
  constructor(options: { log: Logger; nodePort: number; host?: string }) {
    this.#log = options.log;
    this.#nodePort = options.nodePort;
    this.#host = options.host ?? "::";
  }

  /** Answers for these Services from now on; `node` undefined means that Services are not ours. */
  set(checks: readonly HealthCheck[], node: NodeHealth | undefined): void {
    const wanted = new Map(node === undefined ? [] : checks.map((check) => [check.port, check] as const));
    for (const [port, { stop }] of this.#checks)
      if (!wanted.has(port)) {
        stop.abort();
        this.#checks.delete(port);
      }
    for (const [port, check] of wanted) {
      const known = this.#checks.get(port);
      if (known !== undefined) known.check = check;
      else this.#checks.set(port, { check, stop: this.#serve(port, () => this.#answerService(port)) });
    }
    if (node === undefined) {
      this.#nodeServer?.abort();
      this.#nodeServer = undefined;
      return;
    }
    this.#node = node;
    if (this.#nodePort !== 0)
      this.#nodeServer ??= this.#serve(this.#nodePort, (path) =>
        path === "/healthz" || path === "/livez" ? this.#answerNode(path) : undefined,
      );
  }

  stop(): void {
    this.set([], undefined);
  }

  #serve(port: number, answer: (path: string) => HttpAnswer | undefined): AbortController {
    const stop = new AbortController();
    const routes = (path: string) => {
      const found = answer(path);
      return found === undefined ? undefined : () => found;
    };
    serveHttp({ host: this.#host, port, log: this.#log, signal: stop.signal }, routes).catch((error) =>
      this.#log.error("cannot answer health checks", { port, error: errorMessage(error) }),
    );
    return stop;
  }

  #answerService(port: number): HttpAnswer | undefined {
    const check = this.#checks.get(port)?.check;
    if (check === undefined) return undefined;
    const { namespace, name, localEndpoints } = check;
    const serviceProxyHealthy = this.#node.healthy;
    return {
      status: localEndpoints > 0 && serviceProxyHealthy ? 200 : 503,
      contentType: "application/json",
      headers: {
        "x-content-type-options": "nosniff",
        "x-load-balancing-endpoint-weight": String(localEndpoints),
      },
      body: `${JSON.stringify({ service: { namespace, name }, localEndpoints, serviceProxyHealthy })}\n`,
    };
  }

  #answerNode(path: string): HttpAnswer {
    const { healthy, leaving } = this.#node;
    const nodeEligible = !leaving;
    const isGood = healthy && (nodeEligible || path === "/livez");
    return {
      status: isGood ? 200 : 503,
      contentType: "application/json",
      headers: { "x-content-type-options": "nosniff" },
      body: `${JSON.stringify({ currentTime: new Date().toISOString(), nodeEligible, healthy })}\n`,
    };
  }
}
