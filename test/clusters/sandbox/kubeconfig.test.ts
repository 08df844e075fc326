// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, it } from "node:test";
import { parse, stringify } from "yaml";
import { makeKubeconfig, mergeKubeconfig, removeKubeconfig } from "./kubeconfig.ts";

const config = (name: string) => makeKubeconfig(name, "https://127.0.0.1:1", "ca", { cert: "c", key: "k" });
let dir: string;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "kubeconfig-"));
  file = path.join(dir, "sub/config");
});
afterEach(() => rmSync(dir, { recursive: true }));

it("merges, keeps what others wrote, and takes out only its own", async () => {
  await mergeKubeconfig(file, config("prod"));
  await mergeKubeconfig(file, config("sandbox-dev"));
  await mergeKubeconfig(file, config("sandbox-dev"));
  const both = parse(readFileSync(file, "utf8"));
  assert.deepEqual(
    both.contexts.map(({ name }: { name: string }) => name),
    ["prod", "sandbox-dev"],
  );
  assert.equal(both["current-context"], "sandbox-dev");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await removeKubeconfig("dev", file, {});
  const left = parse(readFileSync(file, "utf8"));
  assert.equal(left.users.length, 1);
  assert.equal(left["current-context"], "prod");
  assert.equal(existsSync(`${file}.lock`), false);
});

it("removes a file that held nothing else, and leaves one alone that never had the context", async () => {
  await mergeKubeconfig(file, config("sandbox-dev"));
  await removeKubeconfig("dev", undefined, { KUBECONFIG: file });
  assert.equal(existsSync(file), false);
  const foreign = stringify({ apiVersion: "v1", kind: "Config", clusters: null, contexts: [], users: [] });
  writeFileSync(file, foreign);
  await removeKubeconfig("dev", file, {});
  assert.equal(readFileSync(file, "utf8"), foreign);
});

it("refuses to overwrite what is no kubeconfig", async () => {
  writeFileSync(path.join(dir, "list"), "- a\n");
  await assert.rejects(mergeKubeconfig(path.join(dir, "list"), config("x")), /is not a kubeconfig/);
});
