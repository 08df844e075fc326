// SPDX-License-Identifier: Apache-2.0
import { sleep } from "../../lib/wait.ts";
import type { StepKind } from "../step-kind.ts";

const pollMs = 2_000;

/** Waits for the last connections that netfilter translates, and then takes away what kept them translated. */
export const releaseConnectionsStep: StepKind = {
  kind: "release-connections",
  check: async () => undefined,
  async apply({ plan, step, endedAt, tools, signal, report }) {
    const handover = endedAt("services-handover");
    const since = handover === undefined ? Date.now() : Date.parse(handover);
    const deadline = since + 1000 * plan.options.connectionDeadlineSeconds;
    for (;;) {
      const { connections } = (await tools.nodeTask.run(
        "release-connections",
        step.node!,
        { mode: plan.basis.kubeProxy.mode },
        { signal },
      )) as {
        connections: number;
      };
      if (connections === 0) return "no connection needs netfilter's translation any more";
      // To end them is not ours; what keeps them goes with the node's next start at the latest.
      if (Date.now() >= deadline)
        return `${connections} connections are still translated; nft table shunt_open_connections keeps them, delete it when they have ended`;
      report(`${connections} connections are still translated`);
      await sleep(pollMs, signal);
    }
  },
  verify: async () => undefined,
  undo: async () => undefined,
};
