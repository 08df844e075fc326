// SPDX-License-Identifier: Apache-2.0
import type { CliEnv } from "./env.ts";

/** Prints a value as `-o json` or `-o yaml` want it, else the text. */
export async function print(
  env: CliEnv,
  output: string | undefined,
  value: unknown,
  text: () => string,
): Promise<void> {
  if (output === "json") env.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  else if (output === "yaml") env.stdout.write((await import("yaml")).stringify(value));
  else env.stdout.write(text());
}
