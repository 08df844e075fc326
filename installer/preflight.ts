// SPDX-License-Identifier: Apache-2.0
import { addressBytes, cidrContains, cidrsOverlap, parseCidr } from "../lib/addresses.ts";
import { errorMessage } from "../lib/errors.ts";
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { findKubeProxy, findNetworks } from "./facts.ts";
import type { ClusterFacts } from "./manifests.ts";
import { runOnEveryNode } from "./one-shot.ts";
import type { Values } from "./values.ts";

/** One thing that was looked at before anything is changed. */
export interface Finding {
  check: string;
  severity: "ok" | "warning" | "blocker";
  /** What it is about, for example `node/worker-1`. */
  object: string;
  message: string;
  /** What to do about it; absent for ok. */
  remedy?: string;
}

const ok = (check: string, object: string, message: string): Finding => ({
  check,
  severity: "ok",
  object,
  message,
});
const blocker = (check: string, object: string, message: string, remedy: string): Finding => ({
  check,
  severity: "blocker",
  object,
  message,
  remedy,
});

/** Looks at the cluster; the API part reads only, the node part runs a pod on each node for some seconds. */
export async function checkCluster(
  kube: KubeClient,
  values: Values,
  facts: ClusterFacts,
): Promise<Finding[]> {
  const nodes = (await kube.list(resourcePath("v1", "nodes"))).items;
  const parts = await Promise.all([
    checkVersion(kube),
    checkPermissions(kube),
    checkNodes(nodes),
    checkRanges(nodes, facts),
    checkNetworks(kube, values),
    checkKubeProxy(kube, values),
  ]);
  return parts.flat();
}

async function checkVersion(kube: KubeClient): Promise<Finding[]> {
  const { gitVersion, minor } = await kube.get<any>("/version");
  if (Number.parseInt(minor, 10) >= 25) return [ok("version", "cluster", `Kubernetes ${gitVersion}`)];
  return [
    blocker("version", "cluster", `Kubernetes ${gitVersion} is too old`, "Upgrade to 1.25 or newer first."),
  ];
}

const needed = [
  ["", "configmaps", "create"],
  ["", "serviceaccounts", "create"],
  ["apps", "daemonsets", "create"],
  ["apps", "daemonsets", "patch"],
  ["rbac.authorization.k8s.io", "clusterroles", "create"],
  ["rbac.authorization.k8s.io", "clusterrolebindings", "create"],
  ["apiextensions.k8s.io", "customresourcedefinitions", "create"],
] as const;

async function checkPermissions(kube: KubeClient): Promise<Finding[]> {
  const reviews = await Promise.all(
    needed.map(async ([group, resource, verb]) => {
      const spec = { resourceAttributes: { group, resource, verb, namespace: "kube-system" } };
      const body = {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        metadata: {},
        spec,
      };
      const review = await kube.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body);
      return review.status?.allowed === true ? undefined : `${verb} ${resource}`;
    }),
  );
  const denied = reviews.filter((entry) => entry !== undefined);
  if (denied.length === 0) return [ok("permissions", "user", "may create all that is needed")];
  const remedy = "Use a kubeconfig context with the ClusterRole cluster-admin.";
  return [blocker("permissions", "user", `may not: ${denied.join(", ")}`, remedy)];
}

function checkNodes(nodes: KubeObject[]): Finding[] {
  if (nodes.length === 0)
    return [blocker("nodes", "cluster", "the cluster has no node", "Join a node, then install.")];
  return nodes.flatMap((node): Finding[] => {
    const object = `node/${node.metadata.name}`;
    const os = node.status?.nodeInfo?.operatingSystem;
    if (os !== undefined && os !== "linux")
      return [
        { check: "nodes", severity: "warning", object, message: `runs ${os}`, remedy: "The agent skips it." },
      ];
    if ((node.spec?.podCIDRs ?? []).length === 0)
      return [
        blocker(
          "pod-cidr",
          object,
          "has no pod CIDR (spec.podCIDRs)",
          "Start kube-controller-manager with --allocate-node-cidrs and --cluster-cidr.",
        ),
      ];
    return [ok("pod-cidr", object, `pod CIDR ${node.spec.podCIDRs.join(", ")}`)];
  });
}

/** Pod, Service and node addresses must be three worlds that do not meet. */
export function checkRanges(nodes: KubeObject[], facts: ClusterFacts): Finding[] {
  const findings: Finding[] = [];
  const podRanges = [
    ...facts.clusterPodCIDRs.map((cidr) => ({ object: "pod CIDR", cidr: parseCidr(cidr) })),
    ...nodes.flatMap((node) =>
      ((node.spec?.podCIDRs as string[]) ?? []).map((cidr) => ({
        object: `node/${node.metadata.name}`,
        cidr: parseCidr(cidr),
      })),
    ),
  ];
  const remedy =
    "Choose pod, Service and node networks that do not overlap; a node's range is set when it joins.";
  for (const { object, cidr } of podRanges) {
    for (const service of facts.serviceCIDRs.map(parseCidr))
      if (cidrsOverlap(cidr, service))
        findings.push(
          blocker("ranges", object, `pod CIDR ${cidr.text} overlaps Service CIDR ${service.text}`, remedy),
        );
    for (const node of nodes)
      for (const { type, address } of node.status?.addresses ?? [])
        if (type === "InternalIP" && cidrContains(cidr, addressBytes(address)))
          findings.push(
            blocker(
              "ranges",
              object,
              `pod CIDR ${cidr.text} holds the address ${address} of node ${node.metadata.name}`,
              remedy,
            ),
          );
  }
  findings.push(
    ...overlapsBetweenNodes(
      podRanges.filter(({ object }) => object.startsWith("node/")),
      remedy,
    ),
  );
  if (findings.length === 0)
    findings.push(ok("ranges", "cluster", "pod, Service and node addresses do not overlap"));
  return findings;
}

function overlapsBetweenNodes(
  ranges: { object: string; cidr: ReturnType<typeof parseCidr> }[],
  remedy: string,
) {
  const findings: Finding[] = [];
  for (const [index, a] of ranges.entries())
    for (const b of ranges.slice(index + 1))
      if (a.object !== b.object && cidrsOverlap(a.cidr, b.cidr))
        findings.push(
          blocker(
            "ranges",
            a.object,
            `pod CIDR ${a.cidr.text} overlaps ${b.cidr.text} of ${b.object}`,
            remedy,
          ),
        );
  return findings;
}

async function checkNetworks(kube: KubeClient, values: Values): Promise<Finding[]> {
  const networks = await findNetworks(kube);
  if (networks.length === 0) return [ok("existing-cni", "cluster", "no other pod network")];
  return networks.map(({ name, namespace, daemonSet }) => ({
    check: "existing-cni",
    severity: values.preflight.allowExistingCni ? ("warning" as const) : ("blocker" as const),
    object: `daemonset/${namespace}/${daemonSet}`,
    message: `the cluster runs ${name}; its pods and Shunt's would not reach each other`,
    remedy: "Migrate instead of installing, or go on with --set preflight.allowExistingCni=true.",
  }));
}

async function checkKubeProxy(kube: KubeClient, values: Values): Promise<Finding[]> {
  const part = await findKubeProxy(kube);
  if (part === undefined) return [ok("kube-proxy", "cluster", "no kube-proxy DaemonSet")];
  const object = `daemonset/${part.namespace}/${part.daemonSet}`;
  if (values.kubeProxyReplacement)
    return [ok("kube-proxy", object, "will be disabled, and restored by uninstall")];
  return [
    {
      check: "kube-proxy",
      severity: "warning",
      object,
      message: "keeps running beside the agent's service routing",
      remedy: "Set kubeProxyReplacement=true, or modes.services=off.",
    },
  ];
}

/** Runs the agent's feature probe on every node: what the kernel can do, tried, not read from its version. */
export async function checkKernels(
  kube: KubeClient,
  values: Values,
  options: { signal?: AbortSignal; report?: (progress: string) => void },
): Promise<Finding[]> {
  const args = ["probe", "-o", "json", "--tunnel-port", String(values.tunnelPort)];
  const results = await runOnEveryNode(kube, "shunt-preflight", values, args, {
    timeoutMs: 120_000,
    ...options,
  });
  return results.flatMap(({ node, ok: passed, output }): Finding[] => {
    const object = `node/${node}`;
    try {
      return kernelFindings(object, JSON.parse(output));
    } catch (error) {
      const message = passed ? `unreadable probe result: ${errorMessage(error)}` : output.trim().slice(-400);
      return [
        blocker(
          "kernel",
          object,
          `the feature probe did not run: ${message}`,
          `Check that the image ${values.image} is on the node (or can be pulled).`,
        ),
      ];
    }
  });
}

interface ProbeReport {
  kernel?: string;
  features: { name: string; ok: boolean; required?: boolean; reason?: string }[];
}

function kernelFindings(object: string, report: ProbeReport): Finding[] {
  const missing = report.features.filter((feature) => !feature.ok && feature.required !== false);
  const lacking = report.features.filter((feature) => !feature.ok && feature.required === false);
  const found: Finding[] = missing.map((feature) =>
    blocker(
      "kernel",
      object,
      `${feature.name}: ${feature.reason ?? "not available"}`,
      "Use a kernel of 5.10 or newer with BPF, BTF, vxlan and veth; modes.services=off needs no cgroup hooks.",
    ),
  );
  for (const feature of lacking)
    found.push({ ...ok("kernel", object, `without ${feature.name}: ${feature.reason ?? "not available"}`) });
  if (missing.length === 0)
    found.unshift(
      ok(
        "kernel",
        object,
        `kernel ${report.kernel ?? "?"} has all ${report.features.length - lacking.length} features needed`,
      ),
    );
  return found;
}
