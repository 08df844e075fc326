// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../lib/kube-object.ts";

export const serviceNameLabel = "kubernetes.io/service-name";

/**
 * Takes out of an EndpointSlice what nobody asks for, which is most of it: an agent keeps all slices of the cluster.
 * Services ask for its owner, ports and endpoints, policies for its owner and addresses.
 */
export function forgetMostOfSlice(slice: KubeObject): void {
  const { name, namespace, uid, resourceVersion, labels } = slice.metadata;
  const owner = labels?.[serviceNameLabel];
  slice.metadata = {
    ...{ name, namespace, uid, resourceVersion },
    ...(owner === undefined ? {} : { labels: { [serviceNameLabel]: owner } }),
  };
  if (Array.isArray(slice.endpoints)) slice.endpoints = slice.endpoints.map(leanEndpoint);
}

function leanEndpoint(endpoint: any): unknown {
  const { addresses, conditions, nodeName, zone, targetRef, hints } = endpoint ?? {};
  return {
    addresses,
    conditions: sharedConditions(conditions),
    nodeName,
    zone,
    targetRef: targetRef?.kind === "Pod" ? { kind: "Pod", name: targetRef.name } : undefined,
    hints,
  };
}

const conditionsByText = new Map<string, unknown>();

/** One object for all endpoints in the same state: there are a hundred thousand endpoints, in a handful of states. */
function sharedConditions(conditions: any): unknown {
  const { ready, serving, terminating } = conditions ?? {};
  const text = `${ready} ${serving} ${terminating}`;
  const known = conditionsByText.get(text);
  if (known !== undefined) return known;
  const made = Object.freeze({ ready, serving, terminating });
  conditionsByText.set(text, made);
  return made;
}
