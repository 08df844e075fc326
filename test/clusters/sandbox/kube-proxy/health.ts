// SPDX-License-Identifier: Apache-2.0
import http from "node:http";
import { errorMessage } from "../../../../lib/errors.ts";
import type { Logger } from "../../../../lib/log.ts";
import type { ProxyConfiguration } from "./configuration.ts";
import type { PortPlan } from "./port-plan.ts";

const rebindMs = 5_000;

/** When rules were last written, and how long changes have waited. */
export interface SyncState {
  lastSyncAt: Date | undefined;
  /** Since when something waits to be written; undefined: nothing does. */
  pendingSince: Date | undefined;
  syncs: number;
  failures: number;
}

/** Serves /healthz and /livez, and /metrics and /proxyMode, where kube-proxy does. */
export function serveHealth(config: ProxyConfiguration, state: SyncState, log: Logger): void {
  const health: http.RequestListener = (request, response) => {
    const now = new Date();
    const late =
      state.pendingSince !== undefined &&
      now.getTime() - state.pendingSince.getTime() > 2 * config.syncPeriodMs;
    const isHealthy = state.lastSyncAt !== undefined && !late;
    const body = {
      lastUpdated: (isHealthy ? now : state.lastSyncAt) ?? "",
      currentTime: now,
      healthy: isHealthy,
    };
    const isKnown = request.url === "/healthz" || request.url === "/livez";
    response.writeHead(isKnown ? (isHealthy ? 200 : 503) : 404, { "content-type": "application/json" });
    response.end(isKnown ? JSON.stringify(body) : "");
  };
  const metrics: http.RequestListener = (request, response) => {
    if (request.url === "/proxyMode") return void response.end(config.mode);
    response.writeHead(request.url === "/metrics" ? 200 : 404, {
      "content-type": "text/plain; version=0.0.4",
    });
    response.end(request.url === "/metrics" ? metricsText(state) : "");
  };
  for (const [listener, port, host] of [
    [health, config.healthzPort, "::"],
    [metrics, config.metricsPort, "127.0.0.1"],
  ] as const)
    listen(http.createServer(listener), { port, host }, log);
}

/** Like kube-proxy, which does without its health check while another has the port, and asks for it again. */
function listen(server: http.Server, at: { port: number; host: string }, log: Logger): void {
  server.on("error", (error) => {
    log.error("cannot serve yet", { ...at, error: errorMessage(error) });
    setTimeout(() => server.listen(at), rebindMs);
  });
  server.listen(at);
}

function metricsText(state: SyncState): string {
  const failed = "kubeproxy_sync_proxy_rules_iptables_restore_failures_total";
  const total = "kubeproxy_sync_proxy_rules_duration_seconds_count";
  const last = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
  return [
    `# TYPE ${failed} counter\n${failed} ${state.failures}`,
    `# TYPE ${total} counter\n${total} ${state.syncs}`,
    `# TYPE ${last} gauge\n${last} ${(state.lastSyncAt?.getTime() ?? 0) / 1_000}\n`,
  ].join("\n");
}

/** Answers load balancers' health checks: one server a Service with a healthCheckNodePort. */
export class ServiceHealth {
  readonly #servers = new Map<number, { server: http.Server; localEndpoints: number; service: object }>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  update(plans: readonly PortPlan[]): void {
    const wanted = new Map<number, { localEndpoints: number; service: object }>();
    for (const { port, choice } of plans) {
      if (port.healthCheckNodePort === 0) continue;
      const addresses = new Set(choice.local.filter(({ isReady }) => isReady).map(({ address }) => address));
      const service = { namespace: port.namespace, name: port.name };
      wanted.set(port.healthCheckNodePort, { service, localEndpoints: addresses.size });
    }
    for (const [port, entry] of this.#servers)
      if (!wanted.has(port)) {
        entry.server.close();
        this.#servers.delete(port);
      }
    for (const [port, state] of wanted) {
      const entry = this.#servers.get(port);
      if (entry === undefined) this.#serve(port, state);
      else Object.assign(entry, state);
    }
  }

  #serve(port: number, state: { localEndpoints: number; service: object }): void {
    const server = http.createServer((_request, response) => {
      const { localEndpoints, service } = this.#servers.get(port) ?? state;
      response.writeHead(localEndpoints > 0 ? 200 : 503, {
        "content-type": "application/json",
        "x-load-balancing-endpoint-weight": String(localEndpoints),
      });
      response.end(JSON.stringify({ service, localEndpoints, serviceProxyHealthy: true }));
    });
    server.on("error", (error) => this.#log.error("health check port not served", { port, error }));
    server.listen(port, "::");
    this.#servers.set(port, { server, ...state });
  }
}
