// SPDX-License-Identifier: Apache-2.0
import { globSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";

/**
 * Runs every *.test.ts, or those whose path contains one of the arguments: first what needs no cluster, two files at
 * once, then those that make clusters, one after the other. Fails when a test failed, and when none ran.
 */
const words = process.argv.slice(2);
const all = globSync("{agent,bin,bpf,installer,lib,migrate,playbooks,scripts,test}/**/*.test.ts").toSorted();
/** Take too long for every change: `npm test blue-green rollback` runs them. */
const onRequest = ["test/e2e/migrate-blue-green.test.ts", "test/e2e/migrate-rollback.test.ts"];
const files = all.filter((file) =>
  words.length === 0 ? !onRequest.includes(file) : words.some((word) => file.includes(word)),
);
const counts = { passed: 0, failed: 0, skipped: 0 };

function runFiles(chosen: string[], concurrency: number): Promise<void> {
  const stream = run({ files: chosen, concurrency, timeout: 900_000, forceExit: false });
  stream.on("test:pass", (event) => {
    if (event.details.type === "suite") return;
    if (event.skip !== undefined || event.todo !== undefined) counts.skipped++;
    else counts.passed++;
  });
  stream.on("test:fail", () => {
    counts.failed++;
    process.exitCode = 1;
  });
  stream.compose(spec).pipe(process.stdout, { end: false });
  return new Promise((resolve) => stream.on("end", () => resolve()));
}

const makesClusters = (file: string): boolean => file.startsWith("test/e2e/");
const alone = files.filter(makesClusters);
const together = files.filter((file) => !makesClusters(file));
if (together.length > 0) await runFiles(together, 2);
if (alone.length > 0) await runFiles(alone, 1);
if (counts.passed + counts.failed === 0) {
  process.stderr.write("no test ran\n");
  process.exitCode = 1;
}
setImmediate(() =>
  process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`),
);
