// SPDX-License-Identifier: Apache-2.0
import { globSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";

/**
 * Runs every *.test.ts, or those whose path contains one of the arguments, one file after the other: files that
 * make clusters share two cores. Fails when a test failed, and when none ran.
 */
const words = process.argv.slice(2);
const all = globSync("{agent,bin,bpf,installer,lib,migrate,playbooks,scripts,test}/**/*.test.ts").toSorted();
const files = all.filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
const counts = { passed: 0, failed: 0, skipped: 0 };

const stream = run({ files, concurrency: 1, timeout: 900_000, forceExit: false });
stream.on("test:pass", (event) => {
  if (event.details.type === "suite") return;
  if (event.skip !== undefined || event.todo !== undefined) counts.skipped++;
  else counts.passed++;
});
stream.on("test:fail", () => {
  counts.failed++;
  process.exitCode = 1;
});
stream.compose(spec).pipe(process.stdout);
stream.on("end", () => {
  if (counts.passed + counts.failed === 0) {
    process.stderr.write("no test ran\n");
    process.exitCode = 1;
  }
  setImmediate(() =>
    process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`),
  );
});
