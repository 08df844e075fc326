// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../../lib/kube.ts";
import { nodeExec } from "../../exec.ts";
import type { ClusterPlan } from "../../plan.ts";
import { type NodeFacts, nodeFacts } from "../follow-nodes.ts";
import { routesTo } from "../node-routes.ts";

/** Where the static routes are kept; a node's administrator would have them in the network's configuration. */
const routesFile = "/etc/network/pod-routes";

/**
 * The network that needs no daemon: on every node a CNI configuration for the `bridge` plugin and static routes to
 * the other nodes' pods.
 */
export async function installBridge(kube: KubeClient, plan: ClusterPlan): Promise<void> {
  const nodes = (await kube.list("/api/v1/nodes")).items.map(nodeFacts);
  for (const node of nodes) {
    const files = {
      "/etc/cni/net.d/10-bridge.conf": `${JSON.stringify(bridgeConfiguration(node), null, 2)}\n`,
      [routesFile]: `${routesTo(nodes.filter((other) => other !== node))
        .map((route) => `route replace ${route}`)
        .join("\n")}\n`,
    };
    for (const [file, text] of Object.entries(files))
      await nodeExec(
        plan.name,
        node.name,
        ["sh", "-euc", 'mkdir -p "$(dirname "$1")"; cat >"$1"', "sh", file],
        {
          input: text,
        },
      );
    await nodeExec(plan.name, node.name, ["ip", "-batch", routesFile]);
  }
}

/** The configuration of a node: its own pod ranges, masqueraded towards everywhere else. */
export function bridgeConfiguration(node: NodeFacts): object {
  return {
    cniVersion: "0.3.1",
    name: "bridge",
    type: "bridge",
    bridge: "cni0",
    isGateway: true,
    isDefaultGateway: true,
    ipMasq: true,
    hairpinMode: true,
    ipam: { type: "host-local", ranges: node.podCidrs.map((subnet) => [{ subnet }]) },
  };
}
