// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { shunt } from "./cluster-under-test.ts";

const folder = mkdtempSync(join(tmpdir(), "shunt-faults-"));
after(() => rmSync(folder, { recursive: true }));

const unreachable = join(folder, "unreachable");
writeFileSync(
  unreachable,
  JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:9" } }],
    users: [{ name: "u", user: { token: "t" } }],
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    "current-context": "c",
  }),
);
const broken = join(folder, "values.yaml");
writeFileSync(broken, "routting: vxlan\n");

describe("bad input ends in a clear error with the remedy", () => {
  const cases: [string, string[], number, RegExp][] = [
    ["an unknown command", ["instal"], 2, /unknown command 'instal'.*Did you mean install/s],
    ["an unknown flag", ["install", "--forse"], 2, /unknown option '--forse'/],
    ["an unknown output format", ["status", "-o", "xml"], 2, /Unknown output format "xml".*json, yaml/s],
    ["a duration that is none", ["status", "--timeout", "soon"], 2, /"soon" is not a duration/],
    ["no kubeconfig", ["status", "--kubeconfig", join(folder, "none")], 2, /Cannot use kubeconfig .*none/],
    [
      "a context that is not there",
      ["status", "--kubeconfig", unreachable, "--context", "x"],
      2,
      /no context "x"/,
    ],
    [
      "an API server that does not answer",
      ["install", "--yes", "--kubeconfig", unreachable],
      1,
      /Cannot reach the API server at https:\/\/127.0.0.1:9.*Check that the server runs/s,
    ],
    [
      "a values file with a wrong key",
      ["install", "--kubeconfig", unreachable, "-f", broken],
      1,
      /Cannot reach|unknown key "routting"/,
    ],
    ["a cluster name that is no name", ["cluster", "create", "--name", "../x"], 2, /name/],
    ["an IP family that is none", ["cluster", "create", "--ip-family", "ipv5"], 2, /ipv5/],
    ["a negative number of workers", ["cluster", "create", "--workers", "-1"], 2, /workers/],
    [
      "a test expression that is none",
      ["connectivity", "test", "--kubeconfig", unreachable, "--test", "("],
      2,
      /\(/,
    ],
  ];
  for (const [what, args, exitCode, message] of cases)
    test(what, async () => {
      const result = await shunt(args, { allowFailure: true, timeoutMs: 60_000 });
      assert.match(result.stderr + result.stdout, message);
      assert.equal(result.exitCode, exitCode);
    });

  test("without root, what needs it says so in one line", async () => {
    const result = await shunt(["--version"], {});
    assert.match(result.stdout, /^\d+\.\d+\.\d+\n$/);
    const { run } = await import("../../lib/run.ts");
    const root = new URL("../../", import.meta.url).pathname;
    const args = [
      "--reuid",
      "65534",
      "--clear-groups",
      "sh",
      "-c",
      `cd ${root} && ./shunt cluster create --name x`,
    ];
    const refused = await run("setpriv", args, {
      allowFailure: true,
      timeoutMs: 30_000,
      env: { HOME: folder },
    });
    assert.notEqual(refused.exitCode, 0);
    assert.match(refused.stderr, /needs? root/);
    assert.equal(refused.stderr.trim().split("\n").length, 1);
  });

  test("every command has help with an example", async () => {
    const top = await shunt(["--help"]);
    const names = [...top.stdout.matchAll(/^ {2}([a-z]+)\b.* {2}/gm)]
      .map((match) => match[1]!)
      .filter((name) => name !== "help");
    assert.ok(names.length >= 8, top.stdout);
    for (const name of names) assert.match((await shunt([name, "--help"])).stdout, /Example|Commands:/, name);
  });

  test("completion offers commands and flags", async () => {
    const words = (await shunt(["completion", "words", "--", "cluster"])).stdout.split("\n");
    assert.ok(words.includes("create") && words.includes("delete"));
    const { run } = await import("../../lib/run.ts");
    const script = (await shunt(["completion", "bash"])).stdout;
    await run("bash", ["-n"], { input: script });
  });
});
