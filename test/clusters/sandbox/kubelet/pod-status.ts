// SPDX-License-Identifier: Apache-2.0
import { apiTime, type ContainerFacts, containerStatus } from "./container-status.ts";
import { initContainers, isHostNetwork, isSidecar, isTerminal, mainContainers, type Pod } from "./pod.ts";
import type { PodRuntime } from "./pod-runtime.ts";

/** A pod that was ended by something else than its containers. */
export interface Verdict {
  phase: "Failed" | "Succeeded";
  reason: string;
  message: string;
}

/** What a pod's status is computed from. */
export interface StatusInput {
  pod: Pod;
  runtime: PodRuntime;
  facts: ContainerFacts;
  hostIps: string[];
  verdict: Verdict | undefined;
  nowMs: number;
}

/** The status of a pod, as the API stores it. */
export function podStatus(input: StatusInput): any {
  const { pod, runtime, facts, nowMs } = input;
  const old = pod.status ?? {};
  const of = (list: any[], statuses: any[] = []) =>
    list.map((container) =>
      containerStatus(
        pod,
        container,
        runtime,
        facts,
        statuses.find((entry) => entry.name === container.name),
      ),
    );
  const inits = of(initContainers(pod), old.initContainerStatuses);
  const mains = of(mainContainers(pod), old.containerStatuses);
  const phase = isTerminal(pod) ? old.phase : (input.verdict?.phase ?? podPhase(pod, inits, mains));
  const sandboxReady = runtime.sandboxes[0]?.ready === true;
  const ips = isHostNetwork(pod) ? input.hostIps : (runtime.sandboxes[0]?.ips ?? []);
  const podIps = ips.length > 0 ? ips : (old.podIPs ?? []).map((entry: any) => entry.ip);
  const hasIps = podIps.length > 0 && (runtime.sandboxes.length > 0 || old.podIPs !== undefined);
  const status: any = {
    phase,
    conditions: podConditions(pod, phase, inits, mains, sandboxReady, nowMs),
    hostIP: input.hostIps[0],
    hostIPs: input.hostIps.map((ip) => ({ ip })),
    ...(hasIps ? { podIP: podIps[0], podIPs: podIps.map((ip: string) => ({ ip })) } : {}),
    startTime: old.startTime ?? apiTime(nowMs),
    ...(inits.length > 0 ? { initContainerStatuses: inits } : {}),
    containerStatuses: mains,
  };
  const reason = input.verdict?.reason ?? old.reason;
  const message = input.verdict?.message ?? old.message;
  return { ...status, ...(reason ? { reason } : {}), ...(message ? { message } : {}) };
}

/** In which part of its life a pod is, from the states of its containers. */
export function podPhase(pod: Pod, inits: any[], mains: any[]): string {
  const policy = pod.spec.restartPolicy ?? "Always";
  let pendingInit = 0;
  for (const [index, container] of initContainers(pod).entries()) {
    const { state, lastState, started } = inits[index];
    if (isSidecar(container)) {
      if (!started && state.terminated === undefined) pendingInit += 1;
      continue;
    }
    const ended = state.terminated ?? (state.waiting === undefined ? undefined : lastState.terminated);
    if (ended === undefined) pendingInit += 1;
    else if (ended.exitCode !== 0) {
      if (policy === "Never") return "Failed";
      pendingInit += 1;
    }
  }
  const ended = mains.map(
    (entry) => entry.state.terminated ?? (entry.state.waiting && entry.lastState.terminated),
  );
  const running = mains.filter((entry) => entry.state.running !== undefined).length;
  const stopped = ended.filter((entry) => entry !== undefined);
  const waiting = mains.length - running - stopped.length;
  if ((pendingInit > 0 && running + stopped.length === 0) || waiting > 0) return "Pending";
  if (running > 0) return "Running";
  if (policy === "Always") return "Running";
  if (stopped.every((entry) => entry.exitCode === 0)) return "Succeeded";
  return policy === "Never" ? "Failed" : "Running";
}

function podConditions(
  pod: Pod,
  phase: string,
  inits: any[],
  mains: any[],
  sandboxReady: boolean,
  nowMs: number,
): any[] {
  const completed = phase === "Succeeded" ? "PodCompleted" : phase === "Failed" ? "PodFailed" : undefined;
  const notInitialized = initContainers(pod)
    .filter((container, index) => (isSidecar(container) ? !inits[index].started : !inits[index].ready))
    .map((container) => container.name);
  const begun = mains.some(
    (entry) => entry.state.running !== undefined || entry.lastState.terminated !== undefined,
  );
  const initialized = notInitialized.length === 0 || begun || phase === "Succeeded";
  const unready = mains.filter((entry) => !entry.ready).map((entry) => entry.name);
  for (const [index, container] of initContainers(pod).entries())
    if (isSidecar(container) && !inits[index].ready) unready.push(container.name);
  const containersReady = completed === undefined && unready.length === 0;
  const gates: string[] = (pod.spec.readinessGates ?? []).map((gate: any) => gate.conditionType);
  const closed = gates.filter(
    (type) => pod.status?.conditions?.find((entry: any) => entry.type === type)?.status !== "True",
  );
  const whyUnready =
    completed !== undefined
      ? { reason: completed }
      : { reason: "ContainersNotReady", message: `containers with unready status: [${unready.join(" ")}]` };
  const whyClosed = {
    reason: "ReadinessGatesNotReady",
    message: `corresponding condition of pod readiness gate ${closed.map((type) => `"${type}"`).join(", ")} does not exist or is not true.`,
  };
  const ready = containersReady && closed.length === 0;
  const wanted: [string, boolean, object][] = [
    ["PodReadyToStartContainers", sandboxReady, {}],
    [
      "Initialized",
      initialized,
      {
        reason: "ContainersNotInitialized",
        message: `containers with incomplete status: [${notInitialized.join(" ")}]`,
      },
    ],
    ["Ready", ready, containersReady ? whyClosed : whyUnready],
    ["ContainersReady", containersReady, whyUnready],
    ["PodScheduled", true, {}],
  ];
  const done = completed === "PodCompleted" ? { reason: completed } : {};
  return wanted.map(([type, holds, why]) =>
    condition(pod, type, holds, holds ? (type === "Initialized" ? done : {}) : why, nowMs),
  );
}

function condition(pod: Pod, type: string, holds: boolean, why: object, nowMs: number): any {
  const status = holds ? "True" : "False";
  const old = pod.status?.conditions?.find((entry: any) => entry.type === type);
  const lastTransitionTime = old?.status === status ? old.lastTransitionTime : apiTime(nowMs);
  return { type, status, lastProbeTime: null, lastTransitionTime, ...why };
}
