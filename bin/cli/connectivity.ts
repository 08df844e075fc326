// SPDX-License-Identifier: Apache-2.0
import { writeFile } from "node:fs/promises";
import { Command, InvalidArgumentError } from "commander";
import type { Family } from "../../lib/addresses.ts";
import { errorMessage, ShuntError, UsageError } from "../../lib/errors.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput, collect, parseDuration, withKubeOptions } from "./options.ts";

interface ConnectivityFlags {
  kubeconfig?: string;
  context?: string;
  test: string[];
  list?: boolean;
  singleNode?: boolean;
  nodeSelector?: string;
  tolerations: string[];
  testConcurrency: number;
  timeout: number;
  connectTimeout: number;
  requestTimeout: number;
  retry: number;
  ipFamily: string;
  namespace: string;
  image?: string;
  externalTarget: string;
  externalIp: string[];
  externalCidr: string[];
  externalClientCommand?: string;
  junitFile?: string;
  junitProperty: string[];
  output?: string;
  keep?: boolean;
  forceDeploy?: boolean;
  pauseOnFail?: boolean;
  flowValidation: string;
  verbose?: boolean;
}

/** `shunt connectivity`: proofs that the cluster's network works. */
export function connectivityCommand(env: CliEnv): Command {
  return new Command("connectivity")
    .description("prove that the cluster's network works")
    .addCommand(testCommand(env));
}

function testCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("test"))
    .description("deploy clients and servers, send real packets between them, and say which paths work")
    .option("--test <regex>", "run what matches test/scenario; !regex leaves it out; repeatable", collect, [])
    .option("--list", "list the tests and scenarios, and run nothing")
    .option("--single-node", "use one node for all pods, even if there are more")
    .option("--node-selector <labels>", "use nodes with these labels: key=value,key=value")
    .option("--tolerations <taint>", "tolerate key, key:Effect or key=value:Effect; repeatable", collect, [])
    .option("--test-concurrency <n>", "how many tests run at once", parseCount, 3)
    .option("--timeout <duration>", "how long all of it may take", parseDuration, 600_000)
    .option("--connect-timeout <duration>", "how long one connection may take", parseDuration, 2_000)
    .option("--request-timeout <duration>", "how long one request may take", parseDuration, 10_000)
    .option("--retry <n>", "how often a failed action is tried again", parseNumber, 2)
    .option("--ip-family <family>", "ipv4, ipv6, dual, or auto: all that the cluster has", "auto")
    .option(
      "--namespace <name>",
      "namespace of the pods; another, NAME-host, holds privileged ones",
      "shunt-test",
    )
    .option(
      "--image <ref>",
      "image with Node 24 or newer, a POSIX shell, curl, ping and ip (default: the agent's)",
    )
    .option("--external-target <name>", "DNS name of a web server outside the cluster", "world.example")
    .option("--external-ip <address>", "address of a web server outside the cluster; repeatable", collect, [])
    .option("--external-cidr <cidr>", "range outside that holds such an address; repeatable", collect, [])
    .option("--external-client-command <words>", "words before a command that run it outside the cluster")
    .option("--junit-file <file>", "write the results as JUnit XML")
    .option("--junit-property <key=value>", "add a property to the JUnit file; repeatable", collect, [])
    .option("-o, --output <format>", "table or json", "table")
    .option("--keep", "leave the pods and namespaces, for a next run to use")
    .option("--force-deploy", "deploy anew what an earlier run left")
    .option("--pause-on-fail", "wait for Enter after each failure, with the pods still there")
    .option("--flow-validation <mode>", "check recorded flows too: disabled, warning or strict", "disabled")
    .option("-v, --verbose", "show the logs of what passed too")
    .addHelpText(
      "after",
      `
Examples:
  shunt connectivity test
  shunt connectivity test --list
  shunt connectivity test --test '^services/' --test '!by-name'
  shunt connectivity test --test 'policy' --test '!-knp'
  shunt connectivity test --single-node --junit-file results.xml
  shunt connectivity test --keep && shunt connectivity test --test pod-to-pod -v

Exit codes: 0 all passed, 1 something failed, 2 wrong usage, 130 interrupted.`,
    )
    .action((flags: ConnectivityFlags) => runTest(env, flags));
}

async function runTest(env: CliEnv, flags: ConnectivityFlags): Promise<void> {
  checkOutput(flags.output, ["table", "json"]);
  checkFlowValidation(flags.flowValidation);
  const suite = await import("../../test/connectivity/index.ts");
  if (flags.list === true) {
    env.stdout.write(`${suite.listTests(flags.test)}\n`);
    return;
  }
  const options = {
    ...suite.defaultOptions(),
    tests: flags.test,
    namespace: flags.namespace,
    image: flags.image,
    families: parseFamilies(flags.ipFamily),
    singleNode: flags.singleNode === true,
    nodeSelector: flags.nodeSelector === undefined ? {} : suite.parseSelector(flags.nodeSelector),
    tolerations: flags.tolerations.map(suite.parseToleration),
    testConcurrency: flags.testConcurrency,
    timeoutMs: flags.timeout,
    connectTimeoutMs: flags.connectTimeout,
    requestTimeoutMs: flags.requestTimeout,
    retries: flags.retry,
    externalTarget: flags.externalTarget,
    externalAddresses: suite.parseExternal(flags.externalIp, flags.externalCidr),
    keep: flags.keep === true,
    forceDeploy: flags.forceDeploy === true,
    verbose: flags.verbose === true,
    pauseOnFail: flags.pauseOnFail === true,
  };
  const properties = parseProperties(flags.junitProperty);
  if (options.pauseOnFail && env.stdin.isTTY !== true)
    throw new UsageError("--pause-on-fail needs a terminal to ask on");
  const [{ connectKube }, { progressStyle }] = await Promise.all([
    import("../../lib/kube-connect.ts"),
    import("../../lib/steps.ts"),
  ]);
  // With -o json, standard output carries one document and nothing else.
  const json = flags.output === "json";
  const out = json ? env.stderr : env.stdout;
  const kube = await connectKube({ kubeconfig: flags.kubeconfig, context: flags.context });
  const externalClientCommand =
    flags.externalClientCommand?.split(/\s+/).filter((word) => word !== "") ??
    (await sandboxOutside(kube.config.getCurrentContext(), kube.server));
  const io = { style: progressStyle(out, env.env), out, stdin: env.stdin, signal: env.signal };
  const report = await suite
    .runConnectivityTest(kube, { ...options, externalClientCommand }, io)
    .finally(() => kube.close());
  env.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : suite.formatReport(report, options));
  if (flags.junitFile !== undefined) await save(flags.junitFile, suite.formatJunit(report, properties));
  const exitCode = suite.exitCodeOf(report);
  if (exitCode !== 0)
    throw new ShuntError("the connectivity test did not pass", { code: "Reported", exitCode });
}

/** Words that run a command beyond the nodes of a sandbox cluster on this machine; none for other clusters. */
export async function sandboxOutside(context: string, server: string): Promise<string[]> {
  const name = /^sandbox-(.+)$/.exec(context)?.[1];
  if (name === undefined) return [];
  const { nodeCommand, readPlan } = await import("../../test/clusters/index.ts");
  const plan = readPlan(name);
  return plan !== undefined && new URL(server).port === String(plan.apiPort)
    ? nodeCommand(name, "switch", [])
    : [];
}

function checkFlowValidation(mode: string): void {
  if (mode === "disabled") return;
  if (mode === "warning" || mode === "strict")
    throw new UsageError(
      `--flow-validation ${mode}: this version records no flows, so it cannot validate them`,
      "Leave it out; what passes and what is denied is tested with packets all the same.",
    );
  throw new UsageError(`--flow-validation "${mode}" is unknown`, "Use disabled, warning or strict.");
}

async function save(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (cause) {
    throw new ShuntError(`Cannot write ${file}: ${errorMessage(cause)}`, { cause });
  }
}

function parseFamilies(text: string): Family[] | undefined {
  const families: Record<string, Family[] | undefined> = {
    auto: undefined,
    ipv4: ["ipv4"],
    ipv6: ["ipv6"],
    dual: ["ipv4", "ipv6"],
  };
  if (!Object.hasOwn(families, text))
    throw new UsageError(`--ip-family "${text}" is unknown`, "Use ipv4, ipv6, dual or auto.");
  return families[text];
}

function parseProperties(pairs: readonly string[]): Record<string, string> {
  const entries = pairs.map((pair) => {
    const at = pair.indexOf("=");
    if (at <= 0) throw new UsageError(`--junit-property "${pair}" is not of the form key=value`);
    return [pair.slice(0, at), pair.slice(at + 1)] as const;
  });
  return Object.fromEntries(entries);
}

function parseNumber(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new InvalidArgumentError("it must be a number from 0 to 999.");
  return Number(text);
}

function parseCount(text: string): number {
  if (parseNumber(text) === 0) throw new InvalidArgumentError("it must be at least 1.");
  return Number(text);
}
