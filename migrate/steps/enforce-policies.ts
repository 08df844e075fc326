// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../lib/kube.ts";
import { sleep } from "../../lib/wait.ts";
import type { Json } from "../model/journal.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import { type NodeModes, readAllModes, setModes, shuntNodes, waitForModes } from "./node-mode.ts";

const lookMs = 2_000;
/** Agents tell what they audited every 10 s; one that does not for so long after its time is not waited for. */
const lateMs = 60_000;
const atOnce = 10;

const before = (context: StepContext): { [node: string]: NodeModes } =>
  context.before as unknown as { [node: string]: NodeModes };

/** What the agents of a cluster tell about what they audit. */
interface Audit {
  nodes: string[];
  /** How many kinds of connections policies would deny, and some of them. */
  count: number;
  examples: string[];
  /** A node that audits and has not told yet what. */
  silent: string | undefined;
}

async function readAudit(kube: KubeClient): Promise<Audit> {
  const living = await readAllModes(kube);
  const { items } = await kube.list(shuntNodes());
  const audit: Audit = { nodes: [], count: 0, examples: [], silent: undefined };
  for (const { metadata, status } of items) {
    const policy = status?.layers?.policy;
    if (living[metadata.name!] === undefined || policy?.mode !== "audit") continue;
    audit.nodes.push(metadata.name!);
    if (typeof policy.audited?.count !== "number") audit.silent ??= metadata.name!;
    audit.count += policy.audited?.count ?? 0;
    audit.examples.push(...(policy.audited?.examples ?? []));
  }
  return audit;
}

/** Looks until audit has seen nothing for as long as the plan says; what it saw, or who does not tell, otherwise. */
async function watchAudit({ kube, plan, signal, report }: StepContext): Promise<Audit> {
  const until = performance.now() + 1_000 * plan.options.policyAuditSeconds;
  for (;;) {
    const audit = await readAudit(kube);
    const left = until - performance.now();
    if (audit.count > 0 || (left <= 0 && audit.silent === undefined) || left <= -lateMs) return audit;
    report(
      left > 0
        ? `policies would deny nothing on ${audit.nodes.length} nodes; watched for ${Math.ceil(left / 1_000)} s more`
        : `waiting for what node ${audit.silent} audits`,
    );
    await sleep(lookMs, signal);
  }
}

/**
 * Policies that the old network did not enforce are audited on switched nodes. Where that found nothing, they are enforced
 * from here on; else they stay in audit: a migration drops nothing that has passed before.
 */
export const enforcePoliciesStep: StepKind = {
  kind: "enforce-policies",
  check: async () => undefined,
  record: async ({ kube }) => await readAllModes(kube),
  async apply(context) {
    const { kube, notes, remember, signal, report } = context;
    // Once begun it goes on: some nodes that enforce and some that do not is the worst of all.
    if (notes.enforcing !== true) {
      const { count, examples, silent } = await watchAudit(context);
      const why =
        count > 0
          ? `they would deny ${count} kinds of connections that are opened now`
          : silent === undefined
            ? undefined
            : `node ${silent} does not tell what they would deny`;
      if (why !== undefined) {
        await remember({ leftInAudit: why, examples: examples.slice(0, 20) as Json, changed: [] });
        return `policies stay in audit: ${why}`;
      }
      await remember({ enforcing: true });
    }
    const { nodes } = await readAudit(kube);
    const rest = nodes.values();
    const work = async (): Promise<void> => {
      for (const node of rest) {
        report(`policies on node ${node}`);
        await setModes(kube, node, { policy: "enforce" }, signal);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    return `policies are enforced on ${nodes.length} nodes`;
  },
  async verify({ kube, notes, signal }) {
    if (notes.enforcing !== true) return undefined;
    for (const [node, { policy }] of Object.entries(await readAllModes(kube)))
      if (policy === "enforce") await waitForModes(kube, node, { policy }, signal);
    return undefined;
  },
  async undo(context) {
    const { kube, signal } = context;
    const now = await readAllModes(kube);
    for (const [node, { policy }] of Object.entries(before(context)))
      if (now[node] !== undefined && now[node].policy !== policy)
        await setModes(kube, node, { policy }, signal);
    return "policies are audited as before";
  },
};
