// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from "node:util";
import { errorMessage, UsageError } from "../../lib/errors.ts";
import { connectKube } from "../../lib/kube-connect.ts";
import { ClusterUnderTest, image } from "../e2e/cluster-under-test.ts";
import { exitCodeOf } from "../exit-code.ts";
import {
  checkPolicies,
  type PolicyConformance,
  type PolicyConformanceOptions,
  replacePolicies,
} from "./policy.ts";

const usage = `usage: npm run conformance -- SUITE [-o json] [--only TEXT] [--times N]
suites, each on a cluster of its own:
  policy          NetworkPolicies, with packets from every pod to every pod over TCP, UDP and SCTP, IPv4 and IPv6,
                  compared with a truth table
  policy-replace  policies that are replaced over and over while packets flow: no forbidden one passes, no allowed
                  one is dropped
  --only TEXT     of policy: the cases whose names contain it
  --times N       of policy-replace: how often (1000)
  -o json         the counts, differences among them, and what differed
Ends with 0 when nothing differed, and with 1 otherwise.
`;

interface Streams {
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
  /** Aborts when the user wants to stop. */
  signal: AbortSignal;
}

/** Runs the suite that is named; returns the exit code. */
export async function main(argv: readonly string[], { stdout, stderr, signal }: Streams): Promise<number> {
  return exitCodeOf("conformance", { stderr, signal }, async () => {
    const { positionals, values } = parseArguments(argv);
    if (values.help === true) {
      stdout.write(usage);
      return 0;
    }
    const suite = positionals.join(" ");
    const progress = (line: string): void => void stderr.write(`${line}\n`);
    const print = (found: { differences: number }, text: string): number => {
      stdout.write(values.output === "json" ? `${JSON.stringify(found, null, 2)}\n` : text);
      return found.differences === 0 ? 0 : 1;
    };
    if (suite === "policy") {
      const { only } = values;
      const found = await onOwnCluster(progress, (cluster) =>
        checkPoliciesOf(cluster, { progress, signal, ...(only === undefined ? {} : { only }) }),
      );
      if (found.cases === 0) throw new UsageError(`No case's name contains "${only}"`);
      return print(found, asText(found));
    }
    if (suite !== "policy-replace") throw new UsageError(`No suite is called "${suite}"`, usage);
    const times = Number(values.times ?? "1000");
    if (!Number.isInteger(times) || times < 1) throw new UsageError(`--times "${values.times}" is no number`);
    const found = await onOwnCluster(progress, (cluster) =>
      onCluster(cluster, (parts) => replacePolicies({ ...parts, times, progress, signal })),
    );
    return print(found, `${JSON.stringify(found)}\n`);
  });
}

function parseArguments(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        output: { type: "string", short: "o" },
        only: { type: "string" },
        times: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError(errorMessage(error), usage);
  }
}

/** Makes a cluster whose agents enforce policies, and removes it again. */
async function onOwnCluster<Found>(
  progress: (line: string) => void,
  work: (cluster: ClusterUnderTest) => Promise<Found>,
): Promise<Found> {
  progress("making a cluster of three nodes, dual-stack");
  const flags = ["--workers", "2", "--ip-family", "dual"];
  const cluster = await ClusterUnderTest.create("conformance", flags);
  try {
    await cluster.shunt(["install", "--yes", "--set", "modes.policy=enforce"], { timeoutMs: 240_000 });
    return await work(cluster);
  } finally {
    await cluster.delete();
  }
}

/** Hands on what the suites need of a cluster that is there. */
async function onCluster<Found>(
  cluster: ClusterUnderTest,
  work: (parts: Pick<PolicyConformanceOptions, "kube" | "image" | "nodes" | "exec">) => Promise<Found>,
): Promise<Found> {
  const kube = await connectKube({ kubeconfig: cluster.kubeconfig });
  try {
    return await work({
      ...{ kube, image, nodes: ["worker", "worker2"].map((node) => `${cluster.name}-${node}`) },
      exec: async (namespace, pod, command) =>
        (await cluster.kubectl(["-n", namespace, "exec", pod, "--", ...command])).stdout,
    });
  } finally {
    kube.close();
  }
}

/** Tries the cases of the suite `policy` on the workers of a cluster that is there. */
export function checkPoliciesOf(
  cluster: ClusterUnderTest,
  options: Pick<PolicyConformanceOptions, "progress" | "signal" | "settleMs"> & { only?: string },
): Promise<PolicyConformance> {
  const { only, ...others } = options;
  const chosen = only === undefined ? {} : { only: (name: string) => name.includes(only) };
  return onCluster(cluster, (parts) => checkPolicies({ ...parts, ...others, ...chosen }));
}

function asText({ cases, steps, probes, differences, failures }: PolicyConformance): string {
  const lines = failures.map(
    (one) => `  ${one.case}, step ${one.step}: ${one.cell}: ${one.seen}, should be ${one.expected}`,
  );
  return [`cases ${cases}, steps ${steps}, probes ${probes}, differences ${differences}`, ...lines, ""].join(
    "\n",
  );
}
