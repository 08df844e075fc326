// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";

/** Facts that Calico is known by. */
export const vxlanName = "vxlan.calico";
export const vxlanVni = 4096;
export const vxlanPort = 4789;
/** Protocol number of Felix's routes. */
export const routeProtocol = 80;

/** Where calico-node tells the CNI plugin who and where it is. */
export const stateDir = "/var/lib/calico";
/** Where the plugin tells calico-node of endpoints: a file an interface, with the pod's namespace. */
export const endpointsDir = "/var/run/calico/endpoints";

/** Where calico-node tells the CNI plugin by which policies pods are isolated. */
export const policyFile = `${stateDir}/policies.json`;

/** Host interface of a pod. */
export function interfaceOf(namespace: string, pod: string): string {
  return `cali${createHash("sha1").update(`${namespace}.${pod}`).digest("hex").slice(0, 11)}`;
}

/** MAC address of a node's VXLAN device: every other node works it out from the name. */
export function vtepMac(nodeName: string): string {
  const digest = createHash("sha1").update(nodeName).digest("hex");
  return `66:${digest.slice(0, 10).match(/../g)!.join(":")}`;
}
