// SPDX-License-Identifier: Apache-2.0
import { Command } from "commander";
import { ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { progressStyle, runSteps } from "../../lib/steps.ts";
import type { Report } from "../../migrate/model/report.ts";
import type { Visitor } from "../../test/clusters/index.ts";
import type { Report as ConnectivityReport } from "../../test/connectivity/index.ts";
import { sandboxOutside } from "./connectivity.ts";
import type { CliEnv } from "./env.ts";
import { planFor, withPlanOptions } from "./migrate-plan.ts";
import { readReport } from "./migrate-status.ts";
import { withOperateOptions } from "./operate-flags.ts";
import { reportFiles, writeFiles } from "./report-files.ts";
import { runShown } from "./run-shown.ts";

/** Flags of `shunt demo`. */
export interface DemoFlags {
  keep?: boolean;
  reportDir?: string;
  name: string;
  workers: number;
  ipFamily?: "ipv4" | "ipv6" | "dual";
  cni: "flannel" | "calico" | "kindnet" | "bridge";
  kubeProxy: "iptables" | "nftables" | "none";
  strategy: "node-by-node" | "blue-green" | "kube-proxy-only";
  probeRate: number;
}

/** What the demo came to. */
export interface DemoResult {
  /** Figures, with their names. */
  rows: [name: string, value: string][];
  /** Why it failed; none when it did not. */
  problems: string[];
}

/** Where the demo's cluster is. */
export interface DemoTarget {
  kubeconfig: string;
  context: string;
}

const migrationName = "demo";
/** Visits a second from outside, beside the probes. */
const visitRate = 20;
/** What kube-proxy translated either ends by itself or stands as long as the demo: there is no use in waiting. */
const connectionDeadline = "10s";
/** Agents tell every 10 s what they audit: the applications ask each other many times between. */
const policyAudit = "15s";
const fromUser = { from: "user" } as const;
const providers: Record<DemoFlags["strategy"], string> = {
  "node-by-node": "manual",
  "blue-green": "sandbox",
  "kube-proxy-only": "manual",
};

/** Loads the cluster, tests it, migrates it, tests it again, and says what was lost. */
export async function demoMigration(
  env: CliEnv,
  flags: DemoFlags,
  target: DemoTarget,
  title: (text: string) => void,
): Promise<DemoResult> {
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const kube = await connectKube(target);
  try {
    const visitor = await startApplications(env, flags, kube, title);
    const before = await testConnectivity(env, kube, target, () => title("Test the connectivity before"));
    await migrate(env, flags, kube, target, title);
    const after = await testConnectivity(env, kube, target, () => title("Test the connectivity after"));
    const { sent, lost, longestMs, losses } = await visitor.stop();
    const applications = { sent, lost, longestMs, losses };
    const report = await readReport(kube, env.signal, migrationName, { applications });
    if (flags.reportDir !== undefined)
      await writeFiles(flags.reportDir, {
        ...(await reportFiles(report)),
        ...(await connectivityFiles(after)),
      });
    return judge(report, before, after);
  } finally {
    kube.close();
  }
}

async function startApplications(
  env: CliEnv,
  flags: DemoFlags,
  kube: KubeClient,
  title: (text: string) => void,
): Promise<Visitor> {
  const clusters = await import("../../test/clusters/index.ts");
  title("Run applications");
  let visitor: Visitor | undefined;
  await runSteps(
    [
      {
        name: "applications",
        title: "Deploy applications with several replicas and budgets",
        run: (_: object, report) => clusters.deployShop(kube, env.signal, report),
      },
      {
        name: "visitor",
        title: "Visit them from outside by every node",
        run: async () => {
          visitor = await clusters.Visitor.start(flags.name, kube, visitRate, env.signal);
          return `${visitRate} visits a second, until the end`;
        },
      },
    ],
    {},
    { style: progressStyle(env.stdout, env.env), out: env.stdout, signal: env.signal },
  );
  return visitor!;
}

async function testConnectivity(
  env: CliEnv,
  kube: KubeClient,
  target: DemoTarget,
  title: () => void,
): Promise<ConnectivityReport> {
  const suite = await import("../../test/connectivity/index.ts");
  title();
  const externalClientCommand = await sandboxOutside(target.context, kube.server);
  // The scenarios of policies would take minutes more.
  const options = { ...suite.defaultOptions(), tests: ["!policy"], externalClientCommand };
  const style = progressStyle(env.stdout, env.env);
  const io = { style, out: env.stdout, stdin: env.stdin, signal: env.signal };
  const report = await suite.runConnectivityTest(kube, options, io);
  env.stdout.write(`${suite.formatReport(report, { verbose: false })}\n`);
  return report;
}

async function migrate(
  env: CliEnv,
  flags: DemoFlags,
  kube: KubeClient,
  target: DemoTarget,
  title: (text: string) => void,
): Promise<void> {
  const { startMigration } = await import("../../migrate/engine/index.ts");
  const { formatPlan } = await import("../../migrate/plan/index.ts");
  title(`Plan the migration (${flags.strategy})`);
  const words = [
    ...["--kubeconfig", target.kubeconfig, "--context", target.context, "--strategy", flags.strategy],
    ...["--connection-deadline", connectionDeadline, "--policy-audit", policyAudit],
    ...["--provider", providers[flags.strategy]],
  ];
  const plan = await planFor(env, withPlanOptions(new Command()).parse(words, fromUser).opts());
  env.stdout.write(formatPlan(plan));
  title("Migrate");
  // It goes on when something is lost, to show how much; the end of the demo says that it failed.
  const runWords = [
    "--name",
    migrationName,
    "--probe-rate",
    String(flags.probeRate),
    "--allow-lost",
    "999999",
  ];
  const outcome = await runShown(
    env,
    kube,
    withOperateOptions(new Command()).parse(runWords, fromUser).opts(),
    { plan, abandon: true },
    (operator) => startMigration(operator, plan, migrationName),
  );
  env.signal.throwIfAborted();
  if (outcome.phase === "Completed") return;
  if (flags.reportDir !== undefined)
    await writeFiles(flags.reportDir, await reportFiles(await readReport(kube, env.signal, migrationName)));
  throw new ShuntError(`The migration stopped: ${outcome.reason}`, {
    remedy: "Keep the cluster to look into it: shunt demo --keep",
  });
}

async function connectivityFiles(report: ConnectivityReport): Promise<Record<string, string>> {
  const { formatJunit } = await import("../../test/connectivity/index.ts");
  return {
    "connectivity.xml": formatJunit(report),
    "connectivity.json": `${JSON.stringify(report, null, 2)}\n`,
  };
}

function judge(report: Report, before: ConnectivityReport, after: ConnectivityReport): DemoResult {
  const { probes, longConnections, nodes, residue } = report;
  const visits = report.applications ?? { sent: 0, lost: 0 };
  const moved = nodes.filter(({ state }) => state === "switched").length;
  const seconds = (Date.parse(report.endedAt ?? "") - Date.parse(report.startedAt ?? "")) / 1000;
  const count = (value: number): string => value.toLocaleString("en-US");
  const scenarios = ({ summary }: ConnectivityReport): string =>
    `${summary.scenarios.failed} scenarios failed, ${summary.scenarios.passed} passed`;
  const policies = report.steps.find(({ kind }) => kind === "enforce-policies")?.message;
  const leftInAudit = report.warnings.filter(({ id }) => id === "policies-in-audit").length;
  const bad: [number, string][] = [
    [probes.lost, "requests of the probes were lost"],
    [visits.lost, "visits from outside were lost"],
    [longConnections.broken, "long connections broke"],
    [nodes.length - moved, "nodes were not moved"],
    [residue.length, "things of the old network were left"],
    [after.summary.scenarios.failed, "scenarios failed after"],
    [leftInAudit, "time policies stayed in audit"],
    [report.result === "succeeded" ? 0 : 1, `result is ${report.result}`],
  ];
  return {
    rows: [
      [
        "requests",
        `${count(probes.sent)} sent, ${count(probes.lost)} lost, longest gap ${probes.maxGapMs} ms`,
      ],
      ["visits", `${count(visits.sent)} from outside, ${count(visits.lost)} lost`],
      [
        "long connections",
        `${longConnections.opened} opened, ${longConnections.broken} broken, ${longConnections.ended} ended with a pod that moved`,
      ],
      ["nodes", `${moved} of ${nodes.length} moved in ${Math.round(seconds)} s`],
      ...(policies === undefined ? [] : [["policy", policies] as [string, string]]),
      ["residue", `${residue.length} things left`],
      ["connectivity", `before: ${scenarios(before)}; after: ${scenarios(after)}`],
    ],
    problems: bad.flatMap(([value, text]) => (value > 0 ? [`${count(value)} ${text}`] : [])),
  };
}
