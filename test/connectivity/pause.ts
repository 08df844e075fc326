// SPDX-License-Identifier: Apache-2.0
import type { Readable, Writable } from "node:stream";

/** Where a pause is told of and ended. */
export interface PauseSurroundings {
  out: Writable;
  stdin: Readable;
  /** Aborts when the user interrupts: no pause outlasts it. */
  signal: AbortSignal;
}

/**
 * Makes what `--pause-on-fail` does after each failure: it stops until Enter is pressed, with all pods still there
 * to look at. Failures that come at the same time are asked about one after the other; without any more input (end
 * of file) the run goes on. `onPause` hears when a pause begins and ends, for clocks that should stand still.
 */
export function pauseAfterFailures(
  io: PauseSurroundings,
  onPause: (paused: boolean) => void = () => undefined,
): (test: string, result: { title: string }) => Promise<void> {
  let last = Promise.resolve();
  const ask = async (test: string, title: string): Promise<void> => {
    if (io.signal.aborted || io.stdin.readableEnded || io.stdin.destroyed) return;
    io.out.write(`${test}/${title} failed. Press Enter to go on.\n`);
    onPause(true);
    await pressed(io);
    onPause(false);
  };
  return (test, { title }) => {
    last = last.then(() => ask(test, title));
    return last;
  };
}

async function pressed({ stdin, signal }: PauseSurroundings): Promise<void> {
  await new Promise<void>((resolve) => {
    const events = ["data", "end", "close", "error"] as const;
    const done = () => {
      for (const event of events) stdin.off(event, done);
      signal.removeEventListener("abort", done);
      stdin.pause();
      resolve();
    };
    for (const event of events) stdin.on(event, done);
    signal.addEventListener("abort", done, { once: true });
    stdin.resume();
  });
}
