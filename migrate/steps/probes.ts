// SPDX-License-Identifier: Apache-2.0
import type { StepKind } from "../step-kind.ts";

const none = "no probes were asked for";

export const startProbesStep: StepKind = {
  kind: "start-probes",
  check: async ({ tools }) => (tools.probes === undefined ? none : undefined),
  apply: async ({ tools, signal }) => await tools.probes?.start(signal),
  verify: async () => undefined,
  undo: async ({ tools, signal }) => await tools.probes?.stop(signal),
};

export const stopProbesStep: StepKind = {
  kind: "stop-probes",
  check: async ({ tools }) => (tools.probes === undefined ? none : undefined),
  apply: async ({ tools, signal }) => await tools.probes?.stop(signal),
  verify: async () => undefined,
  undo: async () => "probes stay off",
};
