// SPDX-License-Identifier: Apache-2.0
// What the documentation says of findings and of where a pitfall is handled is true.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { stepKinds } from "../steps/index.ts";

const root = path.join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");
const quoted = (text: string): string[] => [...text.matchAll(/`([^`\n]+)`/g)].map(([, word]) => word!);

const sources = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".ts") && !/test|testing/.test(file))
  .map((file) => read(`migrate/preflight/${file}`))
  .join("\n");
const findings = new Set([...sources.matchAll(/id: "([a-z0-9-]+)"/g)].map(([, id]) => id!));

test("every finding is in the list of findings", () => {
  const documented = new Set(quoted(read("docs/commands/shunt-migrate-inventory.md")));
  assert.ok(findings.size > 60);
  assert.deepEqual(
    [...findings].filter((id) => !documented.has(id)),
    [],
  );
});

test("every place that the list of pitfalls names exists", () => {
  const words = quoted(read("docs/migration-pitfalls.md"));
  const files = words.filter((word) => /^[\w/.-]+\/[\w.-]+\.(ts|md)$/.test(word));
  assert.ok(files.length > 10);
  assert.deepEqual(
    files.filter((file) => !existsSync(path.join(root, file))),
    [],
  );
  const steps = new Set<string>(Object.keys(stepKinds));
  const names = words.filter((word) => /^[a-z][a-z0-9]*(-[a-z0-9]+)+$/.test(word));
  assert.ok(names.length > 20);
  assert.deepEqual(
    names.filter((name) => !findings.has(name) && !steps.has(name) && name !== "shunt-migration"),
    [],
  );
});

test("every entry of the list of pitfalls names a test", () => {
  const entries = read("docs/migration-pitfalls.md").split("<details>").slice(1);
  assert.ok(entries.length >= 20);
  const without = entries.filter((entry) => !/`[\w/.-]+\.test\.ts`/.test(entry) && !/no sysdump/.test(entry));
  assert.deepEqual(
    without.map((entry) => entry.slice(0, 90)),
    [],
  );
});
