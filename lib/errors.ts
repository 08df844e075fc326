// SPDX-License-Identifier: Apache-2.0

/** What a failed operation tells its user: what is wrong, where, and what to do about it. */
export class ShuntError extends Error {
  /** Stable machine-readable name of the failure, for `-o json`. */
  readonly code: string;
  /** What the reader should do now; printed below the message. */
  readonly remedy: string | undefined;
  /** Exit code of the command when this error ends it: 1 failure, 2 wrong usage, 3 blocked by a finding. */
  readonly exitCode: number;

  constructor(
    message: string,
    options: { code?: string; remedy?: string; exitCode?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ShuntError";
    this.code = options.code ?? "Failed";
    this.remedy = options.remedy;
    this.exitCode = options.exitCode ?? 1;
  }
}

/** The caller's words were wrong (flag, argument, values file): exit code 2, nothing was changed. */
export class UsageError extends ShuntError {
  constructor(message: string, remedy?: string) {
    super(message, { code: "Usage", exitCode: 2, ...(remedy === undefined ? {} : { remedy }) });
    this.name = "UsageError";
  }
}

/** One line for any thrown value; never "[object Object]". */
export function errorMessage(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map(errorMessage).join("; ");
  if (error instanceof Error) return error.message || error.name;
  return typeof error === "string" ? error : JSON.stringify(error);
}
