// SPDX-License-Identifier: Apache-2.0
import { existsSync, globSync, readFileSync } from "node:fs";
import { run } from "../lib/run.ts";

/** The one gate: types, lint and format, unused code, import directions and cycles, licence headers. */
const node = process.execPath;
const folders = ["bin", "lib", "installer", "migrate", "agent", "playbooks", "test", "scripts"].filter(
  (folder) => existsSync(folder),
);
const checks: [string, string, string[]][] = [
  ["types", node, ["node_modules/typescript/bin/tsc", "-p", "."]],
  ["lint and format", "node_modules/.bin/biome", ["check", "--error-on-warnings", "."]],
  ["unused code", node, ["node_modules/knip/bin/knip.js", "--no-progress"]],
  ["import directions", node, ["node_modules/dependency-cruiser/bin/dependency-cruise.mjs", ...folders]],
];

const headers: [string, string][] = [
  [
    "{agent,bin,installer,lib,migrate,playbooks,scripts,test}/**/*.ts",
    "// SPDX-License-Identifier: Apache-2.0",
  ],
  ["{agent,test}/**/*.c", "// SPDX-License-Identifier: Apache-2.0"],
  ["bpf/**/*.{c,h}", "// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"],
];

function filesWithoutHeader(): string[] {
  return headers.flatMap(([pattern, header]) =>
    globSync(pattern).filter((file) => readFileSync(file, "utf8").split("\n", 1)[0] !== header),
  );
}

let failed = false;
const report = (name: string, problem: string): void => {
  process.stdout.write(problem === "" ? `ok      ${name}\n` : `FAILED  ${name}\n${problem}\n`);
  failed ||= problem !== "";
};
await Promise.all(
  checks.map(async ([name, file, args]) => {
    const result = await run(file, args, { allowFailure: true, timeoutMs: 300_000 });
    report(name, result.exitCode === 0 ? "" : result.stdout + result.stderr);
  }),
);
const bare = filesWithoutHeader();
report(
  "licence headers",
  bare.length === 0 ? "" : `without the right SPDX line first:\n  ${bare.join("\n  ")}`,
);
process.exitCode = failed ? 1 : 0;
