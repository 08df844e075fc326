// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { ShuntError } from "../../lib/errors.ts";

/** One attempt at one thing between two ends: what it did is logged, what it expects is asserted. */
export class Action {
  /** Aborts when the run is interrupted or out of time. */
  readonly signal: AbortSignal;
  readonly #log: (line: string) => void;
  #asserted = 0;

  constructor(signal: AbortSignal, log: (line: string) => void) {
    this.signal = signal;
    this.#log = log;
  }

  /** How many things it has asserted: an action that asserts nothing is a mistake. */
  get asserted(): number {
    return this.#asserted;
  }

  log(line: string): void {
    this.#log(line);
  }

  /** `what` completes the sentence "… is A, expected B". */
  equal(what: string, actual: unknown, expected: unknown): void {
    this.#asserted++;
    if (isDeepStrictEqual(actual, expected)) return;
    throw failed(`${what} is ${show(actual)}, expected ${show(expected)}`);
  }

  /** `what` completes the sentence "… is A, expected one of …". */
  oneOf(what: string, actual: unknown, expected: readonly unknown[]): void {
    this.#asserted++;
    if (expected.includes(actual)) return;
    const wanted = expected.length === 1 ? show(expected[0]) : `one of ${expected.map(show).join(", ")}`;
    throw failed(`${what} is ${show(actual)}, expected ${wanted}`);
  }

  /** Holds when `condition` does; `message` says what is wrong otherwise. */
  ok(condition: boolean, message: string): void {
    this.#asserted++;
    if (!condition) throw failed(message);
  }
}

function failed(message: string): ShuntError {
  return new ShuntError(message, { code: "AssertionFailed" });
}

function show(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}
