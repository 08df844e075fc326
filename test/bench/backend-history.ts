// SPDX-License-Identifier: Apache-2.0
import type { Connection } from "./steady-load.ts";

/**
 * What became of a connection: `late` went to a backend that was removed while it was being set up, `dead` to one that
 * had gone before it began, `dropped` nowhere.
 */
export type Fate = "served" | "late" | "dead" | "dropped";

/** Times of which only the newest are of use: a connection is judged soon after its end. */
const keptPerBackend = 8;

/** When each backend was behind a service, to judge connections by. */
export class BackendHistory {
  /** Spans in which a backend was not there, oldest first. */
  readonly #absent = new Map<number, { fromNs: number; untilNs: number }[]>();

  constructor(pool: readonly number[], present: readonly number[]) {
    for (const backend of pool)
      this.#absent.set(backend, present.includes(backend) ? [] : [{ fromNs: 0, untilNs: Infinity }]);
  }

  /** One write of the maps: it began and had returned at these times. */
  changed(
    change: { added: readonly number[]; removed: readonly number[] },
    beganNs: number,
    returnedNs: number,
  ): void {
    for (const backend of change.added) {
      const last = this.#absent.get(backend)?.at(-1);
      if (last !== undefined) last.untilNs = Math.min(last.untilNs, beganNs);
    }
    for (const backend of change.removed) {
      const spans = this.#absent.get(backend) ?? [];
      spans.push({ fromNs: returnedNs, untilNs: Infinity });
      this.#absent.set(backend, spans.slice(-keptPerBackend));
    }
  }

  judge({ backend, startNs, connectedNs }: Connection): Fate {
    if (backend < 0) return "dropped";
    const spans = this.#absent.get(backend);
    if (spans === undefined) return "dead";
    if (spans.some(({ fromNs, untilNs }) => startNs > fromNs && connectedNs < untilNs)) return "dead";
    return spans.some(({ fromNs, untilNs }) => connectedNs > fromNs && startNs < untilNs) ? "late" : "served";
  }
}
