// SPDX-License-Identifier: Apache-2.0
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, Option } from "commander";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import { type DemoFlags, type DemoResult, demoMigration } from "./demo-migration.ts";
import type { CliEnv } from "./env.ts";

function whole(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError(`"${text}" is not a whole number from 1`);
  return Number(text);
}

const choice = (flags: string, description: string, ...values: string[]): Option =>
  new Option(flags, description).choices(values).default(values[0]);

/** `shunt demo`: a migration on a throw-away cluster, with the proof. */
export function demoCommand(env: CliEnv): Command {
  return new Command("demo")
    .description(
      "migrate a test cluster of this machine under load, prove that nothing was lost, and take it down",
    )
    .option("--keep", "leave the cluster running")
    .option(
      "--report-dir <dir>",
      "write report.html, report.json, connectivity.xml (JUnit) and connectivity.json there",
    )
    .option("--name <name>", "name of the cluster", "demo")
    .option("--workers <number>", "worker nodes beside the control plane", whole, 3)
    .addOption(
      new Option("--ip-family <family>", "addresses (default: dual, and ipv4 with calico)").choices([
        ...["ipv4", "ipv6", "dual"],
      ]),
    )
    .addOption(
      choice("--cni <kind>", "pod network to migrate from", "flannel", "calico", "kindnet", "bridge"),
    )
    .addOption(choice("--kube-proxy <mode>", "kube-proxy to migrate from", "iptables", "nftables", "none"))
    .addOption(choice("--strategy <way>", "how to migrate", "node-by-node", "blue-green", "kube-proxy-only"))
    .option("--probe-rate <n>", "requests a second of all probes together", whole, 200)
    .addHelpText(
      "after",
      `
Needs Linux and root, and some minutes. Ctrl-C at any time takes everything down.

Examples:
  shunt demo
  shunt demo --report-dir reports
  shunt demo --cni kindnet --kube-proxy nftables --keep

Exit codes: 0 nothing was lost, broke, failed or was left; 1 something was; 130 interrupted.`,
    )
    .action((flags: DemoFlags) => demo(env, flags));
}

async function demo(env: CliEnv, flags: DemoFlags): Promise<void> {
  const start = Date.now();
  const { ensureSetup } = await import("./setup.ts");
  const { progressStyle } = await import("../../lib/steps.ts");
  await ensureSetup(env, "shunt demo");
  const { createSandboxCluster, deleteSandboxCluster } = await import("../../test/clusters/index.ts");
  const folder = await mkdtemp(join(tmpdir(), "shunt-demo-"));
  const kubeconfig = flags.keep === true ? undefined : join(folder, "kubeconfig");
  const title = (text: string): void => void env.stdout.write(`\n${text}\n`);
  const { name, workers, cni, kubeProxy } = flags;
  const ipFamily = flags.ipFamily ?? (cni === "calico" ? "ipv4" : "dual");
  let created = false;
  let result: DemoResult;
  try {
    title(`Create the cluster "${name}": ${workers + 1} nodes, ${cni}-like network, kube-proxy ${kubeProxy}`);
    const plan = await createSandboxCluster(
      {
        ...{ name, workers, ipFamily, cni, kubeProxy, env: env.env },
        ...(kubeconfig === undefined ? {} : { kubeconfig }),
      },
      { out: env.stdout, style: progressStyle(env.stdout, env.env), signal: env.signal },
    );
    created = true;
    result = await demoMigration(
      env,
      flags,
      { kubeconfig: plan.kubeconfig, context: `sandbox-${name}` },
      title,
    );
  } finally {
    if (created && flags.keep !== true) {
      title(`Delete the cluster "${name}"`);
      await deleteSandboxCluster(name, env.env);
    }
    await rm(folder, { recursive: true, force: true });
  }
  if (flags.keep === true)
    title(`The cluster is kept. Use it:      kubectl --context sandbox-${name} get pods -A
Delete it:    shunt cluster delete --name ${name}`);
  const seconds = Math.round((Date.now() - start) / 1000);
  title(summary(result, seconds, flags.reportDir));
  if (result.problems.length > 0) throw new ShuntError("the demo failed", { code: "Reported" });
}

function summary({ rows, problems }: DemoResult, seconds: number, reportDir: string | undefined): string {
  const all = [
    ...rows,
    ["time", `${seconds} s in all`],
    ...(reportDir === undefined ? [] : [["reports", join(reportDir, "report.html")]]),
  ];
  const lines = all.map(([key, value]) => `  ${key!.padEnd(18)}${value}`);
  const verdict = problems.length === 0 ? "Done: nothing was lost." : `FAILED: ${problems.join("; ")}.`;
  return [...lines, "", verdict].join("\n");
}
