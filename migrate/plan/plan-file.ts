// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { Ajv } from "ajv";
import { parse, stringify } from "yaml";
import { errorMessage, UsageError } from "../../lib/errors.ts";
import type { Plan } from "../model/plan.ts";
import { planSteps, wavesOf } from "./steps.ts";

const text = { type: "string", maxLength: 4096 };
const nodeName = {
  type: "string",
  minLength: 1,
  maxLength: 253,
  pattern: "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
};
const texts = { type: "array", items: text };
const count = { type: "integer", minimum: 0 };
const optional = new Set(["agentSettings", "newNodes", "nodeFacts", "providerOptions"]);
const closed = (
  properties: Record<string, unknown>,
  required = Object.keys(properties).filter((key) => !optional.has(key)),
) => ({
  type: "object",
  additionalProperties: false,
  required,
  properties,
});
const open = { type: "object" };
const kinds = [
  ...[
    "install-standby",
    "start-probes",
    "compare-policies",
    "add-group",
    "join-node",
    "cordon",
    "drain",
    "activate",
    "recreate",
    "verify-node",
  ],
  ...[
    "uncordon",
    "remove-node",
    "settle-group",
    "services-handover",
    "remove-kube-proxy-rules",
    "disable-old-network",
  ],
  ...[
    "remove-old-network",
    "verify-residue",
    "compare-clusters",
    "cut-over",
    "stop-probes",
    "enforce-policies",
    "verify-policies",
    "finish",
    "release-connections",
  ],
];

const planSchema = closed({
  apiVersion: { const: "shunt.dev/v1alpha1" },
  kind: { const: "MigrationPlan" },
  createdAt: text,
  cluster: closed({ server: text, uid: text, platform: text, serverVersion: text }),
  from: open,
  options: closed({
    strategy: { enum: ["node-by-node", "blue-green", "new-cluster", "kube-proxy-only"] },
    maxUnavailable: { type: "integer", minimum: 1 },
    canary: { type: "integer", minimum: 1 },
    removeOldNetwork: { type: "boolean" },
    connectionDeadlineSeconds: { type: "number", minimum: 0 },
    drainTimeoutSeconds: { type: "number", exclusiveMinimum: 0 },
    policyAuditSeconds: { type: "number", minimum: 0 },
    drainForce: { type: "boolean" },
    drainDeleteEmptyDirData: { type: "boolean" },
    provider: text,
    providerOptions: texts,
    agentValues: texts,
  }),
  agentSettings: { type: "array", items: closed({ value: text, reason: text }) },
  expectedSeconds: { type: "number" },
  risks: texts,
  warnings: { type: "array", items: open },
  basis: closed({
    network: open,
    kubeProxy: open,
    serviceCIDRs: texts,
    nodes: { type: "array", items: closed({ name: nodeName, roles: texts, podCIDRs: texts }) },
    nodeFacts: { type: "boolean" },
  }),
  phases: {
    type: "array",
    items: closed(
      {
        name: text,
        title: text,
        steps: {
          type: "array",
          items: closed({
            kind: { enum: kinds },
            title: text,
            changes: texts,
            expectedSeconds: { type: "number", minimum: 0 },
            risk: text,
          }),
        },
        nodes: {
          type: "array",
          items: closed(
            {
              name: nodeName,
              wave: { type: "integer", minimum: 1 },
              networkedPods: count,
              pinnedPods: count,
              notes: texts,
            },
            ["name", "wave", "networkedPods", "pinnedPods"],
          ),
        },
        newNodes: { const: true },
      },
      ["name", "title", "steps"],
    ),
  },
});

const validate = new Ajv({ allErrors: false, strict: false }).compile(planSchema);

/** Number of seconds in words of people. */
export function formatSeconds(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** The plan as a file that people review, with a summary on top. */
export function formatPlanFile(plan: Plan): string {
  const nodes = plan.basis.nodes.length;
  const header = [
    "Plan of a migration, made by shunt migrate plan. Nothing has been changed yet.",
    `Strategy ${plan.options.strategy}, from ${plan.from.network} (${plan.from.mode}) and kube-proxy ${plan.from.kubeProxy} (${plan.from.kubeProxyMode}).`,
    `${nodes} nodes, ${planSteps(plan).length} steps, about ${formatSeconds(plan.expectedSeconds)}.`,
    "The steps of a phase with nodes run for each of its nodes; nodes of the same wave at once, waves one after another.",
    "Run it with: shunt migrate run --plan THIS-FILE",
  ];
  const body = stringify(plan, { lineWidth: 120, aliasDuplicateObjects: false });
  return `${header.map((line) => `# ${line}`).join("\n")}\n${body}`;
}

/** Reads a plan file. What people edited must still be a plan: unknown fields and kinds are refused. */
export function parsePlanFile(content: string, source: string): Plan {
  let plan: unknown;
  try {
    plan = parse(content, { maxAliasCount: 0 });
  } catch (cause) {
    throw new UsageError(`${source} is not YAML: ${errorMessage(cause)}`);
  }
  if (!validate(plan)) {
    const [error] = validate.errors ?? [];
    const extra =
      error?.params.additionalProperty === undefined ? "" : ` (${error.params.additionalProperty})`;
    throw new UsageError(
      `${source} is not a plan: ${error?.instancePath || "it"} ${error?.message ?? "is wrong"}${extra}`,
      "Make one with: shunt migrate plan --out FILE",
    );
  }
  const checked = plan as unknown as Plan;
  const seen = new Set<string>();
  for (const { name } of planSteps(checked)) {
    if (seen.has(name)) throw new UsageError(`${source} is not a plan: step ${name} occurs twice`);
    seen.add(name);
  }
  return checked;
}

/** The same for the same plan, however the file is laid out. */
export function planHash(plan: Plan): string {
  return createHash("sha256").update(JSON.stringify(plan, sortedKeys)).digest("hex").slice(0, 16);
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function formatAgentValues({ options, agentSettings = [] }: Plan): string[] {
  if (options.agentValues.length === 0) return [];
  const width = Math.max(...options.agentValues.map(({ length }) => length));
  const reasons = new Map(agentSettings.map(({ value, reason }) => [value, reason]));
  return [
    "",
    "The agent's values",
    ...options.agentValues.map(
      (value) => `  ${value.padEnd(width)}  ${reasons.get(value) ?? "as asked for"}`,
    ),
  ];
}

/** The plan as a page for a terminal. */
export function formatPlan(plan: Plan): string {
  const lines = [
    `${plan.options.strategy}: from ${plan.from.network} (${plan.from.mode}), kube-proxy ${plan.from.kubeProxy} (${plan.from.kubeProxyMode})`,
    `${plan.basis.nodes.length} nodes, ${planSteps(plan).length} steps, about ${formatSeconds(plan.expectedSeconds)}`,
    ...formatAgentValues(plan),
    "",
  ];
  for (const phase of plan.phases) {
    lines.push(phase.title);
    for (const wave of wavesOf(phase).slice(0, 12))
      lines.push(`  wave ${wave[0]!.wave}: ${wave.map(({ name }) => name).join(", ")}`);
    const more = wavesOf(phase).length - 12;
    if (more > 0) lines.push(`  and ${more} more waves`);
    if (phase.newNodes === true) lines.push("  each new node");
    for (const { title, expectedSeconds: seconds, changes } of phase.steps) {
      lines.push(`  - ${title} (${formatSeconds(seconds)})`);
      for (const change of changes) lines.push(`      changes ${change}`);
    }
  }
  if (plan.risks.length > 0) lines.push("", "What stays at risk", ...plan.risks.map((risk) => `  - ${risk}`));
  return `${lines.join("\n")}\n`;
}
