// SPDX-License-Identifier: Apache-2.0
import { open } from "node:fs/promises";
import { sleep } from "../../../../lib/wait.ts";
import { type LogRecord, parseLogLine } from "./container-log.ts";

const POLL_MS = 100;
const CHUNK_BYTES = 64 * 1024;

/** Records of a log file from `offset`; goes on as the file grows while `follow` says so. */
export async function* logRecords(
  path: string,
  offset: number,
  follow: () => Promise<boolean>,
  signal: AbortSignal,
): AsyncGenerator<LogRecord> {
  const file = await open(path, "r");
  try {
    let rest = Buffer.alloc(0);
    let position = offset;
    let last = false;
    while (!signal.aborted) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, position);
      position += bytesRead;
      if (bytesRead === 0) {
        // What was written before the container's end is read once more after it was seen.
        if (last) break;
        last = !(await follow());
        if (!last) await sleep(POLL_MS, signal).catch(() => undefined);
        continue;
      }
      rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        const record = parseLogLine(rest.subarray(0, end).toString("utf8"));
        rest = rest.subarray(end + 1);
        if (record !== undefined) yield record;
      }
    }
  } finally {
    await file.close();
  }
}

/** Where in a log file the last `lines` lines begin. */
export async function tailOffset(path: string, lines: number): Promise<number> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    if (lines === 0) return size;
    let found = 0;
    let following = false;
    for (let end = size; end > 0; ) {
      const start = Math.max(0, end - CHUNK_BYTES);
      const { buffer } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
      for (let index = buffer.length - 1; index >= 0; index--) {
        if (buffer[index] !== 10) continue;
        // The newline at the very end closes the last line; each one before it closes another.
        if (following) found += 1;
        following = true;
        if (found === lines) return start + index + 1;
      }
      end = start;
    }
    return 0;
  } finally {
    await file.close();
  }
}
