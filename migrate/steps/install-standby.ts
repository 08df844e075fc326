// SPDX-License-Identifier: Apache-2.0
import { Writable } from "node:stream";
import {
  defaultValues,
  type InstallRecord,
  installSteps,
  loadValues,
  readRecord,
  uninstallSteps,
  type Values,
} from "../../installer/index.ts";
import { runSteps, type Step } from "../../lib/steps.ts";
import type { Json } from "../model/journal.ts";
import type { StepContext, StepKind } from "../step-kind.ts";

/** Runs the installer's steps inside one of ours. */
export async function runInstaller<Context>(
  steps: Step<Context>[],
  installation: Context,
  { signal, report }: Pick<StepContext, "signal" | "report">,
): Promise<void> {
  const out = new Writable({
    write(chunk, _encoding, done) {
      report(String(chunk).trim());
      done();
    },
  });
  await runSteps(steps, installation, { style: "lines", out, signal });
}

/** Installs with these values, or changes the installation to them. */
export async function installWith(context: StepContext, values: Values): Promise<void> {
  const { kube, signal } = context;
  await runInstaller(installSteps(), { kube, values, findings: [], signal, timeoutMs: 600_000 }, context);
}

/** The values of the installation that is there, or the defaults, with what the plan sets. */
export async function plannedValues(
  { kube, plan }: StepContext,
  modes: Partial<Values["modes"]>,
): Promise<Values> {
  const base = (await readRecord(kube))?.values ?? defaultValues;
  const values = await loadValues([], plan.options.agentValues, base);
  return {
    ...values,
    modes: { ...values.modes, ...modes },
    preflight: { ...values.preflight, allowExistingCni: true },
  };
}

export const installStandbyStep: StepKind = {
  kind: "install-standby",
  check: async () => undefined,
  record: async ({ kube }) => ({ installed: ((await readRecord(kube)) ?? null) as unknown as Json }),
  async apply(context) {
    const values = await plannedValues(context, { podNetwork: "standby", services: "shadow" });
    await installWith(context, { ...values, kubeProxyReplacement: false });
    return "the agent is in standby on all nodes";
  },
  verify: async () => undefined,
  async undo(context) {
    const { installed } = context.before as unknown as { installed: InstallRecord | null };
    if (installed !== null) {
      await installWith(context, installed.values);
      return "the installation is as it was";
    }
    const { kube, signal } = context;
    await runInstaller(uninstallSteps(), { kube, signal }, context);
    return "the agent is gone";
  },
};
