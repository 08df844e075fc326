// SPDX-License-Identifier: Apache-2.0
import { clusterNames, initPid, readPlan } from "./state.ts";

/** One sandbox cluster as `cluster list` shows it. */
export interface ClusterSummary {
  name: string;
  driver: "sandbox";
  /** Running: every node lives; Degraded: some do; Stopped: none does; Incomplete: its creation was cut off. */
  status: "Running" | "Degraded" | "Stopped" | "Incomplete";
  nodes: { name: string; running: boolean }[];
  ipFamily?: string;
  server?: string;
  createdAt?: string;
}

/** All sandbox clusters of this machine. */
export function listSandboxClusters(): ClusterSummary[] {
  return clusterNames().map((name) => {
    const plan = readPlan(name);
    if (plan === undefined || plan.apiPort === 0)
      return { name, driver: "sandbox", status: "Incomplete", nodes: [] };
    const nodes = plan.nodes.map((node) => ({
      name: node.name,
      running: initPid(name, node.name) !== undefined,
    }));
    const running = nodes.filter((node) => node.running).length;
    const status = running === nodes.length ? "Running" : running === 0 ? "Stopped" : "Degraded";
    const { ipFamily, createdAt, apiPort } = plan;
    return {
      name,
      driver: "sandbox",
      status,
      nodes,
      ipFamily,
      createdAt,
      server: `https://127.0.0.1:${apiPort}`,
    };
  });
}
