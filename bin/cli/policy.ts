// SPDX-License-Identifier: Apache-2.0
import { Command } from "commander";
import type { CliEnv } from "./env.ts";
import { collect, withKubeOptions } from "./options.ts";
import type { TraceFlags, ValidateFlags } from "./policy-actions.ts";
import type { AuditFlags } from "./policy-audit.ts";
import type { CompareFlags } from "./policy-compare.ts";
import type { EndpointFlags, GetFlags, ListFlags } from "./policy-list.ts";

/** `shunt policy`: what network policies say, and where they are in force. */
export function policyCommand(env: CliEnv): Command {
  return new Command("policy")
    .description("check network policies, tell where they are in force and what they deny; changes nothing")
    .addCommand(listCommand(env))
    .addCommand(getCommand(env))
    .addCommand(endpointsCommand(env))
    .addCommand(validateCommand(env))
    .addCommand(traceCommand(env))
    .addCommand(compareCommand(env))
    .addCommand(auditReportCommand(env));
}

function listCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("list"))
    .description(
      "list the policies: whether each is valid, on how many nodes it is in force, and for how many pods",
    )
    .option("-n, --namespace <name>", "only policies of this namespace")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
IN FORCE counts nodes that enforce what the object says now; nodes that only audit it are told beside that, and below the
list each node where it is not in force, with the reason.

Examples:
  shunt policy list
  shunt policy list -n shop -o json

Exit codes: 0 it was told, 1 a node did not answer, 2 wrong usage.`,
    )
    .action(async (flags: ListFlags) => (await import("./policy-list.ts")).listPolicies(env, flags));
}

function getCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("get"))
    .description(
      "show one policy: its rules in words, on which nodes it is in force, why not, and for which pods",
    )
    .argument(
      "<policy>",
      "NAMESPACE/NAME, or NAME of a clusterwide one; KIND/ before it where several have the name",
    )
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
KIND is networkpolicy (netpol), ciliumnetworkpolicy (cnp), ciliumclusterwidenetworkpolicy (ccnp), clusternetworkpolicy (cnp, and no
namespace), adminnetworkpolicy (anp) or baselineadminnetworkpolicy (banp).

Examples:
  shunt policy get shop/backend
  shunt policy get cnp/shop/backend -o yaml
  shunt policy get everybody-to-dns

Exit codes: 0 it was told, 1 a node did not answer or there is no such policy, 2 wrong usage.`,
    )
    .action(async (policy: string, flags: GetFlags) =>
      (await import("./policy-list.ts")).getPolicy(env, policy, flags),
    );
}

function endpointsCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("endpoints"))
    .description(
      "list the nodes' pods as policies see them: identity, labels, and how each direction is judged",
    )
    .option("-n, --namespace <name>", "only pods of this namespace")
    .option("--node <name>", "ask this node alone")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
INGRESS and EGRESS: none (no policy isolates the pod or names what it denies), audited or enforced.

Examples:
  shunt policy endpoints
  shunt policy endpoints -n shop --node worker-1 -o json

Exit codes: 0 it was told, 1 a node did not answer, 2 wrong usage.`,
    )
    .action(async (flags: EndpointFlags) => (await import("./policy-list.ts")).listEndpoints(env, flags));
}

function validateCommand(env: CliEnv): Command {
  return new Command("validate")
    .description(
      "check policies in files: NetworkPolicy, ClusterNetworkPolicy and what it replaces, and Cilium's kinds",
    )
    .requiredOption("-f, --filename <file>", "YAML or JSON, repeatable; - is standard input", collect, [])
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
No cluster is asked. Every problem is told with file, line and column; objects of other kinds are passed over.

Examples:
  shunt policy validate -f policies.yaml
  kubectl get networkpolicies,ciliumnetworkpolicies -A -o yaml | shunt policy validate -f -

Exit codes: 0 all are valid, 1 one is not, 2 wrong usage.`,
    )
    .action(async (flags: ValidateFlags) =>
      (await import("./policy-actions.ts")).validatePolicies(env, flags),
    );
}

function traceCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("trace"))
    .description(
      "tell which policy decides about a connection, and why, from the objects and from the nodes' maps",
    )
    .requiredOption("--from <end>", "who connects: NAMESPACE/POD, node:NAME, an address, host or world")
    .requiredOption("--to <end>", "who is connected to, likewise")
    .requiredOption("--port <port>", "the receiver's port, e.g. 8080 or 53/UDP; ICMP/8 is a type of ICMP")
    .option("--no-maps", "ask no agent: judge by the objects alone")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
Policies of both ends are asked: the sender's for egress, the receiver's for ingress. A Service is not an end: name the
pod behind it, as policies do. "host" is the node of the other end. Where agents judge packets, those of both ends are asked
what is in their kernel maps: objects and maps must agree.

Examples:
  shunt policy trace --from shop/frontend-7d4b --to shop/backend-5c9f --port 8080
  shunt policy trace --from shop/frontend-7d4b --to 192.0.2.10 --port 443/TCP -o json

Exit codes: 0 it was told, 1 an end was not found, or objects and maps differ or an agent did not answer, 2 wrong usage.`,
    )
    .action(async (flags: TraceFlags) => (await import("./policy-actions.ts")).tracePolicies(env, flags));
}

function compareCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("compare"))
    .description("try connections between pods, and tell where the network does not do what policies say")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
From within the network of running pods TCP connections are opened to ports of other pods, and closed at once: about each
policy some that it allows and some that it denies, 300 at most. Whose network it is does not matter; the agent has to be
installed, in standby too, for a pod of its image does it on each node. A migration does the same before the first
node is switched.

Examples:
  shunt policy compare
  shunt policy compare -o json

Exit codes: 0 the network does what policies say, 1 it does not or a node could not be asked, 2 wrong usage.`,
    )
    .action(async (flags: CompareFlags) =>
      (await import("./policy-compare.ts")).comparePoliciesCommand(env, flags),
    );
}

function auditReportCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("audit-report"))
    .description(
      "tell what policies deny, or would deny while they are only audited, from the nodes' own records",
    )
    .option("-n, --namespace <name>", "only pods of this namespace")
    .option("--node <name>", "ask this node alone")
    .option("--denied", "what is denied too, on nodes that enforce policies")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      `
Only what the policies of now deny is told: a policy that changed begins anew. Each node remembers the latest 4,096 kinds of
connections. Of an audited connection the first packet is counted, of a denied one each.

Examples:
  shunt policy audit-report
  shunt policy audit-report -n shop -o json
  shunt policy audit-report --denied --node worker-1

Exit codes: 0 it was told, 1 a node did not answer, 2 wrong usage.`,
    )
    .action(async (flags: AuditFlags) => (await import("./policy-audit.ts")).auditReport(env, flags));
}
