// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import type { DrainConcern } from "../model/inventory.ts";
import type { BudgetIndex } from "./budgets.ts";
import { addSample, type PodDetails } from "./details.ts";
import { emptyPodDetails } from "./empty-details.ts";
import type { NodeEntry, NodeTally } from "./nodes.ts";
import { quantity } from "./quantity.ts";
import { claimOf, type NodeBoundClaims } from "./volumes.ts";
import { WorkloadTally, workloadOf } from "./workloads.ts";

/** Ports that the agent listens on, on every node. */
export interface AgentPorts {
  tunnelPort: number;
  healthPort: number;
  metricsPort: number;
}

/** What the pod tally needs to know before it sees the first pod. */
export interface PodContext {
  nodes: NodeTally;
  budgets: BudgetIndex;
  claims: NodeBoundClaims;
  ports: AgentPorts;
  nowMs: number;
}

const stuckMs = 300_000;
const longGraceSeconds = 600;
const sidecarNames =
  /^(istio-proxy|linkerd-proxy|kuma-sidecar|consul-dataplane|envoy-sidecar|osm-proxy|envoy)$/;
const finished = new Set(["Succeeded", "Failed"]);

/** A pod's own parts of a control plane, found by the label that kubeadm, kops and others give. */
export interface StaticPart {
  name: string;
  namespace: string;
  args: string[];
}

/** Looks at every pod once and keeps counts, names of the few that matter, and nothing else. */
export class PodTally {
  readonly workloads = new WorkloadTally();
  readonly details: PodDetails = emptyPodDetails();
  /** kube-apiserver, kube-controller-manager and kube-proxy as mirror pods, the first of each. */
  readonly parts = new Map<string, StaticPart>();
  kubeProxyStaticPods = 0;
  count = 0;
  readonly #context: PodContext;
  readonly #ports: ReadonlySet<number>;

  constructor(context: PodContext) {
    this.#context = context;
    const { tunnelPort, healthPort, metricsPort } = context.ports;
    this.#ports = new Set([tunnelPort, healthPort, metricsPort]);
  }

  add(pod: KubeObject): void {
    this.count += 1;
    const { metadata, spec = {}, status = {} } = pod;
    const entry = this.#context.nodes.entries.get(spec.nodeName ?? "");
    const name = `${metadata.namespace}/${metadata.name}`;
    if (entry !== undefined) entry.node.pods += 1;
    if (finished.has(status.phase)) return;
    if (entry === undefined && status.phase === "Pending") addSample(this.details.pending, name);
    const isMirror = metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined;
    const owner = metadata.ownerReferences?.find((reference) => reference.controller === true);
    const isPinned = isMirror || owner?.kind === "DaemonSet";
    if (entry !== undefined) this.#onNode(entry, pod, name, isPinned);
    this.#special(pod, name, isMirror);
    if (metadata.deletionTimestamp !== undefined) this.#terminating(pod, name);
    if (metadata.deletionTimestamp !== undefined || isPinned) return;
    const budgets = this.#context.budgets.cover(metadata.namespace ?? "", metadata.labels);
    const concerns = this.#concerns(pod, owner === undefined, budgets);
    this.workloads.add(workloadOf(pod), { node: entry?.node.name ?? "", concerns, budgets });
  }

  #onNode(entry: NodeEntry, { spec, status = {} }: KubeObject, name: string, isPinned: boolean): void {
    const { node, details } = entry;
    details.requested.pods += 1;
    for (const container of spec.containers ?? []) {
      const requests = container.resources?.requests;
      if (requests === undefined) continue;
      details.requested.cpuMillis += quantity(requests.cpu) * 1000;
      details.requested.memoryBytes += quantity(requests.memory);
    }
    if (spec.hostNetwork === true) return;
    node.networkedPods += 1;
    if (isPinned) node.pinnedPods += 1;
    else
      details.longestGraceSeconds = Math.max(
        details.longestGraceSeconds,
        spec.terminationGracePeriodSeconds ?? 30,
      );
    for (const { ip } of status.podIPs ?? (status.podIP ? [{ ip: status.podIP }] : [])) {
      const owner = this.#context.nodes.ranges.ownerOf(String(ip));
      if (owner === undefined) addSample(details.addressesOutside, `${name} ${ip}`);
      else if (owner !== node.name) addSample(details.foreignAddresses, `${name} ${ip} of ${owner}`);
    }
  }

  #terminating({ metadata, spec = {} }: KubeObject, name: string): void {
    const since = Date.parse(metadata.deletionTimestamp ?? "");
    const graceMs = 1000 * (spec.terminationGracePeriodSeconds ?? 30);
    if (this.#context.nowMs - since > stuckMs + graceMs) addSample(this.details.stuck, name);
  }

  /** Pods that mean something beyond their own workload. */
  #special(pod: KubeObject, name: string, isMirror: boolean): void {
    const { metadata, spec = {} } = pod;
    const { annotations = {}, labels = {} } = metadata;
    const { details } = this;
    if (isMirror) this.#staticPart(pod);
    this.#ourPorts(spec, labels, name);
    if (labels["k8s-app"] === "node-local-dns") details.nodeLocalDns = true;
    const app = labels["app.kubernetes.io/name"] ?? labels.app ?? labels["k8s-app"] ?? "";
    if (/^(aws-)?cluster-autoscaler$|^karpenter$/.test(app) && !details.autoscalers.includes(name))
      details.autoscalers.push(name);
    if (
      annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] === "false" ||
      annotations["karpenter.sh/do-not-disrupt"] === "true"
    )
      addSample(details.doNotEvict, name);
    if (annotations["kubernetes.io/ingress-bandwidth"] ?? annotations["kubernetes.io/egress-bandwidth"])
      addSample(details.bandwidthLimits, name);
    if (annotations["k8s.v1.cni.cncf.io/networks"] !== undefined) addSample(details.severalNetworks, name);
    if (labels["kubevirt.io"] === "virt-launcher") addSample(details.virtualMachines, name);
    for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])])
      if (sidecarNames.test(container.name))
        details.sidecars[container.name] = (details.sidecars[container.name] ?? 0) + 1;
  }

  #staticPart({ metadata, spec = {} }: KubeObject): void {
    const { labels = {}, name = "", namespace = "" } = metadata;
    const part = labels.component ?? labels["k8s-app"] ?? labels.tier ?? "";
    const known = ["kube-apiserver", "kube-controller-manager", "kube-proxy"].find(
      (candidate) => part === candidate || name.startsWith(`${candidate}-`),
    );
    if (known === undefined) return;
    if (known === "kube-proxy") this.kubeProxyStaticPods += 1;
    if (this.parts.has(known)) return;
    const [container] = spec.containers ?? [];
    this.parts.set(known, {
      name,
      namespace,
      args: [...(container?.command ?? []), ...(container?.args ?? [])],
    });
  }

  #ourPorts(spec: any, labels: Record<string, string>, name: string): void {
    if (labels["k8s-app"] === "shunt-agent" || this.details.portConflicts.length >= 50) return;
    for (const container of spec.containers ?? [])
      for (const { hostPort, containerPort } of container.ports ?? []) {
        const port = hostPort ?? (spec.hostNetwork === true ? containerPort : undefined);
        if (this.#ports.has(port)) this.details.portConflicts.push({ object: `Pod ${name}`, port });
      }
  }

  #concerns(
    pod: KubeObject,
    isUnmanaged: boolean,
    budgets: readonly string[],
  ): Map<DrainConcern, string> | undefined {
    const { metadata, spec = {} } = pod;
    const namespace = metadata.namespace ?? "";
    let found: Map<DrainConcern, string> | undefined;
    const note = (concern: DrainConcern, detail: string): void => {
      found ??= new Map();
      found.set(concern, detail);
    };
    if (budgets.length > 1) note("several-budgets", budgets.join(", "));
    if (isUnmanaged) note("unmanaged", "");
    for (const volume of spec.volumes ?? []) {
      if (volume.emptyDir !== undefined) note("empty-dir", volume.name);
      if (volume.hostPath !== undefined) note("host-path", String(volume.hostPath.path));
      const claim = claimOf(metadata.name ?? "", volume);
      if (claim !== undefined && this.#context.claims.has(namespace, claim)) note("node-bound-volume", claim);
    }
    if (toleratesEverything(spec.tolerations)) note("tolerates-everything", "");
    const grace = spec.terminationGracePeriodSeconds ?? 30;
    if (grace >= longGraceSeconds) note("long-grace", `${grace} s`);
    for (const container of spec.containers ?? [])
      for (const { hostPort } of container.ports ?? [])
        if (hostPort > 0 && spec.hostNetwork !== true) note("host-port", String(hostPort));
    return found;
  }
}

/** Whether a pod goes onto any node, a cordoned one as well. */
function toleratesEverything(tolerations: any[] | undefined): boolean {
  return (tolerations ?? []).some(
    ({ key, operator, effect }) =>
      (effect === undefined || effect === "" || effect === "NoSchedule") &&
      ((operator === "Exists" && (key === undefined || key === "")) ||
        key === "node.kubernetes.io/unschedulable"),
  );
}
