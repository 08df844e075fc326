// SPDX-License-Identifier: Apache-2.0
import type { Ask } from "./ask.ts";
import type { WizardFlags, WizardPlan } from "./flags.ts";
import type { ClusterLook } from "./look.ts";

const count = (text: string): string | undefined =>
  /^[1-9]\d{0,3}$/.test(text) ? undefined : "it must be a whole number from 1";

/** Asks for the strategy and its bounds, and for what only the pods' owner can allow. */
export async function planMigration(
  ask: Ask,
  flags: WizardFlags,
  look: ClusterLook,
  target: string[],
): Promise<WizardPlan> {
  const withoutProxy = look.kubeProxy === "running" ? {} : { disabled: `kube-proxy is ${look.kubeProxy}` };
  const strategy =
    flags.strategy ??
    (await ask.select({
      message: "Which way?",
      preset: "node-by-node",
      choices: [
        {
          value: "node-by-node",
          name: "node by node",
          description: "both networks side by side; each node is drained, switched and verified in turn",
        },
        {
          value: "blue-green",
          name: "new nodes",
          description: "new nodes join with the agent; the old ones are drained and removed",
        },
        {
          value: "kube-proxy-only",
          name: "kube-proxy only",
          description: "the pod network stays; the agent takes over Services",
          ...withoutProxy,
        },
      ],
    }));
  const atOnce =
    flags.maxUnavailable ??
    (strategy === "kube-proxy-only" || look.nodes < 3
      ? "1"
      : await ask.input({ message: "How many nodes may be away at once?", preset: "1", check: count }));
  const file =
    flags.planFile ??
    (await ask.input({
      message: "File for the plan",
      preset: "shunt-migration-plan.yaml",
      check: (text) => (text.trim() === "" ? "name a file" : undefined),
    }));
  const way = ["--strategy", strategy, ...(await permissions(ask, flags, look))];
  return {
    show: [
      ["migrate", "preflight", ...target, ...way],
      ["migrate", "plan", ...target, ...way, "--max-unavailable", atOnce, "--out", file],
    ],
    run: [["migrate", "run", ...target, "--plan", file, "--yes"]],
  };
}

/** What only the owner of the pods can allow; asked when there are such pods. */
async function permissions(ask: Ask, flags: WizardFlags, { blockers = [] }: ClusterLook): Promise<string[]> {
  const allowed = async (given: boolean | undefined, finding: string, message: string): Promise<boolean> =>
    given ?? (blockers.includes(finding) && (await ask.confirm({ message, preset: false })));
  const words = (flags.accept ?? []).flatMap((id) => ["--accept", id]);
  if (
    await allowed(
      flags.force,
      "drain-unmanaged",
      "Some pods have no controller and do not come back. May they be deleted?",
    )
  )
    words.push("--force");
  if (
    await allowed(
      flags.deleteEmptydirData,
      "drain-empty-dir",
      "Some pods keep data in emptyDir volumes, which is lost when they move. May it be?",
    )
  )
    words.push("--delete-emptydir-data");
  return words;
}
