// SPDX-License-Identifier: Apache-2.0
// Which policies are about an end: found by its labels, not by asking each of them.
import { type End, policiesAbout } from "./decide.ts";
import type { Policy } from "./model.ts";

/** Policies at one time. */
export class PolicyIndex {
  readonly all: readonly Policy[];
  /** By a label that every subject has, mostly the namespace; each with its place in `all`. */
  readonly #byLabel = new Map<string, number[]>();
  readonly #others: number[] = [];

  constructor(all: readonly Policy[]) {
    this.all = all;
    for (const [place, { subject }] of all.entries()) {
      const needed = subject.find(
        ({ key, operator, values }) => operator === "In" && values.length === 1 && !key.startsWith("any:"),
      );
      if (needed === undefined) this.#others.push(place);
      else {
        const label = `${needed.key}=${needed.values[0]}`;
        const known = this.#byLabel.get(label);
        if (known === undefined) this.#byLabel.set(label, [place]);
        else known.push(place);
      }
    }
  }

  /** Those that are about an end, in the order in which they are asked. */
  about(subject: End): Policy[] {
    const places = [...subject.labels].flatMap(([key, value]) => this.#byLabel.get(`${key}=${value}`) ?? []);
    const inOrder = [...places, ...this.#others].toSorted((a, b) => a - b);
    return policiesAbout(
      inOrder.map((place) => this.all[place]!),
      subject,
    );
  }
}
