// SPDX-License-Identifier: Apache-2.0
import { type NodeGroupProvider, readinessTaint } from "../model/tools.ts";
import type { ProviderSetup } from "./setup.ts";

/** People make and remove the nodes; Shunt says what to do, and the step waits until it is done. */
export function manualProvider({ say }: ProviderSetup): NodeGroupProvider {
  const told = new Set<string>();
  const tell = async (message: string): Promise<string> => {
    if (!told.has(message)) say(message);
    told.add(message);
    return message;
  };
  const { key, effect } = readinessTaint;
  return {
    name: "manual",
    check: async () => undefined,
    addNodes: ({ old }) =>
      tell(
        `Join ${old.length} nodes like ${old.slice(0, 3).join(", ")} to the cluster now, with the taint ${key}:${effect}, which the agent takes away.`,
      ),
    removeNode: ({ node }) =>
      tell(`Node ${node} is drained. Stop its machine, then: kubectl delete node ${node}`),
    removeGroup: ({ group }) => tell(`Remove the nodes that were joined for ${group}.`),
  };
}
