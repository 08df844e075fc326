// SPDX-License-Identifier: Apache-2.0
import { type InstallRecord, readRecord } from "../../installer/index.ts";
import { ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import type { Json } from "../model/journal.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import { installWith, plannedValues } from "./install-standby.ts";
import { type NodeModes, readAllModes, setModes } from "./node-mode.ts";

interface Before {
  modes: { [node: string]: NodeModes };
  installed: InstallRecord | null;
}

const before = (context: StepContext): Before => context.before as unknown as Before;

/** Whether `enforce-policies` has switched the nodes. */
const areEnforced = (modes: { [node: string]: NodeModes }): boolean =>
  Object.keys(modes).length > 0 && Object.values(modes).every(({ policy }) => policy === "enforce");

/** Makes the new state the default for nodes to come, and leaves no setting of the migration on any node. */
export const finishStep: StepKind = {
  kind: "finish",
  check: async () => undefined,
  record: async ({ kube }) => ({
    modes: await readAllModes(kube),
    installed: ((await readRecord(kube)) ?? null) as unknown as Json,
  }),
  async apply(context) {
    const { kube, plan, signal } = context;
    const keepsNetwork = plan.options.strategy === "kube-proxy-only";
    const modes = await readAllModes(kube);
    const values = await plannedValues(context, {
      podNetwork: keepsNetwork ? "standby" : "active",
      services: "on",
      ...(areEnforced(before(context).modes) ? { policy: "enforce" } : {}),
    });
    await installWith(context, { ...values, kubeProxyReplacement: true });
    for (const [node, asked] of Object.entries(modes)) {
      const own: Partial<NodeModes> = { podNetwork: asked.podNetwork, services: asked.services };
      // Somebody may have told a node another mode: only one that says the same goes.
      if (asked.policy === values.modes.policy) own.policy = asked.policy;
      const set = Object.entries(own).filter(([, mode]) => mode !== null);
      if (set.length > 0)
        await setModes(kube, node, Object.fromEntries(set.map(([layer]) => [layer, null])), signal);
    }
    return `${Object.keys(modes).length} nodes follow the configuration`;
  },
  async verify({ kube, migration }) {
    const { items } = await kube.list(resourcePath("v1", "nodes"));
    const cordoned = items.filter(({ metadata }) =>
      metadata.annotations?.["shunt.dev/cordon"]?.includes(`"migration/${migration}"`),
    );
    if (cordoned.length === 0) return undefined;
    throw new ShuntError(`still cordoned: ${cordoned.map(({ metadata }) => metadata.name).join(", ")}`);
  },
  async undo(context) {
    const { kube, signal } = context;
    const { modes, installed } = before(context);
    const now = await readAllModes(kube);
    // Each node says what it is before the configuration stops to say so.
    for (const [node, wanted] of Object.entries(modes))
      if (now[node] !== undefined) await setModes(kube, node, wanted, signal);
    if (installed !== null) await installWith(context, installed.values);
    return "nodes keep what they are by their own objects";
  },
};
