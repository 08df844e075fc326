// SPDX-License-Identifier: Apache-2.0
import { open } from "node:fs/promises";

/** One line of a container's log file: `time stream F|P text` (P: the line goes on in the next record). */
export interface LogRecord {
  time: string;
  stream: "stdout" | "stderr";
  partial: boolean;
  text: string;
}

/** Parses one line of the CRI log format; undefined for anything else. */
export function parseLogLine(line: string): LogRecord | undefined {
  const match = /^(\S+) (stdout|stderr) ([FP])\S*(?: (.*))?$/s.exec(line);
  if (match === null) return undefined;
  const [, time = "", stream, tag, text = ""] = match;
  return { time, stream: stream as LogRecord["stream"], partial: tag === "P", text };
}

/** The last lines of a container's output, at most so many and so many bytes. */
export async function tailOfLog(path: string, lines: number, bytes: number): Promise<string> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const length = Math.min(size, bytes + lines * 64);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const records = buffer.toString("utf8").split("\n").map(parseLogLine);
    const text = records
      .map((record) => (record === undefined ? "" : record.text + (record.partial ? "" : "\n")))
      .join("");
    return text
      .split("\n")
      .slice(-lines - 1)
      .join("\n")
      .slice(-bytes);
  } finally {
    await file.close();
  }
}
