// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";

const group = "shunt.dev/v1alpha1";
export const migrations = (name?: string): string => resourcePath(group, "migrations", undefined, name);
export const nodeMigrations = (name?: string): string =>
  resourcePath(group, "nodemigrations", undefined, name);

/** Label of a NodeMigration: the Migration that it belongs to. */
export const migrationLabel = "shunt.dev/migration";

const text = { type: "string" };
const texts = { type: "array", items: text };
const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
const closed = (properties: Record<string, unknown>) => ({ type: "object", properties });
const entry = closed({
  state: { type: "string", enum: ["pending", "running", "done", "skipped", "failed", "undoing", "undone"] },
  startedAt: text,
  endedAt: text,
  attempts: { type: "integer" },
  message: text,
  before: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
  notes: open,
  packed: text,
});
const steps = { type: "object", additionalProperties: entry };

interface Kind {
  plural: string;
  kind: string;
  shortName: string;
  description: string;
  spec: object;
  status: object;
  columns: [string, string][];
}

const kinds: Kind[] = [
  {
    plural: "migrations",
    kind: "Migration",
    shortName: "mig",
    description: "The journal of one migration: its plan, and how far it is.",
    spec: closed({
      strategy: text,
      plan: { type: "string", description: "The plan: JSON, gzip, base64." },
      planHash: text,
      paused: {
        type: "boolean",
        description: "Set it to ask the operator to stop after the step under way.",
      },
    }),
    status: closed({
      phase: text,
      reason: text,
      startedAt: text,
      endedAt: text,
      holder: text,
      current: texts,
      stepsDone: { type: "integer" },
      stepsTotal: { type: "integer" },
      nodesSwitched: { type: "integer" },
      nodesTotal: { type: "integer" },
      steps,
    }),
    columns: [
      ["Strategy", ".spec.strategy"],
      ["Phase", ".status.phase"],
      ["Steps", ".status.stepsDone"],
      ["Of", ".status.stepsTotal"],
      ["Reason", ".status.reason"],
    ],
  },
  {
    plural: "nodemigrations",
    kind: "NodeMigration",
    shortName: "nmig",
    description: "The journal of one node in a migration.",
    spec: closed({ migration: text, node: text }),
    status: closed({ step: text, state: text, steps }),
    columns: [
      ["Node", ".spec.node"],
      ["Step", ".status.step"],
      ["State", ".status.state"],
    ],
  },
];

function definition({ plural, kind, shortName, description, spec, status, columns }: Kind): KubeObject {
  const schema = {
    type: "object",
    description,
    properties: { apiVersion: text, kind: text, metadata: { type: "object" }, spec, status },
  };
  const column = ([name, jsonPath]: [string, string]) => ({
    name,
    jsonPath,
    type: name === "Steps" || name === "Of" ? "integer" : "string",
  });
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.shunt.dev`, labels: { "app.kubernetes.io/managed-by": "shunt" } },
    spec: {
      group: "shunt.dev",
      scope: "Cluster",
      names: {
        ...{ kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
        shortNames: [shortName],
      },
      versions: [
        {
          ...{ name: "v1alpha1", served: true, storage: true },
          subresources: { status: {} },
          additionalPrinterColumns: [
            ...columns.map(column),
            { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
          ],
          schema: { openAPIV3Schema: schema },
        },
      ],
    },
  };
}

/** The kinds in which journals are kept. */
export const journalDefinitions = (): KubeObject[] => kinds.map(definition);

/** Makes the API server serve journals. */
export async function applyDefinitions(kube: KubeClient): Promise<void> {
  for (const crd of journalDefinitions()) {
    const path = resourcePath(
      "apiextensions.k8s.io/v1",
      "customresourcedefinitions",
      undefined,
      crd.metadata.name,
    );
    await kube.apply(path, crd);
  }
  for (const path of [migrations(), nodeMigrations()])
    await waitFor(`${path} to be served`, async () => (await kube.find(path)) !== undefined, {
      timeoutMs: 60_000,
    });
}
