// SPDX-License-Identifier: Apache-2.0
// Programs on PATH that answer recorded calls, and nothing else.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { run } from "../../lib/run.ts";
import type { RunProgram } from "./setup.ts";

/** A call that the program knows: its arguments, word by word, and what it does then. */
export interface RecordedCall {
  args: string[];
  stdout?: unknown;
  stderr?: string;
  exitCode?: number;
}

/** A folder of such programs. */
export class FakePrograms {
  readonly folder = mkdtempSync(path.join(tmpdir(), "shunt-programs-"));

  /** Puts a program on the path that knows these calls. */
  add(name: string, calls: RecordedCall[]): void {
    const file = path.join(this.folder, name);
    const answers = path.join(this.folder, `${name}.json`);
    writeFileSync(answers, JSON.stringify(calls));
    writeFileSync(
      file,
      `#!${process.execPath}
const fs = require("node:fs");
const args = process.argv.slice(2);
fs.appendFileSync(${JSON.stringify(`${file}.log`)}, JSON.stringify(args) + "\\n");
const known = JSON.parse(fs.readFileSync(${JSON.stringify(answers)}, "utf8"));
const call = known.find((entry) => JSON.stringify(entry.args) === JSON.stringify(args));
if (call === undefined) {
  process.stderr.write("unexpected call: " + JSON.stringify(args) + "\\n");
  process.exit(99);
}
if (call.stderr) process.stderr.write(call.stderr);
if (call.stdout !== undefined) process.stdout.write(JSON.stringify(call.stdout));
process.exit(call.exitCode ?? 0);
`,
    );
    chmodSync(file, 0o755);
    rmSync(`${file}.log`, { force: true });
  }

  /** The calls that were made, in order. */
  calls(name: string): string[][] {
    const log = path.join(this.folder, `${name}.log`);
    if (!existsSync(log)) return [];
    return readFileSync(log, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  /** Runs programs of this folder and no others. */
  readonly run: RunProgram = (file, args, options) =>
    run(path.join(this.folder, file), args, { ...options, env: { PATH: this.folder } });

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
