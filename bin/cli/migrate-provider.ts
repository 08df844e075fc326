// SPDX-License-Identifier: Apache-2.0
import type { NodeGroupProvider } from "../../migrate/model/tools.ts";

/** People make and remove the nodes; Shunt says what to do, and the step waits until it is done. */
export function manualProvider(say: (message: string) => void): NodeGroupProvider {
  const told = new Set<string>();
  const tell = async (message: string): Promise<string> => {
    if (!told.has(message)) say(message);
    told.add(message);
    return message;
  };
  return {
    name: "manual",
    check: async () => undefined,
    addNodes: ({ count, like }) => tell(`Join ${count} nodes like ${like} to the cluster now.`),
    removeNode: ({ node }) =>
      tell(`Node ${node} is drained. Stop its machine, then: kubectl delete node ${node}`),
    removeGroup: ({ group }) => tell(`Remove the nodes that were joined for ${group}.`),
  };
}
