// SPDX-License-Identifier: Apache-2.0
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { VERSION } from "../lib/version.ts";
import type { Datapath, MapName } from "./datapath.ts";
import { counter as counterLayout, counterReasons, firstDropReason, reasons } from "./datapath-layout.ts";
import type { EndpointManager } from "./endpoint-manager.ts";
import type { FlowFigures } from "./flow-collector.ts";
import type { ServiceController } from "./service-controller.ts";

const reasonNames = new Map(Object.entries(reasons).map(([name, number]) => [number as number, name]));
const directionNames = ["ingress", "egress"];

/** One line of the kernel's packet counters. */
export interface PacketCount {
  direction: string;
  reason: string;
  drop: boolean;
  packets: number;
  bytes: number;
}

/** Reads the kernel's counters, summed over CPUs; only those that are not zero. */
export function readPacketCounts(datapath: Datapath): PacketCount[] {
  if (!datapath.loaded) return [];
  const map = datapath.map("sh_counters");
  const counts: PacketCount[] = [];
  for (const [key, all] of map.entries()) {
    const index = new DataView(key.buffer, key.byteOffset).getUint32(0, true);
    let packets = 0n;
    let bytes = 0n;
    for (const value of map.splitPerCpu(all)) {
      const one = counterLayout.decode(value);
      packets += one.packets;
      bytes += one.bytes;
    }
    if (packets === 0n) continue;
    const reason = index % counterReasons;
    counts.push({
      direction: directionNames[Math.floor(index / counterReasons)] ?? "?",
      reason: reasonNames.get(reason) ?? String(reason),
      drop: reason >= firstDropReason,
      packets: Number(packets),
      bytes: Number(bytes),
    });
  }
  return counts;
}

/** The agent's Prometheus metrics. */
export class AgentMetrics {
  readonly registry = new Registry();
  readonly #cni: Histogram;
  readonly #errors: Counter;

  constructor(parts: {
    datapath: Datapath;
    endpoints: EndpointManager;
    services: ServiceController;
    /** The flow table as the last collection found it. */
    flows: () => FlowFigures | undefined;
  }) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry, prefix: "shunt_" });
    new Gauge({
      name: "shunt_agent_info",
      help: "1, with the version.",
      labelNames: ["version"],
      registers,
    }).set({ version: VERSION }, 1);
    new Gauge({
      name: "shunt_agent_start_time_seconds",
      help: "When the agent started, in seconds since 1970.",
      registers,
    }).set(Math.floor(Date.now() / 1000 - process.uptime()));
    this.#cni = new Histogram({
      name: "shunt_cni_operation_duration_seconds",
      help: "How long CNI operations took.",
      labelNames: ["command", "outcome"],
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5],
      registers,
    });
    this.#errors = new Counter({
      name: "shunt_reconcile_errors_total",
      help: "Failed attempts to bring the node into the wanted state.",
      labelNames: ["part"],
      registers,
    });
    this.#addPackets(parts.datapath);
    this.#addGauges(parts);
  }

  observeCni(command: string, outcome: "ok" | "error", seconds: number): void {
    this.#cni.observe({ command, outcome }, seconds);
  }

  countError(part: string): void {
    this.#errors.inc({ part });
  }

  #addPackets(datapath: Datapath): void {
    const make = (name: string, help: string, wanted: (count: PacketCount) => number | undefined) =>
      new Counter({
        name,
        help,
        labelNames: ["direction", "reason"],
        registers: [this.registry],
        collect() {
          this.reset();
          for (const count of readPacketCounts(datapath)) {
            const value = wanted(count);
            if (value !== undefined)
              this.inc(
                { direction: count.direction, reason: count.reason.replace(/^(DROP|FORWARD)_/, "") },
                value,
              );
          }
        },
      });
    const dropped = (count: PacketCount) => count.drop;
    make("shunt_drop_packets_total", "Packets dropped by the kernel programs.", (count) =>
      dropped(count) ? count.packets : undefined,
    );
    make("shunt_drop_bytes_total", "Bytes dropped by the kernel programs.", (count) =>
      dropped(count) ? count.bytes : undefined,
    );
    make("shunt_forward_packets_total", "Packets forwarded by the kernel programs.", (count) =>
      dropped(count) ? undefined : count.packets,
    );
    make("shunt_forward_bytes_total", "Bytes forwarded by the kernel programs.", (count) =>
      dropped(count) ? undefined : count.bytes,
    );
  }

  #addGauges(parts: ConstructorParameters<typeof AgentMetrics>[0]): void {
    const { datapath, endpoints, services, flows } = parts;
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(read());
        },
      });
    gauge("shunt_endpoints", "Pod interfaces on this node.", () => endpoints.list().length);
    gauge("shunt_services", "Services that the agent handles.", () => services.serviceCount);
    gauge(
      "shunt_service_frontends",
      "Addresses and ports that services answer on.",
      () => services.size.frontends,
    );
    gauge("shunt_service_backends", "Backends of all services.", () => services.size.backends);
    new Gauge({
      name: "shunt_ipam_addresses",
      help: "Pod addresses of this node by pod CIDR and state.",
      labelNames: ["cidr", "state"],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const { cidr, total, taken } of endpoints.pools) {
          this.set({ cidr, state: "taken" }, taken);
          this.set({ cidr, state: "free" }, total - taken);
        }
      },
    });
    new Gauge({
      name: "shunt_flows",
      help: "Entries of the flow table: now, and made, collected and evicted since it was made.",
      labelNames: ["state"],
      registers: [this.registry],
      collect() {
        for (const [state, count] of Object.entries(flows() ?? {})) this.set({ state }, count);
      },
    });
    const pressured: MapName[] = ["sh_endpoints", "sh_ipcache", "sh_services", "sh_backends"];
    new Gauge({
      name: "shunt_bpf_map_pressure",
      help: "How full a kernel map is, 0 to 1.",
      labelNames: ["map"],
      registers: [this.registry],
      collect() {
        if (!datapath.loaded) return;
        for (const name of pressured) {
          const map = datapath.map(name);
          this.set({ map: name }, map.entries().length / map.info.maxEntries);
        }
      },
    });
  }
}
