// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { quantityMilli } from "./quantity.ts";

/** Thousandths of each resource, by name. */
export type Amounts = Map<string, number>;

const requestsOf = new WeakMap<KubeObject, Amounts>();

/** What a pod asks of its node: its containers together, or its largest init container if that is more. */
export function podRequests(pod: KubeObject): Amounts {
  let requests = requestsOf.get(pod);
  if (requests === undefined) {
    requests = computeRequests(pod.spec);
    requestsOf.set(pod, requests);
  }
  return requests;
}

function computeRequests(spec: any): Amounts {
  const total: Amounts = new Map();
  for (const container of spec.containers ?? []) addAmounts(total, amounts(container.resources?.requests));
  // A restartable init container goes on beside all that start after it.
  const sidecars: Amounts = new Map();
  const initPeak: Amounts = new Map();
  for (const container of spec.initContainers ?? []) {
    const own = amounts(container.resources?.requests);
    if (container.restartPolicy === "Always") addAmounts(sidecars, own);
    const during = new Map(sidecars);
    if (container.restartPolicy !== "Always") addAmounts(during, own);
    raiseTo(initPeak, during);
  }
  addAmounts(total, sidecars);
  raiseTo(total, initPeak);
  for (const [name, amount] of amounts(spec.resources?.requests)) total.set(name, amount);
  addAmounts(total, amounts(spec.overhead));
  return total;
}

/** Thousandths of a resource list such as `{cpu: "100m"}`. */
export function amounts(list: Record<string, string> | undefined): Amounts {
  return new Map(Object.entries(list ?? {}).map(([name, value]) => [name, quantityMilli(value)]));
}

/** Adds `more` to `total`, `sign` -1 takes it away. */
export function addAmounts(total: Amounts, more: Amounts, sign: 1 | -1 = 1): void {
  for (const [name, amount] of more) total.set(name, (total.get(name) ?? 0) + sign * amount);
}

function raiseTo(total: Amounts, floor: Amounts): void {
  for (const [name, amount] of floor) total.set(name, Math.max(total.get(name) ?? 0, amount));
}
