// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from "node:util";
import { errorMessage, ShuntError, UsageError } from "../lib/errors.ts";
import { connectInCluster, connectKube } from "../lib/kube-connect.ts";
import { createLogger } from "../lib/log.ts";
import { VERSION } from "../lib/version.ts";
import { cleanNode } from "./cleanup.ts";
import { loadConfig } from "./config.ts";
import { Daemon } from "./daemon.ts";
import { cgroupRoot, configFile } from "./paths.ts";
import { probeKernel } from "./probe.ts";

/** What the program may touch of its process. */
export interface AgentEnv {
  env: Record<string, string | undefined>;
  stdout: { write(text: string): unknown };
  signal: AbortSignal;
}

const usage = `Usage: agent [flags]            run the node agent
       agent probe [-o json]    try what this node's kernel can do
       agent --cleanup          remove everything of the agent from this node
       agent --version

Flags: --config FILE       (default ${configFile})
       --kubeconfig FILE   (default: the pod's service account)
       --node-name NAME    (default: $NODE_NAME)
       --cgroup-root DIR   (default: where cgroup version 2 is mounted)
       --tunnel-port PORT  (probe: the overlay's UDP port)
`;

/** The agent program. Returns the exit code. */
export async function main(context: AgentEnv, argv: string[]): Promise<number> {
  try {
    return await dispatch(context, argv);
  } catch (error) {
    const remedy = error instanceof ShuntError ? error.remedy : undefined;
    createLogger().error(errorMessage(error), {
      ...(remedy === undefined ? {} : { remedy }),
      ...(error instanceof Error && error.cause !== undefined ? { cause: errorMessage(error.cause) } : {}),
    });
    return error instanceof ShuntError ? error.exitCode : 1;
  }
}

const flags = {
  config: { type: "string", default: configFile },
  kubeconfig: { type: "string" },
  "node-name": { type: "string" },
  "cgroup-root": { type: "string" },
  "tunnel-port": { type: "string", default: "8473" },
  output: { type: "string", short: "o", default: "text" },
  cleanup: { type: "boolean" },
  version: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

const parse = (argv: string[]) => parseArgs({ args: argv, allowPositionals: true, options: flags });

async function dispatch(context: AgentEnv, argv: string[]): Promise<number> {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(argv);
  } catch (error) {
    throw new UsageError(errorMessage(error), "See agent --help.");
  }
  const { values, positionals } = parsed;
  const print = (text: string): number => {
    context.stdout.write(`${text}\n`);
    return 0;
  };
  if (values.help) return print(usage.trimEnd());
  if (values.version) return print(VERSION);
  if (values.cleanup) {
    const { removed, restored } = await cleanNode();
    const lines = [
      ...removed.map((item) => `removed ${item}`),
      ...restored.map((item) => `restored ${item}`),
    ];
    return print(lines.length === 0 ? "nothing to remove" : lines.join("\n"));
  }
  if (positionals[0] === "probe") return await probe(values, print);
  if (positionals.length > 0)
    throw new UsageError(`Unknown command "${positionals[0]}"`, "See agent --help.");
  const config = loadConfig(values.config);
  const nodeName = values["node-name"] ?? context.env.NODE_NAME;
  if (nodeName === undefined)
    throw new UsageError("The node's name is not known", "Set NODE_NAME or --node-name.");
  const log = createLogger(undefined, config.logLevel);
  const client =
    values.kubeconfig === undefined
      ? connectInCluster(context.env)
      : await connectKube({ kubeconfig: values.kubeconfig });
  const cgroupPath = values["cgroup-root"] ?? cgroupRoot();
  await new Daemon({ config, nodeName, client, cgroupPath, log }).run(context.signal);
  client.close();
  return 0;
}

async function probe(
  values: ReturnType<typeof parse>["values"],
  print: (text: string) => number,
): Promise<number> {
  const port = Number(values["tunnel-port"]);
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new UsageError(`--tunnel-port "${values["tunnel-port"]}" is not a port`);
  const result = await probeKernel(port);
  if (values.output === "json") print(JSON.stringify(result));
  else
    for (const { name, ok, required, reason } of result.features)
      print(`${ok ? "yes" : required ? "NO " : "no "}  ${name}${reason === undefined ? "" : `: ${reason}`}`);
  return 0;
}
