// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { containerdConfig } from "./node/containerd-config.ts";
import { kubeletConfiguration } from "./parts.ts";
import { type ClusterPlan, families, type NodePlan, outside } from "./plan.ts";

/** Everything below a node's /etc that is its own, by path. */
export function nodeFiles(
  plan: ClusterPlan,
  node: NodePlan,
  kubernetes: Record<string, string>,
): Record<string, string> {
  const hosts = plan.nodes.flatMap(({ name, addresses }) => addresses.map((address) => `${address} ${name}`));
  const loopback = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"];
  const resolvers = families(plan.ipFamily).map((family) => `nameserver ${outside.resolvers[family]}`);
  return {
    hostname: `${node.name}\n`,
    hosts: `${[...loopback, ...hosts].join("\n")}\n`,
    "resolv.conf": `${resolvers.join("\n")}\n`,
    "machine-id": `${createHash("md5").update(`${plan.createdAt} ${node.name}`).digest("hex")}\n`,
    "crictl.yaml": "runtime-endpoint: unix:///run/containerd/containerd.sock\n",
    "containerd/config.toml": containerdConfig(),
    "kubernetes/kubelet.yaml": kubeletConfiguration(plan, node),
    ...Object.fromEntries(Object.entries(kubernetes).map(([name, text]) => [`kubernetes/${name}`, text])),
  };
}
