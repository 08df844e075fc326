// SPDX-License-Identifier: Apache-2.0
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { errorMessage, UsageError } from "../../lib/errors.ts";
import { durationMs } from "../clusters/sandbox/kube-proxy/configuration.ts";
import { exitCodeOf } from "../exit-code.ts";
import type {
  Bench,
  BenchContext,
  BenchResult,
  DatapathParts,
  Goal,
  PolicyOptions,
  ServiceOptions,
} from "./bench.ts";

/** Every bench, one file each; loaded when it runs. */
const benches: Record<string, { summary: string; load: () => Promise<Bench> }> = {
  forwarding: {
    summary: "pod-to-pod throughput and short connections against a veth, a bridge with routes and VXLAN",
    load: async () => (await import("./forwarding.ts")).forwarding,
  },
  services: {
    summary: "services against kube-proxy's iptables and nftables: connections, programming, changes, memory",
    load: async () => (await import("./services.ts")).services,
  },
  policy: {
    summary: "policies: packets with many against few, the first computation, changes of labels, memory",
    load: async () => (await import("./policies.ts")).policies,
  },
  "policy-fuzz": {
    summary: "looks for policies that break parser or compiler, or widen access; only when it is named",
    load: async () => (await import("./policy-fuzz.ts")).policyFuzz,
  },
  cni: {
    summary: "time of the CNI plugin's ADD and DEL against the stock bridge with host-local",
    load: async () => (await import("./cni.ts")).cni,
  },
  cli: {
    summary: "time of shunt --help against the same Node.js doing nothing",
    load: async () => (await import("./cli.ts")).cli,
  },
};

const usage = `usage: npm run bench -- [NAME…] [-o json] [--rounds N]
benches:
${Object.entries(benches)
  .map(([name, { summary }]) => `  ${name}: ${summary}`)
  .join("\n")}
of services alone:
  --services N,N…   how many services (10,100,1000,5000,10000)
  --changes N       changes of endpoints under load (10000)
  --picture FILE    draw what was measured, as SVG
  --soak 30m        instead: change services and load both nodes for so long; exits with 1 when it went wrong
of policy alone:
  --policies N,N    how many policies on the two nodes that are compared (10,10000)
  --identities N    how many sets of labels (5000)
of policy-fuzz alone:
  --minutes N       for how long (10); exits with 1 when it found something
`;

interface BenchStreams {
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
  /** Aborts when the user wants to stop. */
  signal: AbortSignal;
}

/** The maps take 262,144 endpoints, five of each. */
const mostServices = 50_000;
const mostChanges = 1_000_000;
const mostPolicies = 100_000;
/** Numbers end at 65,535, and changes need some. */
const mostIdentities = 60_000;

/** Runs the named benches (all without a name) and prints their ratios; returns the exit code. */
export async function main(
  argv: readonly string[],
  parts: DatapathParts,
  { stdout, stderr, signal }: BenchStreams,
): Promise<number> {
  return exitCodeOf("bench", { stderr, signal }, async () => {
    const { positionals, values } = parseArguments(argv);
    if (values.help === true) {
      stdout.write(usage);
      return 0;
    }
    const names =
      positionals.length > 0 ? positionals : Object.keys(benches).filter((name) => name !== "policy-fuzz");
    const unknown = names.find((name) => benches[name] === undefined);
    if (unknown !== undefined) throw new UsageError(`No bench is called "${unknown}"`, usage);
    const context: BenchContext = {
      parts,
      rounds: readNumber("rounds", values.rounds ?? "5", [1, 1000]),
      services: readServiceOptions(values),
      policies: readPolicyOptions(values),
      signal,
      progress: (line) => {
        signal.throwIfAborted();
        stderr.write(`${line}\n`);
      },
    };
    if (values.soak !== undefined && names.join() !== "services")
      throw new UsageError("--soak is of the bench services alone", usage);
    const results: Record<string, BenchResult> = {};
    for (const name of names) results[name] = await (await benches[name]!.load())(context);
    if (values.picture !== undefined && results.services !== undefined) {
      const { servicePicture } = await import("./service-picture.ts");
      await writeFile(values.picture, servicePicture(results.services.medians));
    }
    stdout.write(values.output === "json" ? asJson(results) : asText(results));
    const failures = Object.values(results).flatMap(({ failure }) => failure ?? []);
    for (const failure of failures) stderr.write(`bench: ${failure}\n`);
    return failures.length === 0 ? 0 : 1;
  });
}

function parseArguments(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        output: { type: "string", short: "o" },
        rounds: { type: "string" },
        services: { type: "string" },
        changes: { type: "string" },
        picture: { type: "string" },
        soak: { type: "string" },
        policies: { type: "string" },
        identities: { type: "string" },
        minutes: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError(errorMessage(error), usage);
  }
}

function readNumber(flag: string, text: string, [least, most]: readonly [number, number]): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < least || number > most)
    throw new UsageError(`--${flag} "${text}" is not a number from ${least} to ${most}`);
  return number;
}

function readServiceOptions(values: ReturnType<typeof parseArguments>["values"]): ServiceOptions {
  const sizes = (values.services ?? "10,100,1000,5000,10000")
    .split(",")
    .map((text) => readNumber("services", text, [2, mostServices]));
  const soakMs = durationMs(values.soak);
  if (values.soak !== undefined && !(soakMs! > 0))
    throw new UsageError(`--soak "${values.soak}" is no duration`, "Write it like 30m, 90s or 1h.");
  return {
    sizes: [...new Set(sizes)].toSorted((a, b) => a - b),
    changes: readNumber("changes", values.changes ?? "10000", [1, mostChanges]),
    soakMs,
  };
}

function readPolicyOptions(values: ReturnType<typeof parseArguments>["values"]): PolicyOptions {
  const counts = (values.policies ?? "10,10000")
    .split(",")
    .map((text) => readNumber("policies", text, [10, mostPolicies]));
  if (counts.length !== 2) throw new UsageError("--policies takes two numbers: few and many", usage);
  return {
    counts: counts.toSorted((a, b) => a - b),
    identities: readNumber("identities", values.identities ?? "5000", [50, mostIdentities]),
    fuzzMs: 60_000 * readNumber("minutes", values.minutes ?? "10", [1, 1440]),
  };
}

function asJson(results: Record<string, BenchResult>): string {
  const ratios = Object.assign({}, ...Object.values(results).map((result) => result.ratios));
  const shown = Object.entries(results).map(([name, { ratios: own, medians }]) => [
    name,
    { ratios: own, medians },
  ]);
  return `${JSON.stringify({ ratios, results: Object.fromEntries(shown) }, null, 2)}\n`;
}

function asText(results: Record<string, BenchResult>): string {
  const lines = Object.entries(results).flatMap(([name, { ratios, goals = {}, table = [] }]) => [
    `${name}:`,
    ...table.map((line) => `  ${line}`),
    ...Object.entries(ratios).map(([ratio, value]) => {
      const goal = goals[ratio];
      const start = `  ${ratio.padEnd(48)} `;
      return goal === undefined ? start + value.toFixed(2) : start + withGoal(value, goal);
    }),
  ]);
  return `${lines.join("\n")}\n`;
}

function withGoal(value: number, goal: Goal): string {
  const [words, met] =
    "atLeast" in goal
      ? [`at least ${goal.atLeast}`, value >= goal.atLeast]
      : "atMost" in goal
        ? [`at most ${goal.atMost}`, value <= goal.atMost]
        : [`below ${goal.below}`, value < goal.below];
  return `${String(value).padEnd(10)} goal: ${words.padEnd(16)} ${met ? "met" : "MISSED"}`;
}
