// SPDX-License-Identifier: Apache-2.0
import { Command } from "commander";
import type { CliEnv } from "./env.ts";
import { withKubeOptions } from "./options.ts";
import type { GetFlags, ListFlags, TraceFlags } from "./service-actions.ts";

const exitCodes = "\n\nExit codes: 0 done, 1 a node did not answer or nothing was found, 2 wrong usage.";

/** `shunt service`: what is in the nodes' kernel maps for Services. */
export function serviceCommand(env: CliEnv): Command {
  return new Command("service")
    .description("show how nodes route Services: what is in the kernel's maps, with counters; read-only")
    .addCommand(listCommand(env))
    .addCommand(getCommand(env))
    .addCommand(traceCommand(env));
}

function listCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("list"))
    .description("list the Services in the nodes' maps, summed over nodes, and where nodes differ")
    .option("--node <name>", "ask this node only")
    .option("-n, --namespace <name>", "Services of this namespace only")
    .option("-A, --all-namespaces", "Services of all namespaces, which is the default")
    .option("-o, --output <format>", "json, yaml or wide")
    .addHelpText(
      "after",
      `
Examples:
  shunt service list
  shunt service list -n default -o wide
  shunt service list --node worker-2 -o json${exitCodes}`,
    )
    .action(async (flags: ListFlags) => (await import("./service-actions.ts")).listServices(env, flags));
}

function getCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("get"))
    .description("show one Service: its addresses, and each backend with its counters on each node")
    .argument("<namespace/name>", "the Service")
    .option("--node <name>", "ask this node only")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
Examples:
  shunt service get kube-system/kube-dns
  shunt service get default/web --node worker-2 -o json${exitCodes}`,
    )
    .action(async (service: string, flags: GetFlags) =>
      (await import("./service-actions.ts")).getService(env, service, flags),
    );
}

function traceCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("trace"))
    .description("tell step by step what a connection to each address of a Service would meet on a node")
    .argument("<namespace/name>", "the Service")
    .option("--port <port>", "name or number of one port")
    .option("--from-node <name>", "the node (default: the first one that is ready)")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
Nothing is sent: the answer is read from the node's maps.

Examples:
  shunt service trace kube-system/kube-dns --port dns
  shunt service trace default/web --port 30080 --from-node worker-2${exitCodes}`,
    )
    .action(async (service: string, flags: TraceFlags) =>
      (await import("./service-actions.ts")).traceServices(env, service, flags),
    );
}
