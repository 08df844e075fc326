// SPDX-License-Identifier: Apache-2.0
// Steps that change ConfigMaps instead of nodes, so that tests can see what every step did and undid.
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import type { ClientConfig } from "../../lib/kube.ts";
import { KubeClient, resourcePath } from "../../lib/kube.ts";
import type { Json } from "../model/journal.ts";
import type { Plan, PlanStep, StepKindName } from "../model/plan.ts";
import { planSteps } from "../plan/index.ts";
import type { StepContext, StepKind, StepKinds } from "../step-kind.ts";

const decode = (text: string): string => Buffer.from(text, "base64").toString();

/** Where and as whom a test's operator connects. */
export interface Credentials {
  server: string;
  ca: string;
  cert: string;
  key: string;
}

/** Those of a kubeconfig that `startTestApiServer` wrote. */
export function credentialsOf(kubeconfig: string): Credentials {
  const { clusters, users } = parse(readFileSync(kubeconfig, "utf8"));
  return {
    server: clusters[0].cluster.server,
    ca: decode(clusters[0].cluster["certificate-authority-data"]),
    cert: decode(users[0].user["client-certificate-data"]),
    key: decode(users[0].user["client-key-data"]),
  };
}

/** A client without @kubernetes/client-node, which takes long to load. */
export function connectWith({ server, ca, cert, key }: Credentials): KubeClient {
  const config: ClientConfig = {
    getCurrentContext: () => "test",
    getCurrentCluster: () => ({ name: "test", server, skipTLSVerify: false }),
    async applyToHTTPSOptions(options) {
      Object.assign(options, { ca, cert, key });
    },
  };
  return new KubeClient(config);
}

const worlds = (name?: string): string => resourcePath("v1", "configmaps", "default", name);
const worldOf = (step: PlanStep): string => `world-${step.node ?? "cluster"}`;

/** The world before: what the steps find, some of it from somebody else. */
export async function createWorld(kube: KubeClient, plan: Plan): Promise<void> {
  const names = new Set(planSteps(plan).map(worldOf));
  for (const name of names)
    await kube.create(worlds(), {
      metadata: { name, labels: { world: "yes" } },
      data: { cordon: "by somebody", own: "kept" },
    });
  for (const { name } of plan.basis.nodes)
    await kube.create(resourcePath("v1", "nodes"), { metadata: { name } });
}

/** All of the world, as text. */
export async function readWorld(kube: KubeClient): Promise<string> {
  const { items } = await kube.list(worlds(), { labelSelector: "world=yes" });
  const lines = items.map(({ metadata, data }) => [
    metadata.name,
    JSON.stringify(Object.entries(data ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))),
  ]);
  return lines
    .map((line) => line.join(" "))
    .sort()
    .join("\n");
}

/** Called in the middle of an apply or an undo. */
export type InTheMiddle = (step: PlanStep, what: "applying" | "unmaking") => void | Promise<void>;

function fakeKind(kind: StepKindName, inTheMiddle: InTheMiddle): StepKind {
  const read = async ({ kube, step }: StepContext): Promise<string | null> =>
    (await kube.get(worlds(worldOf(step)))).data?.[kind] ?? null;
  const put = async ({ kube, step }: StepContext, value: Json): Promise<void> => {
    await kube.patch(worlds(worldOf(step)), "merge", { data: { [kind]: value } });
  };
  return {
    kind,
    check: async () => undefined,
    record: read,
    async apply(context) {
      await put(context, "half");
      await inTheMiddle(context.step, "applying");
      await context.remember({ tried: true });
      await put(context, "whole");
      return `${kind} done`;
    },
    async verify(context) {
      const value = await read(context);
      if (value !== "whole") throw new Error(`it is ${value}`);
      return undefined;
    },
    async undo(context) {
      await put(context, "half undone");
      await inTheMiddle(context.step, "unmaking");
      await put(context, context.before);
      return "as before";
    },
  };
}

/** Fakes for every step of a plan. */
export function fakeKinds(plan: Plan, inTheMiddle: InTheMiddle = () => undefined): StepKinds {
  const kinds = new Set(planSteps(plan).map(({ kind }) => kind));
  return Object.fromEntries([...kinds].map((kind) => [kind, fakeKind(kind, inTheMiddle)]));
}
