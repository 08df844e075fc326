// SPDX-License-Identifier: Apache-2.0
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { ShuntError } from "../../lib/errors.ts";
import { sandboxOutside } from "./connectivity.ts";
import type { CliEnv } from "./env.ts";

interface DemoFlags {
  keep?: boolean;
  reportDir?: string;
  name: string;
  workers: string;
  ipFamily: "ipv4" | "ipv6" | "dual";
}

/** `shunt demo`: the whole job on a throw-away cluster. */
export function demoCommand(env: CliEnv): Command {
  return new Command("demo")
    .description(
      "create a test cluster on this machine, install the agent, prove connectivity, and take it all down",
    )
    .option("--keep", "leave the cluster running")
    .option("--report-dir <dir>", "write connectivity.xml (JUnit) and connectivity.json there")
    .option("--name <name>", "name of the cluster", "demo")
    .option("--workers <number>", "worker nodes", "2")
    .option("--ip-family <family>", "ipv4, ipv6 or dual", "dual")
    .addHelpText("after", "\nExamples:\n  shunt demo\n  shunt demo --keep --report-dir reports")
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
  const style = progressStyle(env.stdout, env.env);
  const title = (text: string): void => void env.stdout.write(`\n${text}\n`);
  let created = false;
  let failed = true;
  try {
    title(`Create the cluster "${flags.name}"`);
    const plan = await createSandboxCluster(
      {
        name: flags.name,
        workers: Number(flags.workers),
        ipFamily: flags.ipFamily,
        env: env.env,
        ...(kubeconfig === undefined ? {} : { kubeconfig }),
      },
      { out: env.stdout, style, signal: env.signal },
    );
    created = true;
    failed = await installAndTest(env, flags, plan.kubeconfig, `sandbox-${flags.name}`, title);
  } finally {
    if (created && flags.keep !== true) {
      title(`Delete the cluster "${flags.name}"`);
      await deleteSandboxCluster(flags.name, env.env);
    }
    await rm(folder, { recursive: true, force: true });
  }
  if (flags.keep === true)
    title(`The cluster is kept. Use it:      kubectl --context sandbox-${flags.name} get pods -A
Delete it:    shunt cluster delete --name ${flags.name}`);
  title(
    `${failed ? "The connectivity test FAILED" : "Done"} after ${Math.round((Date.now() - start) / 1000)} s`,
  );
  if (failed) throw new ShuntError("connectivity failed", { code: "Reported" });
}

/** Returns true when a scenario failed. */
async function installAndTest(
  env: CliEnv,
  flags: DemoFlags,
  kubeconfig: string,
  context: string,
  title: (text: string) => void,
): Promise<boolean> {
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const { progressStyle, runSteps } = await import("../../lib/steps.ts");
  const { installSteps, defaultValues } = await import("../../installer/index.ts");
  const connectivity = await import("../../test/connectivity/index.ts");
  const style = progressStyle(env.stdout, env.env);
  const kube = await connectKube({ kubeconfig, context });
  try {
    title("Install the agent");
    const installation = {
      kube,
      values: defaultValues,
      findings: [],
      signal: env.signal,
      timeoutMs: 180_000,
    };
    await runSteps(installSteps(), installation, { style, out: env.stdout, signal: env.signal });
    title("Test the connectivity");
    const options = {
      ...connectivity.defaultOptions(),
      externalClientCommand: await sandboxOutside(context, kube.server),
    };
    const report = await connectivity.runConnectivityTest(kube, options, {
      style,
      out: env.stdout,
      stdin: env.stdin,
      signal: env.signal,
    });
    env.stdout.write(`${connectivity.formatReport(report, { verbose: false })}\n`);
    if (flags.reportDir !== undefined) {
      await mkdir(flags.reportDir, { recursive: true });
      await writeFile(join(flags.reportDir, "connectivity.xml"), connectivity.formatJunit(report));
      await writeFile(join(flags.reportDir, "connectivity.json"), `${JSON.stringify(report, null, 2)}\n`);
    }
    return connectivity.exitCodeOf(report) !== 0;
  } finally {
    kube.close();
  }
}
