// SPDX-License-Identifier: Apache-2.0

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Record<string, unknown>;

/** Structured logger: one JSON object a line, as log collectors expect. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  with(fields: LogFields): Logger;
}

const order: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40 };

/** Makes a logger that writes lines of `{time, level, message, ...fields}` to `write`, from `level` up. */
export function createLogger(
  write: (line: string) => void = (line) => void process.stderr.write(line),
  level: LogLevel = "info",
  fields: LogFields = {},
): Logger {
  const emit = (at: LogLevel) => (message: string, extra?: LogFields) => {
    if (order[at] < order[level]) return;
    const record = { time: new Date().toISOString(), level: at, message, ...fields, ...extra };
    write(`${JSON.stringify(record, errorsAsText)}\n`);
  };
  return {
    debug: emit("debug"),
    info: emit("info"),
    warn: emit("warn"),
    error: emit("error"),
    with: (more) => createLogger(write, level, { ...fields, ...more }),
  };
}

function errorsAsText(_key: string, value: unknown): unknown {
  if (value instanceof Error) return value.stack ?? value.message;
  return typeof value === "bigint" ? value.toString() : value;
}
