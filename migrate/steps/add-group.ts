// SPDX-License-Identifier: Apache-2.0
import { type InstallRecord, readRecord } from "../../installer/index.ts";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import { waitFor } from "../../lib/wait.ts";
import type { Json } from "../model/journal.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import { installWith, plannedValues } from "./install-standby.ts";
import { newNodes, oldWorkers, providerOf, settleNode, unfitness } from "./new-nodes.ts";
import { type NodeModes, readAllModes, setModes, shuntNodes } from "./node-mode.ts";

interface Before {
  modes: { [node: string]: NodeModes };
  installed: InstallRecord | null;
}

const before = (context: StepContext): Before => context.before as unknown as Before;
const joinMs = 3_600_000;

/**
 * A group of new nodes joins. The configuration says active before the first of them comes, and every old node says
 * by its own object what it is: so no pod of a new node gets an interface of the old network by the agent's doing.
 */
export const addGroupStep: StepKind = {
  kind: "add-group",
  check: async () => undefined,
  async record(context) {
    const provider = await providerOf(context);
    const why = await provider.check(oldWorkers(context));
    if (why !== undefined)
      throw new ShuntError(`Provider ${provider.name} cannot be used: ${why}`, { code: "Blocked" });
    return {
      modes: await readAllModes(context.kube),
      installed: ((await readRecord(context.kube)) ?? null) as unknown as Json,
    };
  },
  async apply(context) {
    const { kube, migration, signal, report, remember } = context;
    const provider = await providerOf(context);
    const old = oldWorkers(context);
    await makeActiveTheDefault(context);
    report(await provider.addNodes({ group: migration, old, signal }));
    const fit = await waitFor(
      `${old.length} new nodes to take pods`,
      async () => {
        const nodes = await newNodes(context);
        const problems = await Promise.all(nodes.map((node) => unfitness(kube, node)));
        const ready = nodes.filter((_, index) => problems[index] === undefined);
        report(`${ready.length} of ${old.length} new nodes take pods`);
        if (ready.length >= old.length) return ready.map(({ metadata }) => metadata.name!);
        const late = problems.findIndex((problem) => problem !== undefined);
        throw new Error(
          late < 0 ? "the others have not joined" : `${nodes[late]!.metadata.name}: ${problems[late]}`,
        );
      },
      {
        timeoutMs: joinMs,
        intervalMs: 2_000,
        signal,
        remedy: "Join the missing nodes, then: shunt migrate resume",
      },
    );
    await remember({ newNodes: fit });
    return `${fit.length} new nodes: ${fit.slice(0, 10).join(", ")}`;
  },
  verify: async () => undefined,
  async undo(context) {
    const { kube, migration, signal } = context;
    const { modes, installed } = before(context);
    const provider = await providerOf(context);
    const outcome = await provider.removeGroup({ group: migration, signal });
    const nodes = (await newNodes(context)).map(({ metadata }) => metadata.name!);
    for (const node of nodes) await waitUntilGone(context, node);
    if (installed !== null) await installWith(context, installed.values);
    const now = await readAllModes(kube);
    for (const [node, wanted] of Object.entries(modes))
      if (now[node] !== undefined) await setModes(kube, node, wanted, signal);
    return outcome;
  },
};

/** Nodes to come are active from their first moment; those that are there stay as they are. */
async function makeActiveTheDefault(context: StepContext): Promise<void> {
  const { kube, plan, signal } = context;
  const { podNetwork, services } = (await plannedValues(context, {})).modes;
  if (podNetwork !== "active") {
    const old = new Set(plan.basis.nodes.map(({ name }) => name));
    for (const [node, own] of Object.entries(await readAllModes(kube)))
      if (old.has(node) && (own.podNetwork === null || own.services === null))
        await setModes(
          kube,
          node,
          { podNetwork: own.podNetwork ?? podNetwork, services: own.services ?? services },
          signal,
        );
  }
  const values = await plannedValues(context, { podNetwork: "active", services: "handover" });
  await installWith(context, { ...values, kubeProxyReplacement: false });
}

/** Waits for a node to leave the cluster, and takes its agent's object away. */
export async function waitUntilGone({ kube, signal, report }: StepContext, node: string): Promise<void> {
  const path = resourcePath("v1", "nodes", undefined, node);
  report(`waiting for node ${node} to be gone`);
  await waitFor(`node ${node} to be gone`, async () => (await kube.find(path)) === undefined, {
    timeoutMs: joinMs,
    intervalMs: 1_000,
    signal,
    remedy: `Remove node ${node} from the cluster, then run the command again.`,
  });
  await kube.deleteIfExists(shuntNodes(node));
}

/** After the last old node: nothing holds the group's place any more, and nodes that came since belong to it. */
export const settleGroupStep: StepKind = {
  kind: "settle-group",
  check: async () => undefined,
  async apply(context) {
    const { migration, signal, remember, report } = context;
    const provider = await providerOf(context);
    const outcome = (await provider.settleGroup?.({ group: migration, signal })) ?? "nothing held its place";
    const proven = new Set(context.nodes().switched);
    const joined: string[] = [];
    for (const { metadata } of await newNodes(context)) {
      const name = metadata.name!;
      // One that goes again, as an autoscaler may decide, is none of the group.
      const isIn =
        proven.has(name) ||
        (await settleNode(context, name).then(
          () => true,
          async (error: unknown) => {
            if (await isThere(context, name)) throw error;
            report(`${name} is gone again: ${errorMessage(error)}`);
            return false;
          },
        ));
      if (isIn) joined.push(name);
    }
    await remember({ newNodes: joined });
    return outcome;
  },
  verify: async () => undefined,
  undo: async () => undefined,
};

const isThere = async ({ kube }: StepContext, node: string): Promise<boolean> =>
  (await kube.find(resourcePath("v1", "nodes", undefined, node))) !== undefined;
