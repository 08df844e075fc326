// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { connectKube } from "../../lib/kube-connect.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { run } from "../../lib/run.ts";
import { waitFor } from "../../lib/wait.ts";
import { startTestApiServer, type TestApiServer } from "../clusters/sandbox/apiserver/testing.ts";
import { type BenchResult, median, pairedRatio } from "./bench.ts";

const root = path.join(import.meta.dirname, "../..");
const podsPerRound = 5;

/** What is compared: a plugin's file and its configuration. */
const plugins = {
  shunt: { file: "/opt/cni/bin/shunt-cni", config: { type: "shunt-cni" } },
  bridge: {
    file: "/usr/lib/cni/bridge",
    config: {
      type: "bridge",
      bridge: "cni0",
      isGateway: true,
      ipMasq: false,
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "10.99.1.0/24" }]],
        routes: [{ dst: "0.0.0.0/0" }],
      },
    },
  },
};
type PluginName = keyof typeof plugins;
type Times = Record<PluginName, Record<"ADD" | "DEL", number[]>>;

/** The node's part of the `cni` bench: starts a small API server and the agent, then times both plugins. */
export async function measureCni(rounds: number, crds: readonly KubeObject[]): Promise<BenchResult> {
  const server = await startTestApiServer({ serviceCidrs: ["10.96.0.0/16"] });
  let agent: ChildProcess | undefined;
  try {
    await createNode(server, crds);
    agent = await startAgent(server);
    const times: Times = { shunt: { ADD: [], DEL: [] }, bridge: { ADD: [], DEL: [] } };
    await runPod("warm", "shunt");
    await runPod("warm", "bridge");
    for (let pod = 0; pod < rounds * podsPerRound; pod++)
      for (const name of pod % 2 === 0 ? (["shunt", "bridge"] as const) : (["bridge", "shunt"] as const)) {
        const { addMs, delMs } = await runPod(`pod${pod}`, name);
        times[name].ADD.push(addMs);
        times[name].DEL.push(delMs);
      }
    return summarise(times);
  } finally {
    await stopAgent(agent);
    await server.stop();
  }
}

async function createNode(server: TestApiServer, crds: readonly KubeObject[]): Promise<void> {
  const kube = await connectKube({ kubeconfig: server.kubeconfig });
  try {
    for (const crd of crds) await kube.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd);
    const spec = { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] };
    await kube.create("/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: "n1" }, spec });
    const addresses = [{ type: "InternalIP", address: "172.31.0.2" }];
    await kube.patch("/api/v1/nodes/n1/status", "merge", { status: { addresses } });
  } finally {
    kube.close();
  }
}

async function startAgent(server: TestApiServer): Promise<ChildProcess> {
  writeFileSync("/run/config.yaml", "clusterPodCIDRs: [10.244.0.0/16]\nlogLevel: warn\n");
  const words = ["bin/agent.ts", "--config", "/run/config.yaml", "--kubeconfig", server.kubeconfig];
  const agent = spawn(process.execPath, [...words, "--node-name", "n1", "--cgroup-root", "/run/cgroup"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    await waitFor("the agent to be ready", isReady, { timeoutMs: 60_000 });
    return agent;
  } catch (error) {
    await stopAgent(agent);
    throw error;
  }
}

async function isReady(): Promise<boolean> {
  const response = await fetch("http://127.0.0.1:9879/status", { signal: AbortSignal.timeout(5_000) });
  return ((await response.json()) as { ready?: boolean }).ready === true;
}

async function stopAgent(agent: ChildProcess | undefined): Promise<void> {
  if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
  const ended = new Promise((resolve) => agent.once("exit", resolve));
  agent.kill("SIGKILL"); // its programs, pins and devices go with the namespaces
  await ended;
}

/** One pod's life: its namespace, ADD, DEL. */
async function runPod(pod: string, name: PluginName): Promise<{ addMs: number; delMs: number }> {
  const netns = `${pod}-${name}`;
  await run("ip", ["netns", "add", netns]);
  try {
    return { addMs: await timeMs("ADD", netns, name), delMs: await timeMs("DEL", netns, name) };
  } finally {
    await run("ip", ["netns", "delete", netns]);
  }
}

async function timeMs(command: "ADD" | "DEL", netns: string, name: PluginName): Promise<number> {
  const { file, config } = plugins[name];
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: netns,
    CNI_NETNS: `/var/run/netns/${netns}`,
    CNI_IFNAME: "eth0",
    CNI_PATH: "/usr/lib/cni",
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${netns}`,
  };
  const input = JSON.stringify({ cniVersion: "1.0.0", name, ...config });
  const start = performance.now();
  await run(file, [], { env, input, timeoutMs: 60_000 });
  return performance.now() - start;
}

function summarise({ shunt, bridge }: Times): BenchResult {
  const rounded = (values: readonly number[]) => Math.round(median(values) * 10) / 10;
  return {
    ratios: {
      cniAddVsBridgeHostLocal: pairedRatio(shunt.ADD, bridge.ADD),
      cniDelVsBridgeHostLocal: pairedRatio(shunt.DEL, bridge.DEL),
    },
    medians: {
      shunt_add_ms: rounded(shunt.ADD),
      shunt_del_ms: rounded(shunt.DEL),
      bridge_host_local_add_ms: rounded(bridge.ADD),
      bridge_host_local_del_ms: rounded(bridge.DEL),
    },
  };
}
