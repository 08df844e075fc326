// SPDX-License-Identifier: Apache-2.0
import { mkdir } from "node:fs/promises";
import { resourcePath } from "../../../../lib/kube.ts";
import { connectKube } from "../../../../lib/kube-connect.ts";
import { Informer } from "../../../../lib/kube-informer.ts";
import { createLogger } from "../../../../lib/log.ts";
import { CriClient } from "./cri.ts";
import { EventRecorder } from "./events.ts";
import type { KubeletNode } from "./kubelet-node.ts";
import { NodeAgent } from "./node-agent.ts";
import { ObjectCache } from "./object-cache.ts";
import { parseOptions } from "./options.ts";
import type { Pod } from "./pod.ts";
import { PodManager } from "./pod-manager.ts";
import { RuntimeReader } from "./pod-runtime.ts";
import { startServer } from "./server.ts";
import { StaticPods } from "./static-pods.ts";
import { TokenSource } from "./tokens.ts";

/**
 * Runs a small kubelet until SIGTERM or SIGINT: pods of one node through a container runtime's CRI. Its pods
 * run on when it ends; the next one adopts them. Returns the exit code.
 */
export async function main(argv: string[]): Promise<number> {
  const options = parseOptions(argv);
  const log = createLogger(undefined, options.logLevel, { node: options.nodeName });
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
  await mkdir(options.rootDir, { recursive: true });
  await mkdir(options.podLogsDir, { recursive: true });
  const client = await connectKube({ kubeconfig: options.kubeconfig });
  const cri = new CriClient(options.runtimeEndpoint);
  const agent = new NodeAgent(options, client, cri, log, () => manager.wakeAll());
  const kubelet: KubeletNode = {
    options,
    log,
    client,
    cri,
    reader: new RuntimeReader(cri),
    events: new EventRecorder(client, options.nodeName, log),
    objects: new ObjectCache(client),
    tokens: new TokenSource(client),
    services: new Informer(client, resourcePath("v1", "services"), log),
    node: () => agent.node,
    networkProblem: () => agent.networkProblem,
  };
  const manager = new PodManager(kubelet);
  // Pods that can start at once should not first be told that the network is not known yet.
  await agent.askRuntime();
  const server = await startServer(kubelet, manager);
  const fieldSelector = `spec.nodeName=${options.nodeName}`;
  const pods = new Informer<Pod>(client, resourcePath("v1", "pods"), log, { fieldSelector });
  const parts = [
    agent.run(stop.signal),
    manager.watchRuntime(stop.signal),
    kubelet.services.run(stop.signal),
    // Pods learn the Services of their namespace when they start, so those must be known first.
    kubelet.services
      .whenSynced(stop.signal)
      .then(() => manager.follow(pods, stop.signal))
      .catch(() => undefined),
  ];
  parts.push(new StaticPods(kubelet, manager, options.podManifestPath).run(stop.signal));
  log.info("kubelet started", { runtime: options.runtimeEndpoint, port: options.port });
  await Promise.all(parts);
  manager.stop();
  server.close();
  client.close();
  cri.close();
  log.info("kubelet ended; its pods run on");
  return 0;
}
