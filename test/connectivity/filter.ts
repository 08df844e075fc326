// SPDX-License-Identifier: Apache-2.0
import { UsageError } from "../../lib/errors.ts";
import type { Test } from "./suite.ts";

/**
 * Keeps the scenarios that the patterns of `--test` choose. A pattern is a regular expression on
 * `test/scenario`; one that begins with `!` takes away what it matches. Only negative ones choose from all.
 */
export function filterTests<World>(
  tests: readonly Test<World>[],
  patterns: readonly string[],
): Test<World>[] {
  const wanted = patterns.filter((pattern) => !pattern.startsWith("!")).map(parsePattern);
  const unwanted = patterns
    .filter((pattern) => pattern.startsWith("!"))
    .map((text) => parsePattern(text.slice(1)));
  const chosen = tests
    .map((test) => ({
      ...test,
      scenarios: test.scenarios.filter((scenario) => {
        const name = `${test.name}/${scenario.name}`;
        const included = wanted.length === 0 || wanted.some((pattern) => pattern.test(name));
        return included && !unwanted.some((pattern) => pattern.test(name));
      }),
    }))
    .filter((test) => test.scenarios.length > 0);
  if (chosen.length === 0)
    throw new UsageError(
      `No test matches ${patterns.map((pattern) => `--test '${pattern}'`).join(" ")}`,
      "Run shunt connectivity test --list to see their names.",
    );
  return chosen;
}

function parsePattern(text: string): RegExp {
  try {
    if (text === "") throw new Error("it is empty");
    return new RegExp(text);
  } catch (cause) {
    throw new UsageError(
      `--test '${text}' is not a regular expression: ${(cause as Error).message}`,
      "Patterns match test/scenario, for example --test '^dns/' or --test '!world'.",
    );
  }
}
