// SPDX-License-Identifier: Apache-2.0
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { errorMessage, UsageError } from "../../lib/errors.ts";
import { run as runProgram } from "../../lib/run.ts";
import { PodEndpoint } from "./endpoint.ts";
import type { Finalizers } from "./finalizers.ts";
import { outsidePortBase } from "./ports.ts";
import type { CommandRunner } from "./shell.ts";
import type { World } from "./world.ts";

/**
 * A client beyond the nodes, by words before a command, such as `nsenter --net=FILE --`: a machine from which the
 * nodes are reached as their users reach them. The echo server runs there too, for what curl cannot do.
 */
export function startOutsideClient(
  words: readonly string[],
  finalizers: Finalizers,
): PodEndpoint | undefined {
  const [file, ...args] = words;
  if (file === undefined) return undefined;
  const server = fileURLToPath(new URL("echo-server.ts", import.meta.url));
  const life = new PassThrough(); // The server ends with its standard input, whatever ends this process.
  let failure = "";
  const ended = runProgram(file, [...args, process.execPath, server], {
    env: { PORT_BASE: String(outsidePortBase), POD_NAME: "outside", EXIT_WITH_STDIN: "1" },
    input: life,
    timeoutMs: 3_600_000,
    allowFailure: true,
  }).then(
    (result) => {
      failure = result.stderr.trim() || `it ended with ${result.exitCode}`;
    },
    (error) => {
      failure = errorMessage(error);
    },
  );
  finalizers.add("end the server beyond the nodes", async () => {
    life.end();
    await ended;
  });
  const runner: CommandRunner = {
    run: async (command, options) => {
      if (failure !== "")
        throw new UsageError(`--external-client-command "${words.join(" ")}" does not work: ${failure}`);
      return await runProgram(file, [...args, "sh", "-c", command], { ...options, allowFailure: true });
    },
  };
  const nowhere = { namespace: "", node: "", addresses: {} };
  return new PodEndpoint({ name: "outside", pod: "outside", ...nowhere, portBase: outsidePortBase, runner });
}

/** The network namespace of another node: to this node, it comes from outside. */
function otherHost(world: World, node: string): PodEndpoint {
  return world.hosts.find((host) => host.node !== node)!;
}

/** Where to reach a node from: the client that `--external-client-command` names, else another node. */
export function outsideClientFor(world: World, node: string): PodEndpoint {
  return world.externalClient ?? otherHost(world, node);
}

/** Skip reason of scenarios that come from beyond the node. */
export function needsOutsideClient(world: World): string | undefined {
  return world.externalClient === undefined && world.hosts.length < 2
    ? "there is only one node, and no --external-client-command"
    : undefined;
}
