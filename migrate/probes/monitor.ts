// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../lib/kube.ts";
import type { Monitor } from "../model/tools.ts";
import type { ProbeControl } from "../step-kind.ts";
import type { ProbeReading } from "./merge.ts";
import { leaveNode, type ProbeOptions, readProbes, startProbes, stopProbes } from "./operate.ts";

/** The probes as the steps of a migration start and stop them. */
export function probeControl(kube: KubeClient, options: Omit<ProbeOptions, "signal"> = {}): ProbeControl {
  return {
    start: (signal) => startProbes(kube, { ...options, signal }),
    stop: (signal) => stopProbes(kube, { ...options, signal }),
    leaveNode: (node, signal) => leaveNode(kube, node, signal),
  };
}

/**
 * Has a run pause when the probes lose requests or a long connection breaks that should not.
 * @param allowed how many losses and broken connections are accepted; default none
 */
export function probeMonitor(kube: KubeClient, signal: AbortSignal, allowed = 0): Monitor {
  return {
    async problem() {
      const reading = await readProbes(kube, signal);
      return reading === undefined ? undefined : probeProblem(reading, allowed);
    },
  };
}

/** What is wrong by the probes' word; undefined when nothing is. */
export function probeProblem({ probes, longConnections }: ProbeReading, allowed: number): string | undefined {
  if (probes.lost + longConnections.broken <= allowed) return undefined;
  const last = probes.losses.at(-1);
  const where =
    last === undefined
      ? ""
      : `; the last one at ${last.time}: ${last.probe} by ${last.path} from ${last.from} to ${last.to}`;
  const broken = longConnections.broken === 0 ? "" : `, ${longConnections.broken} long connections broke`;
  return `${probes.lost} of ${probes.sent} requests of the probes were lost${broken}${where}`;
}
