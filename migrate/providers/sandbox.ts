// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { type NodeGroupProvider, readinessTaint } from "../model/tools.ts";
import type { ProviderSetup, SandboxNodes } from "./setup.ts";

/** Nodes of a sandbox cluster of this machine. */
export function sandboxProvider({ kube, sandbox }: ProviderSetup): NodeGroupProvider {
  const found = (): { nodes: SandboxNodes; cluster: string } | undefined => {
    const cluster = sandbox?.clusterAt(kube.server);
    return sandbox === undefined || cluster === undefined ? undefined : { nodes: sandbox, cluster };
  };
  const needed = () => {
    const there = found();
    if (there !== undefined) return there;
    throw new ShuntError(`${kube.server} is no sandbox cluster of this machine`, {
      code: "Blocked",
      remedy: "Run this on the machine that the cluster was created on; see shunt cluster list.",
    });
  };
  return {
    name: "sandbox",
    check: async () =>
      found() === undefined ? `${kube.server} is no sandbox cluster of this machine` : undefined,
    async addNodes({ group, old, signal }) {
      const { nodes, cluster } = needed();
      const taint = `${readinessTaint.key}:${readinessTaint.effect}`;
      const names = await nodes.add({ cluster, group, count: old.length, taint, signal });
      return `joined ${names.join(", ")}`;
    },
    async removeNode({ node, signal }) {
      const { nodes, cluster } = needed();
      await nodes.remove({ cluster, node, signal });
      return `removed ${node}`;
    },
    async removeGroup({ group, signal }) {
      const { nodes, cluster } = needed();
      const members = nodes.members(cluster, group);
      for (const node of members) await nodes.remove({ cluster, node, signal });
      return members.length === 0 ? "there were no nodes of it" : `removed ${members.join(", ")}`;
    },
  };
}
