// SPDX-License-Identifier: Apache-2.0
import { type NodeFacts, ofFamily, podFamilies } from "./follow-nodes.ts";

/** Routes to other nodes' pods by the nodes' own addresses, as `ip route replace` takes them. */
export function routesTo(nodes: readonly NodeFacts[]): string[] {
  return nodes.flatMap((node) =>
    podFamilies(node).flatMap((family) => {
      const via = ofFamily(node.addresses, family);
      return via === undefined ? [] : [`${ofFamily(node.podCidrs, family)} via ${via}`];
    }),
  );
}
