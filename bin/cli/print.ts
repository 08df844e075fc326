// SPDX-License-Identifier: Apache-2.0
import type { CliEnv } from "./env.ts";

/** What moves a cursor, changes a terminal or turns the direction of writing. */
const treacherous = /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Text that anybody may have written, as one line that does nothing to a terminal. */
export const printable = (text: string): string => text.replaceAll(treacherous, "\u{fffd}");

/** The same of a text of several lines. */
const printableLines = (text: string): string => text.split("\n").map(printable).join("\n");

/** Within quotes, where JSON and YAML have the same escapes; line ends stand between values. */
const escaped = (text: string): string =>
  text.replaceAll(treacherous, (one) =>
    one === "\n" ? one : `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** Prints a value as `-o json` or `-o yaml` want it, else the text. */
export async function print(
  env: CliEnv,
  output: string | undefined,
  value: unknown,
  text: () => string,
): Promise<void> {
  if (output === "json") env.stdout.write(`${escaped(JSON.stringify(value, null, 2))}\n`);
  else if (output === "yaml") env.stdout.write(escaped((await import("yaml")).stringify(value)));
  else env.stdout.write(printableLines(text()));
}
