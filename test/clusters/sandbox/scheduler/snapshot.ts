// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { type Amounts, addAmounts, amounts, podRequests } from "./pod-resources.ts";

export interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

/** A node with the pods on it and what they have taken of it. */
export class NodeInfo {
  readonly node: KubeObject;
  readonly allocatable: Amounts;
  readonly requested: Amounts = new Map();
  readonly pods = new Set<KubeObject>();

  constructor(node: KubeObject) {
    this.node = node;
    this.allocatable = amounts(node.status?.allocatable ?? node.status?.capacity);
  }

  get name(): string {
    return this.node.metadata.name!;
  }

  add(pod: KubeObject): void {
    if (this.pods.has(pod)) return;
    this.pods.add(pod);
    addAmounts(this.requested, podRequests(pod));
  }

  remove(pod: KubeObject): void {
    if (this.pods.delete(pod)) addAmounts(this.requested, podRequests(pod), -1);
  }

  label(key: string): string | undefined {
    return this.node.metadata.labels?.[key];
  }
}

/** All nodes as one scheduling decision sees them. */
export class Snapshot {
  readonly nodes = new Map<string, NodeInfo>();
  /** Labels of each namespace, for affinity terms that select namespaces. */
  readonly namespaces: Map<string, KubeObject>;

  constructor(
    nodes: Iterable<KubeObject>,
    pods: Iterable<{ pod: KubeObject; nodeName: string }>,
    namespaces: Map<string, KubeObject>,
  ) {
    this.namespaces = namespaces;
    for (const node of nodes)
      if (node.metadata.deletionTimestamp === undefined)
        this.nodes.set(node.metadata.name!, new NodeInfo(node));
    for (const { pod, nodeName } of pods) this.nodes.get(nodeName)?.add(pod);
  }

  list(): NodeInfo[] {
    return [...this.nodes.values()];
  }
}

/** The host ports that a pod binds. */
export function hostPorts(pod: KubeObject): HostPort[] {
  const ports: HostPort[] = [];
  for (const container of [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])])
    for (const port of container.ports ?? [])
      if (port.hostPort)
        ports.push({
          ip: port.hostIP || "0.0.0.0",
          protocol: port.protocol ?? "TCP",
          port: port.hostPort,
        });
  return ports;
}
