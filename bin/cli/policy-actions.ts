// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { text as readAll } from "node:stream/consumers";
import { errorMessage, ShuntError, UsageError } from "../../lib/errors.ts";
import { connectKube, type KubeTarget } from "../../lib/kube-connect.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput } from "./options.ts";
import { type CheckedFile, checkFile } from "./policy-files.ts";
import { askMaps, mapLines } from "./policy-maps.ts";
import { mapQuestions, PolicyWorld, parsePort, type Traced, traceConnection } from "./policy-trace.ts";
import { print, printable } from "./print.ts";

export interface ValidateFlags {
  filename: string[];
  output?: string;
}
export interface TraceFlags extends KubeTarget {
  from: string;
  to: string;
  port: string;
  /** False: no agent is asked. */
  maps: boolean;
  output?: string;
}

/** `shunt policy validate`. */
export async function validatePolicies(env: CliEnv, { filename, output }: ValidateFlags): Promise<void> {
  checkOutput(output, ["json", "yaml"]);
  if (filename.length === 0) throw new UsageError("No file is named", "Name one with -f.");
  const checked: (CheckedFile & { file: string })[] = [];
  for (const file of filename) {
    const shown = file === "-" ? "(standard input)" : file;
    checked.push({ file: shown, ...checkFile(shown, await contentOf(env, file)) });
  }
  await print(env, output, { files: checked }, () => `${validationLines(checked).join("\n")}\n`);
  const isWrong = checked.some(
    ({ problems, policies }) => problems.length > 0 || policies.some((policy) => policy.problems.length > 0),
  );
  if (isWrong) throw new ShuntError("a policy is not valid", { code: "Reported" });
}

async function contentOf(env: CliEnv, file: string): Promise<string> {
  try {
    return file === "-" ? await readAll(env.stdin) : readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${errorMessage(error)}`);
  }
}

function validationLines(checked: readonly (CheckedFile & { file: string })[]): string[] {
  const lines: string[] = [];
  for (const { file, policies, problems } of checked) {
    for (const { line, column, message } of problems) lines.push(`${file}:${line}:${column}: ${message}`);
    for (const policy of policies)
      for (const { line, column, path, message } of policy.problems) {
        const name = policy.namespace === undefined ? policy.name : `${policy.namespace}/${policy.name}`;
        lines.push(
          `${file}:${line}:${column}: ${policy.kind} ${name}: ${path === "" ? "" : `${path}: `}${message}`,
        );
      }
  }
  const all = checked.flatMap(({ policies }) => policies);
  const wrong = all.filter(({ problems }) => problems.length > 0).length;
  const others = checked.reduce((sum, one) => sum + one.others, 0);
  const passedOver = others === 0 ? "" : `; ${others} objects of other kinds passed over`;
  lines.push(`${all.length - wrong} of ${all.length} policies are valid${passedOver}`);
  return lines;
}

/** `shunt policy trace`. */
export async function tracePolicies(env: CliEnv, flags: TraceFlags): Promise<void> {
  checkOutput(flags.output, ["json", "yaml"]);
  const port = parsePort(flags.port);
  const kube = await connectKube(flags);
  try {
    const world = await PolicyWorld.read(kube, env.signal);
    for (const { name, problems } of world.invalid)
      env.stderr.write(`${printable(`${name} is not valid and passed over: ${problems}`)}\n`);
    const traced = traceConnection(world, flags.from, flags.to, port);
    const questions = flags.maps ? mapQuestions(world, flags.from, flags.to) : [];
    const maps = await askMaps(kube, env.signal, questions, { traced, port });
    await print(env, flags.output, { ...traced, maps }, () => {
      const lines = [
        ...traceLines(traced, flags.port),
        ...(maps.length === 0 ? [] : ["", ...mapLines(maps)]),
      ];
      return `${lines.join("\n")}\n`;
    });
    if (maps.some(({ error, differs }) => error !== undefined || differs))
      throw new ShuntError("objects and maps are not known to agree", { code: "Reported" });
  } finally {
    kube.close();
  }
}

function traceLines({ from, to, egress, ingress, verdict }: Traced, port: string): string[] {
  const half = (title: string, decision: Traced["egress"]): string[] =>
    decision === undefined ? [] : [`${title}: ${decision.verdict}`, `  ${decision.reason}`];
  return [
    `${from} to ${to}, port ${port}`,
    "",
    ...half(`egress of ${from}`, egress),
    ...half(`ingress of ${to}`, ingress),
    "",
    verdict,
  ];
}
