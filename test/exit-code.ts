// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../lib/errors.ts";

const stoppedExitCode = 130;

/** Exit code of a command of the project's own, e.g. `bench`; what goes wrong is told with its remedy. */
export async function exitCodeOf(
  command: string,
  { stderr, signal }: { stderr: NodeJS.WritableStream; signal: AbortSignal },
  work: () => Promise<number>,
): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (signal.aborted) {
      stderr.write(`${command}: stopped\n`);
      return stoppedExitCode;
    }
    stderr.write(`${command}: ${errorMessage(error)}\n`);
    if (error instanceof ShuntError && error.remedy !== undefined) stderr.write(`${error.remedy}\n`);
    return error instanceof ShuntError ? error.exitCode : 1;
  }
}
