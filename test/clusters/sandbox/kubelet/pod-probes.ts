// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { grpcCheck, httpCheck, type Outcome, tcpCheck } from "./checks.ts";
import type { KubeletNode } from "./kubelet-node.ts";
import { allContainers, type ContainerSpec, isHostNetwork, type Pod } from "./pod.ts";
import { latest, type PodRuntime } from "./pod-runtime.ts";

type Kind = "startup" | "liveness" | "readiness";
const kinds: Kind[] = ["startup", "liveness", "readiness"];

interface Probe {
  id: string;
  kind: Kind;
  spec: any;
  container: ContainerSpec;
  startedAtMs: number;
  /** Undefined until a threshold was reached for the first time. */
  healthy: boolean | undefined;
  streak: number;
  lastOk: boolean | undefined;
  failure: string | undefined;
  timer: NodeJS.Timeout | undefined;
  stopped: boolean;
}

/** Asks one pod's containers again and again how they are, and remembers the verdicts. */
export class PodProbes {
  readonly #kubelet: KubeletNode;
  readonly #onChange: () => void;
  readonly #probes = new Map<string, Probe>();
  /** Containers whose postStart hook is still running. */
  readonly pendingHooks = new Set<string>();
  #pod: Pod | undefined;
  #podIp = "";

  constructor(kubelet: KubeletNode, onChange: () => void) {
    this.#kubelet = kubelet;
    this.#onChange = onChange;
  }

  /** Starts probes of containers that now run and ends those of containers that do not. */
  follow(pod: Pod, runtime: PodRuntime, only: Kind[] = kinds): void {
    this.#pod = pod;
    this.#podIp =
      (isHostNetwork(pod) ? this.#kubelet.options.nodeIps[0] : runtime.sandboxes[0]?.ips[0]) ?? "";
    const wanted = new Set<string>();
    for (const container of allContainers(pod)) {
      const current = latest(runtime, container.name);
      if (current?.state !== "running") continue;
      for (const kind of only) {
        const spec = container[`${kind}Probe`];
        if (spec === undefined || spec === null) continue;
        const key = `${kind} ${current.id}`;
        wanted.add(key);
        if (!this.#probes.has(key)) this.#start(key, kind, spec, container, current.id, current.startedAtMs);
      }
    }
    for (const [key, probe] of this.#probes) if (!wanted.has(key)) this.#stop(key, probe);
  }

  stop(): void {
    for (const [key, probe] of this.#probes) this.#stop(key, probe);
  }

  failure(id: string): string | undefined {
    return this.#probes.get(`startup ${id}`)?.failure ?? this.#probes.get(`liveness ${id}`)?.failure;
  }

  started(id: string): boolean {
    if (this.pendingHooks.has(id)) return false;
    const probe = this.#probes.get(`startup ${id}`);
    return probe === undefined || probe.healthy === true;
  }

  ready(id: string): boolean {
    const probe = this.#probes.get(`readiness ${id}`);
    return probe === undefined || probe.healthy === true;
  }

  #start(
    key: string,
    kind: Kind,
    spec: any,
    container: ContainerSpec,
    id: string,
    startedAtMs: number,
  ): void {
    const probe: Probe = {
      id,
      kind,
      spec,
      container,
      startedAtMs,
      healthy: undefined,
      streak: 0,
      lastOk: undefined,
      failure: undefined,
      timer: undefined,
      stopped: false,
    };
    this.#probes.set(key, probe);
    const initialMs = (spec.initialDelaySeconds ?? 0) * 1000;
    this.#schedule(probe, Math.max(0, startedAtMs + initialMs - Date.now()));
  }

  #stop(key: string, probe: Probe): void {
    probe.stopped = true;
    clearTimeout(probe.timer);
    this.#probes.delete(key);
  }

  #schedule(probe: Probe, delayMs: number): void {
    if (probe.stopped) return;
    probe.timer = setTimeout(() => void this.#tick(probe), delayMs);
  }

  async #tick(probe: Probe): Promise<void> {
    const periodMs = (probe.spec.periodSeconds ?? 10) * 1000;
    // The others hold back until the container has started; then they begin within a second.
    if (probe.kind !== "startup" && !this.started(probe.id))
      return this.#schedule(probe, Math.min(periodMs, 1000));
    if (probe.kind === "startup" && probe.healthy === true) return;
    const startMs = Date.now();
    const outcome = await this.#ask(probe).catch((error) => ({ ok: false, message: errorMessage(error) }));
    if (probe.stopped) return;
    this.#judge(probe, outcome);
    // The container is about to be ended; its successor gets a probe of its own.
    if (probe.failure !== undefined) return;
    this.#schedule(probe, Math.max(0, periodMs - (Date.now() - startMs)));
  }

  #judge(probe: Probe, outcome: Outcome): void {
    probe.streak = probe.lastOk === outcome.ok ? probe.streak + 1 : 1;
    probe.lastOk = outcome.ok;
    if (!outcome.ok && this.#pod !== undefined) {
      const title = { startup: "Startup", liveness: "Liveness", readiness: "Readiness" }[probe.kind];
      this.#kubelet.events.record(
        this.#pod,
        "Warning",
        "Unhealthy",
        `${title} probe failed: ${outcome.message}`,
        `spec.containers{${probe.container.name}}`,
      );
    }
    const threshold = outcome.ok ? (probe.spec.successThreshold ?? 1) : (probe.spec.failureThreshold ?? 3);
    if (probe.streak < threshold) return;
    const changed = probe.healthy !== outcome.ok;
    probe.healthy = outcome.ok;
    if (!outcome.ok && probe.kind !== "readiness")
      probe.failure = `Container ${probe.container.name} failed ${probe.kind} probe, will be restarted`;
    if (changed) this.#onChange();
  }

  async #ask(probe: Probe): Promise<Outcome> {
    const { spec, container } = probe;
    const timeoutSeconds = spec.timeoutSeconds ?? 1;
    if (spec.exec !== undefined) {
      const result = await this.#kubelet.cri.execSync(probe.id, spec.exec.command, timeoutSeconds);
      const output = Buffer.concat([result.stdout, result.stderr]).toString("utf8").slice(0, 1000);
      return { ok: result.exit_code === 0, message: output };
    }
    if (spec.httpGet !== undefined)
      return await httpCheck(spec.httpGet, container, this.#podIp, timeoutSeconds * 1000);
    if (spec.tcpSocket !== undefined)
      return await tcpCheck(spec.tcpSocket, container, this.#podIp, timeoutSeconds * 1000);
    return await grpcCheck(spec.grpc, this.#podIp, timeoutSeconds * 1000);
  }
}
