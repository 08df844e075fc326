// SPDX-License-Identifier: Apache-2.0
export type { ProbeReading } from "./merge.ts";
export { probeControl, probeMonitor, probeProblem } from "./monitor.ts";
export { type ProbeOptions, readProbes, startProbes, stopProbes } from "./operate.ts";
