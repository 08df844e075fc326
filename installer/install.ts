// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { ShuntError } from "../lib/errors.ts";
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import type { Step } from "../lib/steps.ts";
import { waitFor } from "../lib/wait.ts";
import { findKubeProxy, gatherFacts, waitForPodRanges, waitForReadyNodes } from "./facts.ts";
import { disableKubeProxy, isDisabled, rememberKubeProxy } from "./kube-proxy.ts";
import {
  accessObjects,
  agentConfig,
  agentDaemonSet,
  type ClusterFacts,
  customResourceDefinitions,
  isOurs,
  policyDefinitions,
} from "./manifests.ts";
import { agentName, daemonSet, namespace, pods } from "./names.ts";
import { checkCluster, checkKernels, type Finding } from "./preflight.ts";
import { readRecord, writeRecord } from "./record.ts";
import { readStatus } from "./status.ts";
import type { Values } from "./values.ts";

export interface InstallContext {
  kube: KubeClient;
  values: Values;
  facts?: ClusterFacts;
  findings: Finding[];
  signal?: AbortSignal;
  /** Milliseconds that the rollout may take. */
  timeoutMs: number;
}

const plurals: Record<string, string> = {
  CustomResourceDefinition: "customresourcedefinitions",
  ServiceAccount: "serviceaccounts",
  ClusterRole: "clusterroles",
  ClusterRoleBinding: "clusterrolebindings",
  ConfigMap: "configmaps",
  DaemonSet: "daemonsets",
};

/** API path of one of our own manifests. */
export function manifestPath(object: KubeObject): string {
  return resourcePath(
    object.apiVersion ?? "",
    plurals[object.kind ?? ""] ?? "",
    object.metadata.namespace,
    object.metadata.name,
  );
}

/** Every object that an installation applies, in order. */
export function installManifests(values: Values, facts: ClusterFacts): KubeObject[] {
  const config = agentConfig(values, facts);
  const hash = createHash("sha256").update(JSON.stringify(config.data)).digest("hex").slice(0, 16);
  return [...customResourceDefinitions(), ...accessObjects(), config, agentDaemonSet(values, facts, hash)];
}

const apply = async (context: InstallContext, kinds: string[]): Promise<string> => {
  const wanted = installManifests(context.values, context.facts!).filter((object) =>
    kinds.includes(object.kind!),
  );
  for (const object of wanted) await context.kube.apply(manifestPath(object), object);
  return wanted.map((object) => `${object.kind}/${object.metadata.name}`).join(", ");
};

/** Throws when a finding blocks; exit code 3. */
export function requireNoBlocker(findings: Finding[]): void {
  const blockers = findings.filter((finding) => finding.severity === "blocker");
  if (blockers.length === 0) return;
  const lines = blockers.map(
    ({ object, message, remedy }) => `\n  - ${object}: ${message}\n    ${remedy ?? ""}`,
  );
  throw new ShuntError(
    `${blockers.length} finding${blockers.length > 1 ? "s" : ""} block the installation; nothing was changed:${lines.join("")}`,
    {
      code: "Blocked",
      exitCode: 3,
    },
  );
}

const summary = (findings: Finding[]): string => {
  const warnings = findings.filter((finding) => finding.severity === "warning");
  return `${findings.length - warnings.length} checks passed${warnings.map((finding) => `; warning: ${finding.object}: ${finding.message}`).join("")}`;
};

/** How long a node that has just joined may be without its pod range. */
const podRangesTimeoutMs = 15_000;
/** How long Kubernetes may take to see that a node has a pod network now. */
const readyNodesTimeoutMs = 30_000;

/** The installation as a list of steps; each is safe to run again, so an interrupted one is finished by the next. */
export function installSteps(): Step<InstallContext>[] {
  return [
    {
      name: "preflight",
      title: "Check the cluster",
      async run(context) {
        await waitForPodRanges(context.kube, {
          timeoutMs: podRangesTimeoutMs,
          signal: context.signal,
        });
        context.facts = await gatherFacts(context.kube, context.values);
        const findings = await checkCluster(context.kube, context.values, context.facts);
        context.findings.push(...findings);
        requireNoBlocker(findings);
        return summary(findings);
      },
    },
    {
      name: "probe-kernels",
      title: "Try the kernel's features on every node",
      async skip(context) {
        if (!context.values.preflight.probeNodes) return "preflight.probeNodes is false";
        return (await context.kube.find(daemonSet(agentName))) === undefined
          ? undefined
          : "the agent already runs";
      },
      async run(context, report) {
        const findings = await checkKernels(context.kube, context.values, {
          report,
          ...(context.signal ? { signal: context.signal } : {}),
        });
        context.findings.push(...findings);
        requireNoBlocker(findings);
        return summary(findings);
      },
    },
    { name: "record", title: "Record what is there now", run: recordState },
    {
      name: "crds",
      title: "Apply the custom resource definitions",
      async run(context) {
        const applied = await apply(context, ["CustomResourceDefinition"]);
        const foreign: string[] = [];
        for (const object of policyDefinitions()) {
          const found = await context.kube.find(manifestPath(object));
          if (found !== undefined && !isOurs(found)) foreign.push(object.metadata.name!);
          else await context.kube.apply(manifestPath(object), object);
        }
        await waitFor(
          "the CRD nodes.shunt.dev to be served",
          async () => (await context.kube.find("/apis/shunt.dev/v1alpha1/nodes")) !== undefined,
          {
            timeoutMs: 60_000,
          },
        );
        return foreign.length === 0 ? applied : `${applied}; ${foreign.join(", ")} as they were`;
      },
    },
    {
      name: "rbac",
      title: "Apply the access rules",
      run: (context) => apply(context, ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"]),
    },
    { name: "config", title: "Apply the configuration", run: (context) => apply(context, ["ConfigMap"]) },
    { name: "agent", title: "Apply the node agent", run: (context) => apply(context, ["DaemonSet"]) },
    { name: "rollout", title: "Wait until the agent runs on every node", run: waitForRollout },
    {
      name: "kube-proxy",
      title: "Disable kube-proxy",
      async skip({ kube, values }) {
        if (!values.kubeProxyReplacement) return "kubeProxyReplacement is false";
        if (values.modes.services !== "on") return `modes.services is ${values.modes.services}`;
        const part = await findKubeProxy(kube);
        if (part === undefined) return "the cluster has none";
        return isDisabled(part) ? "already disabled" : undefined;
      },
      async run({ kube, signal }) {
        const part = await findKubeProxy(kube);
        if (part !== undefined) await disableKubeProxy(kube, part, signal);
        return "its pods are gone; uninstall brings them back";
      },
    },
    { name: "verify", title: "Verify every node's datapath", run: verify },
  ];
}

/** Before the first change: what uninstall will put back. A record that is there already knows better. */
async function recordState(context: InstallContext): Promise<string> {
  const { kube, values } = context;
  const known = await readRecord(kube);
  const part = values.kubeProxyReplacement ? await findKubeProxy(kube) : undefined;
  const kubeProxy =
    known?.kubeProxy ?? (part === undefined || isDisabled(part) ? undefined : rememberKubeProxy(part));
  await writeRecord(kube, { values, ...(kubeProxy === undefined ? {} : { kubeProxy }) });
  return known === undefined ? "first installation" : `was version ${known.version}`;
}

async function waitForRollout(context: InstallContext, report: (progress: string) => void): Promise<string> {
  const { kube } = context;
  let reason = "";
  const ready = await waitFor(
    "the agent to be ready on every node",
    async () => {
      const { status, metadata } = await kube.get(daemonSet(agentName));
      const desired = status?.desiredNumberScheduled ?? 0;
      if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0) || desired === 0) return false;
      report(`${status.numberReady ?? 0} of ${desired} nodes ready`);
      if ((status.numberReady ?? 0) >= desired && (status.updatedNumberScheduled ?? 0) >= desired)
        return desired as number;
      reason = await notReadyReason(kube);
      if (reason !== "") throw new Error(reason);
      return false;
    },
    {
      timeoutMs: context.timeoutMs,
      intervalMs: 300,
      remedy: `See kubectl -n ${namespace} logs ds/${agentName}. Nothing is lost: run the command again to go on, or shunt uninstall.`,
      ...(context.signal ? { signal: context.signal } : {}),
    },
  );
  return `${ready} nodes`;
}

/** The first thing that keeps an agent pod from being ready, for the time-out's message. */
async function notReadyReason(kube: KubeClient): Promise<string> {
  for (const pod of (await kube.list(pods(), { labelSelector: `k8s-app=${agentName}` })).items) {
    const status = pod.status?.containerStatuses?.[0];
    if (status?.ready === true) continue;
    const waiting = status?.state?.waiting;
    const last = status?.lastState?.terminated;
    const detail = waiting?.message ?? waiting?.reason ?? last?.message ?? "not ready yet";
    return `${pod.spec?.nodeName}: pod ${pod.metadata.name} ${detail}`;
  }
  return "";
}

async function verify(context: InstallContext): Promise<string> {
  const status = await waitFor(
    "every node to report Ready",
    async () => {
      const current = await readStatus(context.kube);
      const wrong = current.nodes.find((node) => !node.ready);
      if (wrong !== undefined) throw new Error(`${wrong.name}: ${wrong.reason}`);
      return current.nodes.length > 0 ? current : undefined;
    },
    {
      timeoutMs: context.timeoutMs,
      intervalMs: 300,
      remedy: "See shunt status.",
      ...(context.signal ? { signal: context.signal } : {}),
    },
  );
  if (context.values.modes.podNetwork === "active")
    await waitForReadyNodes(context.kube, {
      timeoutMs: readyNodesTimeoutMs,
      signal: context.signal,
    });
  return `${status.nodes.length} nodes Ready`;
}
