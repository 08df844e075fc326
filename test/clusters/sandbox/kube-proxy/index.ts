// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import type { Family } from "../../../../lib/addresses.ts";
import { Informer } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { createLogger } from "../../../../lib/log.ts";
import { connectProxy } from "./client.ts";
import { readConfiguration } from "./configuration.ts";
import { serveHealth } from "./health.ts";
import type { ProxyNode } from "./port-plan.ts";
import { Proxier } from "./proxier.ts";

const flags = {
  config: { type: "string", default: "/var/lib/kube-proxy/config.conf" },
  "hostname-override": { type: "string" },
} as const;

/** kube-proxy in small: Services by iptables or nftables, laid out as kube-proxy itself does. */
export async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({ args: argv, options: flags });
  const log = createLogger();
  const config = readConfiguration(readFileSync(values.config, "utf8"));
  const nodeName = values["hostname-override"] ?? hostname();
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stop.abort(name));
  const kube = await connectProxy(config.kubeconfig);
  const services = new Informer(kube, "/api/v1/services", log);
  const slices = new Informer(kube, "/apis/discovery.k8s.io/v1/endpointslices", log, {
    labelSelector: "kubernetes.io/service-name",
  });
  const nodes = new Informer(kube, "/api/v1/nodes", log, { fieldSelector: `metadata.name=${nodeName}` });
  const informers = [services, slices, nodes];
  for (const informer of informers) void informer.run(stop.signal);
  await Promise.all(informers.map((informer) => informer.whenSynced(stop.signal)));
  const read = () => ({
    services: services.list(),
    slices: slices.list(),
    node: placeOf(nodes.get(nodeName), nodeName),
  });
  const proxier = new Proxier(config, usableFamilies(), read, log);
  let place = "";
  nodes.onChange(() => {
    // The node's status is written every few seconds; what rules depend on hardly ever changes.
    const now = JSON.stringify(read().node);
    if (now !== place) proxier.changed();
    place = now;
  });
  for (const informer of [services, slices]) informer.onChange(() => proxier.changed());
  serveHealth(config, proxier.state, log);
  log.info("serving", { part: "kube-proxy", mode: config.mode, node: nodeName });
  await proxier.run(stop.signal);
  return 0;
}

function placeOf(node: KubeObject | undefined, name: string): ProxyNode {
  const addresses = (node?.status?.addresses ?? []) as { type: string; address: string }[];
  return {
    name,
    zone: node?.metadata.labels?.["topology.kubernetes.io/zone"] ?? "",
    addresses: addresses.filter(({ type }) => type === "InternalIP").map(({ address }) => address),
  };
}

/** Families that the kernel has; like kube-proxy, rules are written for both where it can. */
function usableFamilies(): Family[] {
  return existsSync("/proc/net/if_inet6") ? ["ipv4", "ipv6"] : ["ipv4"];
}
