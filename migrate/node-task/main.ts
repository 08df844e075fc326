// SPDX-License-Identifier: Apache-2.0
import type { Writable } from "node:stream";
import { parseArgs } from "node:util";
import { errorMessage, ShuntError, UsageError } from "../../lib/errors.ts";
import type { NodeTaskKind } from "../model/tools.ts";
import { Host } from "./host.ts";
import { performers } from "./perform.ts";
import { joinArgs, type TaskDocument } from "./task-document.ts";

/** What the program is run with. */
export interface TaskEnv {
  env: Record<string, string | undefined>;
  stdout: Writable;
}

/**
 * `node-task KIND [--root DIR]`: does it and prints one JSON document, a TaskDocument. Its arguments come in the
 * environment. Returns the exit code.
 */
export async function main({ env, stdout }: TaskEnv, argv: string[]): Promise<number> {
  const document = await perform(env, argv).then(
    (result): TaskDocument => ({ shuntNodeTask: 1, ok: true, result: result as any }),
    (error): TaskDocument => ({ shuntNodeTask: 1, ok: false, error: describe(error) }),
  );
  await new Promise<void>((resolve) => void stdout.write(`${JSON.stringify(document)}\n`, () => resolve()));
  return document.ok ? 0 : 1;
}

async function perform(env: TaskEnv["env"], argv: string[]): Promise<object> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: { root: { type: "string", default: "" } },
  });
  const kind = positionals[0] as NodeTaskKind | undefined;
  const performer = kind === undefined || !Object.hasOwn(performers, kind) ? undefined : performers[kind];
  if (performer === undefined)
    throw new UsageError(`Unknown kind "${kind ?? ""}"; known: ${Object.keys(performers).join(", ")}`);
  return await performer(new Host(values.root), joinArgs(env), env.NODE_NAME ?? "");
}

function describe(error: unknown) {
  const known = error instanceof ShuntError ? error : undefined;
  return {
    message: errorMessage(error),
    code: known?.code ?? "Failed",
    ...(known?.remedy === undefined ? {} : { remedy: known.remedy }),
  };
}
