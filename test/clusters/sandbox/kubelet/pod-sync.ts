// SPDX-License-Identifier: Apache-2.0
import { mkdir, readFile, rm } from "node:fs/promises";
import { errorMessage } from "../../../../lib/errors.ts";
import { createCgroup } from "./cgroups.ts";
import type { ContainerStarter, ReadySandbox } from "./container-starter.ts";
import type { ContainerStopper } from "./container-stopper.ts";
import type { SandboxConfig } from "./cri-messages.ts";
import { type KubeletNode, StartError } from "./kubelet-node.ts";
import { graceSeconds, isHostNetwork, type Pod, podCgroup, podName, podUid } from "./pod.ts";
import { type PodActions, planPod } from "./pod-actions.ts";
import type { PodProbes } from "./pod-probes.ts";
import type { PodRuntime } from "./pod-runtime.ts";
import { parseResolvConf, podDns } from "./resolv-conf.ts";
import { sandboxConfig } from "./sandbox-config.ts";
import { mountVolumes } from "./volumes.ts";

/** What one pod's synchronisation works with. */
export interface SyncTools {
  kubelet: KubeletNode;
  starter: ContainerStarter;
  stopper: ContainerStopper;
  probes: PodProbes;
}

/** What came of one synchronisation. */
export interface SyncResult {
  /** True when something was started or stopped, so that there may be more to do at once. */
  changed: boolean;
  retryMs: number | undefined;
}

/** How old the API objects behind volumes may be while a pod runs. */
const REFRESH_MS = 10_000;

/** Does what brings the pod nearer to its spec. Throws StartError for what holds the whole pod up. */
export async function syncPod(
  tools: SyncTools,
  pod: Pod,
  runtime: PodRuntime,
  signal: AbortSignal,
): Promise<SyncResult> {
  const { kubelet, probes } = tools;
  const actions = planPod(pod, runtime, probes);
  const problem = kubelet.networkProblem();
  if (
    actions.sandbox === undefined &&
    actions.start.length > 0 &&
    problem !== undefined &&
    !isHostNetwork(pod)
  )
    throw new StartError("NetworkNotReady", `network is not ready: ${problem}`);
  const isNew = runtime.containers.length === 0;
  const podIps = runtime.sandboxes[0]?.ips ?? [];
  const volumes = await mountVolumes(kubelet, pod, isNew ? 0 : REFRESH_MS, podIps).catch((error) => {
    throw new StartError("FailedMount", errorMessage(error));
  });
  signal.throwIfAborted();
  if (actions.sandbox === undefined) return await replaceSandbox(tools, pod, runtime, actions);
  let changed = false;
  for (const { container, message } of actions.stop) {
    await tools.stopper.stop(pod, container, stopGrace(pod, container.name), message);
    changed = true;
  }
  if (changed) return { changed: true, retryMs: undefined };
  return await startContainers(tools, pod, runtime, actions, volumes, signal);
}

/** A probe may give its container another time to end than the pod does. */
function stopGrace(pod: Pod, name: string): number {
  const container = pod.spec.containers.find((entry: any) => entry.name === name);
  return (
    container?.livenessProbe?.terminationGracePeriodSeconds ??
    container?.startupProbe?.terminationGracePeriodSeconds ??
    graceSeconds(pod)
  );
}

async function replaceSandbox(
  tools: SyncTools,
  pod: Pod,
  runtime: PodRuntime,
  actions: PodActions,
): Promise<SyncResult> {
  const { kubelet } = tools;
  if (actions.replace && runtime.sandboxes.length > 0) {
    const alive = runtime.containers.some((entry) => entry.state === "running");
    if (alive || actions.start.length > 0) {
      if (actions.start.length > 0)
        kubelet.events.record(
          pod,
          "Normal",
          "SandboxChanged",
          "Pod sandbox changed, it will be killed and re-created.",
        );
      await tools.stopper.stopAll(pod, runtime, graceSeconds(pod));
      for (const sandbox of runtime.sandboxes)
        await kubelet.cri.stopPodSandbox(sandbox.id).catch((error) => {
          // A dead sandbox whose network cannot be taken down must not keep its successor from starting;
          // garbage collection tries again.
          if (sandbox.ready) throw error;
          kubelet.log.warn("cannot stop a dead sandbox", { sandbox: sandbox.id, error: errorMessage(error) });
        });
    }
  }
  if (actions.start.length === 0) return { changed: false, retryMs: undefined };
  await createCgroup(podCgroup(pod));
  const config = await configOf(kubelet, pod, actions.attempt);
  await mkdir(config.log_directory, { recursive: true });
  try {
    await kubelet.cri.runPodSandbox(config);
  } catch (error) {
    throw new StartError("FailedCreatePodSandBox", `Failed to create pod sandbox: ${errorMessage(error)}`);
  }
  return { changed: true, retryMs: undefined };
}

async function startContainers(
  tools: SyncTools,
  pod: Pod,
  runtime: PodRuntime,
  actions: PodActions,
  volumes: Map<string, string>,
  signal: AbortSignal,
): Promise<SyncResult> {
  const { sandbox } = actions;
  if (sandbox === undefined || actions.start.length === 0) return { changed: false, retryMs: undefined };
  const config = await configOf(tools.kubelet, pod, sandbox.attempt);
  const ready: ReadySandbox = { sandbox, config, volumes };
  const result: SyncResult = { changed: false, retryMs: undefined };
  for (const container of actions.start) {
    signal.throwIfAborted();
    const retryMs = await tools.starter.start(pod, container, runtime, ready, signal);
    if (retryMs === undefined) result.changed = true;
    else result.retryMs = Math.min(retryMs, result.retryMs ?? retryMs);
  }
  return result;
}

async function configOf(kubelet: KubeletNode, pod: Pod, attempt: number): Promise<SandboxConfig> {
  const { options } = kubelet;
  const host = parseResolvConf(await readFile(options.resolvConf, "utf8").catch(() => ""));
  const dns = podDns(pod, host, { servers: options.clusterDns, domain: options.clusterDomain });
  const node = {
    name: options.nodeName,
    logsDir: options.podLogsDir,
    profilesDir: `${options.rootDir}/seccomp`,
    clusterDomain: options.clusterDomain,
  };
  return sandboxConfig(pod, node, dns, attempt);
}

/** Removes what the runtime keeps of earlier tries: all but two containers of a name, and old sandboxes. */
export async function collectGarbage(kubelet: KubeletNode, pod: Pod, runtime: PodRuntime): Promise<void> {
  const kept = new Map<string, number>();
  const used = new Set<string>();
  for (const container of runtime.containers) {
    const count = (kept.get(container.name) ?? 0) + 1;
    kept.set(container.name, count);
    if (count <= 2 || container.state === "running") {
      used.add(container.sandboxId);
      continue;
    }
    await kubelet.cri.removeContainer(container.id);
    if (container.logPath !== "") await rm(container.logPath, { force: true });
    if (container.messageFile !== "") await rm(container.messageFile, { force: true });
  }
  for (const sandbox of runtime.sandboxes.slice(1)) {
    if (sandbox.ready || used.has(sandbox.id)) continue;
    kubelet.log.debug("removing old sandbox", { pod: podName(pod), uid: podUid(pod), sandbox: sandbox.id });
    await kubelet.cri.stopPodSandbox(sandbox.id);
    await kubelet.cri.removePodSandbox(sandbox.id);
  }
}
