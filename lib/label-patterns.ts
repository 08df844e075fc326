// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "./errors.ts";

/** Which labels of pods a pattern is about, and whether they make identities. */
export interface LabelPattern {
  matches: (key: string) => boolean;
  isRelevant: boolean;
}

/**
 * Reads `[!][k8s:]PATTERN`: a regular expression that keys of labels begin with, after "!" one of those that do not count, as
 * in the option `labels` of Cilium. Throws ShuntError that says what is wrong.
 */
export function parseLabelPattern(text: string): LabelPattern {
  const isRelevant = !text.startsWith("!");
  const [, source, pattern] = /^(?:([a-z0-9]+):)?(.+)$/.exec(text.slice(isRelevant ? 0 : 1)) ?? [];
  const invalid = (why: string): ShuntError =>
    new ShuntError(`"${text}" is no pattern of labels: ${why}`, {
      code: "BadLabelPattern",
      exitCode: 2,
      remedy: 'Write a regular expression for the beginning of keys, such as "app$" or "!example\\.com/".',
    });
  if (pattern === undefined) throw invalid("it is empty");
  if (source !== undefined && source !== "k8s") throw invalid("pods have labels of the source k8s alone");
  try {
    const expression = new RegExp(`^k8s:(?:${pattern})`, "u");
    return { matches: (key) => expression.test(key), isRelevant };
  } catch (error) {
    throw invalid(errorMessage(error));
  }
}
