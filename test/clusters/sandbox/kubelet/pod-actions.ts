// SPDX-License-Identifier: Apache-2.0
import { containerHash } from "./container-config.ts";
import {
  type ContainerSpec,
  initContainers,
  isHostNetwork,
  isSidecar,
  mainContainers,
  type Pod,
} from "./pod.ts";
import { latest, type PodRuntime, type RuntimeContainer, type Sandbox } from "./pod-runtime.ts";

/** What probes have found out about containers, by container id. */
export interface ProbeVerdicts {
  /** Why the container must be started anew; undefined when it may run on. */
  failure(id: string): string | undefined;
  /** False while the start-up probe or the postStart hook has not succeeded. */
  started(id: string): boolean;
}

/** What has to be done to bring a pod nearer to its spec. */
export interface PodActions {
  /** The sandbox to use; undefined when one has to be made first. */
  sandbox: Sandbox | undefined;
  /** Number of the sandbox to make. */
  attempt: number;
  /** True when everything that runs must be stopped before the sandbox is made. */
  replace: boolean;
  stop: { container: RuntimeContainer; message: string }[];
  start: ContainerSpec[];
}

/** Compares a pod's spec with what runs. Decides nothing about back-off. */
export function planPod(pod: Pod, runtime: PodRuntime, probes: ProbeVerdicts): PodActions {
  const newest = runtime.sandboxes[0];
  const attempt = newest === undefined ? 0 : newest.attempt + 1;
  const usable =
    newest?.ready === true &&
    newest.hostNetwork === isHostNetwork(pod) &&
    (newest.hostNetwork || newest.ips.length > 0);
  const actions: PodActions = {
    sandbox: undefined,
    attempt,
    replace: newest !== undefined,
    stop: [],
    start: [],
  };
  if (!usable || newest === undefined) return planWithoutSandbox(pod, runtime, actions);
  actions.sandbox = newest;
  actions.replace = false;
  const initialized = planInit(pod, runtime, newest.id, probes, actions);
  if (initialized)
    for (const container of mainContainers(pod))
      planContainer(pod, container, runtime, newest.id, probes, actions);
  return actions;
}

/** A pod whose containers have all ended for good needs no sandbox. */
function planWithoutSandbox(pod: Pod, runtime: PodRuntime, actions: PodActions): PodActions {
  const wanted = mainContainers(pod).filter((container) => mayStart(pod, latest(runtime, container.name)));
  const initFailed = initContainers(pod).some((container) => {
    const last = latest(runtime, container.name);
    return last?.state === "exited" && last.exitCode !== 0 && restartPolicy(pod, container) === "Never";
  });
  if (wanted.length > 0 && !initFailed) {
    const first = initContainers(pod)[0];
    actions.start = first === undefined ? wanted : [first];
  }
  return actions;
}

function planInit(
  pod: Pod,
  runtime: PodRuntime,
  sandboxId: string,
  probes: ProbeVerdicts,
  actions: PodActions,
): boolean {
  const mainStarted = mainContainers(pod).some(
    (container) => latest(runtime, container.name, sandboxId) !== undefined,
  );
  for (const container of initContainers(pod)) {
    const last = latest(runtime, container.name, sandboxId);
    if (isSidecar(container)) {
      planContainer(pod, container, runtime, sandboxId, probes, actions);
      if (!mainStarted && !(last?.state === "running" && probes.started(last.id))) return false;
      continue;
    }
    if (mainStarted || (last?.state === "exited" && last.exitCode === 0)) continue;
    if (last?.state === "running") return false;
    if (last?.state !== "exited" || restartPolicy(pod, container) !== "Never") actions.start.push(container);
    return false;
  }
  return true;
}

function planContainer(
  pod: Pod,
  container: ContainerSpec,
  runtime: PodRuntime,
  sandboxId: string,
  probes: ProbeVerdicts,
  actions: PodActions,
): void {
  const last = latest(runtime, container.name, sandboxId);
  if (last?.state !== "running") {
    if (mayStart(pod, last, container)) actions.start.push(container);
    return;
  }
  const failure = probes.failure(last.id);
  const changed = last.hash !== containerHash(container);
  if (failure === undefined && !changed) return;
  const why = failure ?? `Container ${container.name} definition changed, will be restarted`;
  actions.stop.push({ container: last, message: why });
  if (changed || restartPolicy(pod, container) !== "Never") actions.start.push(container);
}

/** When a container of this pod is started again. */
export function restartPolicy(pod: Pod, container?: ContainerSpec): "Always" | "OnFailure" | "Never" {
  if (container !== undefined && isSidecar(container)) return "Always";
  const policy = pod.spec.restartPolicy ?? "Always";
  const isInit = container !== undefined && initContainers(pod).includes(container);
  return isInit && policy === "Always" ? "OnFailure" : policy;
}

function mayStart(pod: Pod, last: RuntimeContainer | undefined, container?: ContainerSpec): boolean {
  if (last === undefined || last.state === "created" || last.state === "unknown") return true;
  if (last.state === "running") return true;
  const policy = restartPolicy(pod, container);
  return policy === "Always" || (policy === "OnFailure" && last.exitCode !== 0);
}
