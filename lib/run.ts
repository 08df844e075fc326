// SPDX-License-Identifier: Apache-2.0
import type { Readable, Writable } from "node:stream";
import { execa, type Options } from "execa";
import { ShuntError } from "./errors.ts";
import { formatCommand } from "./format-command.ts";

/** How one subprocess is run. Every one has a deadline. */
export interface RunOptions {
  cwd?: string;
  /** Added to this process's environment. */
  env?: Record<string, string | undefined>;
  /** Text or bytes for standard input; none means /dev/null. */
  input?: string | Uint8Array | Readable;
  /** Milliseconds until it is told to end (SIGTERM). Default 60,000. */
  timeoutMs?: number;
  /** Milliseconds that it may take to end before it is killed (SIGKILL). Default 5,000. */
  killAfterMs?: number;
  signal?: AbortSignal;
  /** Return a non-zero exit instead of throwing. */
  allowFailure?: boolean;
  /** Copies what it prints as it comes. */
  tee?: Writable;
}

export interface RunResult {
  command: string;
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** A failed subprocess, with what it printed and a command line that can be pasted into a shell. */
export class RunError extends ShuntError {
  readonly result: RunResult;
  constructor(result: RunResult, why: string, cause?: unknown) {
    const output = (result.stderr || result.stdout).trim().split("\n").slice(-15).join("\n");
    super(`Command failed (${why}): ${result.command}${output === "" ? "" : `\n${output}`}`, {
      code: "CommandFailed",
      cause,
    });
    this.name = "RunError";
    this.result = result;
  }
}

/** Runs a program to its end: the one seam through which every subprocess goes. Throws RunError. */
export async function run(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const execaOptions: Options = {
    reject: false,
    timeout: timeoutMs,
    forceKillAfterDelay: options.killAfterMs ?? 5_000,
    maxBuffer: 64 * 1024 * 1024,
    stripFinalNewline: false,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  };
  const stdin =
    options.input === undefined
      ? { stdin: "ignore" as const }
      : typeof options.input === "string" || options.input instanceof Uint8Array
        ? { input: options.input }
        : { inputFile: undefined, input: options.input };
  const child = execa(file, [...args], { ...execaOptions, ...stdin });
  if (options.tee !== undefined) {
    child.stdout?.pipe(options.tee, { end: false });
    child.stderr?.pipe(options.tee, { end: false });
  }
  const done = await child;
  const result: RunResult = {
    command: formatCommand(file, args),
    exitCode: done.exitCode ?? 128,
    stdout: String(done.stdout ?? ""),
    stderr: String(done.stderr ?? ""),
  };
  if (done.timedOut) throw new RunError(result, `no end after ${timeoutMs} ms`, done.cause);
  if (done.isCanceled) throw new RunError(result, "cancelled", done.cause);
  if (done.exitCode === undefined && done.signal === undefined)
    throw new RunError(result, done.originalMessage ?? "could not be started", done.cause);
  if (result.exitCode !== 0 && options.allowFailure !== true)
    throw new RunError(
      result,
      done.signal === undefined ? `exit code ${result.exitCode}` : `ended by ${done.signal}`,
    );
  return result;
}
