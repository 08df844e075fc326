// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { describe, test } from "node:test";
import {
  addressBytes,
  addressText,
  cidrAddress,
  cidrContains,
  cidrSize,
  cidrsOverlap,
  parseCidr,
} from "./addresses.ts";
import { formatCommand } from "./format-command.ts";
import { connectInCluster } from "./kube-connect.ts";
import { createLogger } from "./log.ts";
import { RunError, run } from "./run.ts";
import { progressStyle, runSteps, type Step } from "./steps.ts";
import { VERSION } from "./version.ts";
import { waitFor, withDeadline } from "./wait.ts";

class Sink extends Writable {
  text = "";
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

describe("addresses", () => {
  test("IPv4 is mapped, IPv6 is canonical, both survive a round trip", () => {
    for (const text of ["10.244.1.7", "0.0.0.0", "fd10:244::1", "::", "2001:db8::ff00:42:8329"])
      assert.equal(addressText(addressBytes(text)), text);
    assert.deepEqual([...addressBytes("1.2.3.4").subarray(10)], [255, 255, 1, 2, 3, 4]);
  });
  test("what is not an address is refused", () => {
    for (const text of ["", "1.2.3", "256.1.1.1", "10.0.0.1/8", "0x7f.1", "fd00::g", "01.2.3.4 "])
      assert.throws(() => addressBytes(text), /not an IP address/, text);
    for (const text of [
      "10.0.0.0",
      "10.0.0.0/33",
      "fd00::/129",
      "10.0.0.0/-1",
      "10.0.0.0/8/8",
      "10.0.0.0/ 8",
    ])
      assert.throws(() => parseCidr(text), /is not/, text);
  });
  test("CIDRs clear host bits, contain, overlap, and count", () => {
    assert.equal(parseCidr("10.244.1.9/24").text, "10.244.1.0/24");
    assert.equal(parseCidr("fd10:244:0:1::5/64").text, "fd10:244:0:1::/64");
    assert.ok(cidrContains(parseCidr("10.244.0.0/16"), addressBytes("10.244.255.255")));
    assert.ok(!cidrContains(parseCidr("10.244.0.0/16"), addressBytes("10.245.0.0")));
    assert.ok(!cidrContains(parseCidr("::/0"), addressBytes("10.0.0.1")));
    assert.ok(cidrsOverlap(parseCidr("10.0.0.0/8"), parseCidr("10.96.0.0/12")));
    assert.ok(!cidrsOverlap(parseCidr("10.96.0.0/12"), parseCidr("10.244.0.0/16")));
    assert.equal(addressText(cidrAddress(parseCidr("10.244.1.0/24"), 256)), "10.244.2.0");
    assert.equal(addressText(cidrAddress(parseCidr("fd00::/64"), 0x1_0000_0000n)), "fd00::1:0:0");
    assert.equal(cidrSize(parseCidr("10.0.0.0/24")), 256n);
  });
});

describe("run", () => {
  test("returns output and exit code; a failure names the command and what it printed", async () => {
    assert.equal((await run("sh", ["-c", "cat; echo err >&2"], { input: "in" })).stdout, "in");
    const failure = await run("sh", ["-c", "echo broken >&2; exit 3"]).catch((error) => error);
    assert.ok(failure instanceof RunError);
    assert.match(failure.message, /exit code 3.*sh -c 'echo broken >&2; exit 3'\nbroken/s);
    assert.equal((await run("false", [], { allowFailure: true })).exitCode, 1);
  });
  test("a program that is not there and one that does not end are errors", async () => {
    await assert.rejects(run("/no/such/program", []), /Command failed/);
    await assert.rejects(run("sleep", ["30"], { timeoutMs: 100 }), /no end after 100 ms/);
  });
  test("a command can be pasted into a shell", () => {
    assert.equal(formatCommand("echo", ["a b", "it's", "--x=1"]), `echo 'a b' 'it'\\''s' --x=1`);
  });
});

describe("wait", () => {
  test("waitFor returns the first value, and names the last error when the deadline passes", async () => {
    let calls = 0;
    assert.equal(
      await waitFor("three", () => (++calls === 3 ? "x" : undefined), { timeoutMs: 5000, intervalMs: 1 }),
      "x",
    );
    const never = waitFor("a thing", () => Promise.reject(new Error("not yet")), {
      timeoutMs: 20,
      intervalMs: 5,
    });
    await assert.rejects(never, /Timed out after 0.02 s waiting for a thing: not yet/);
  });
  test("waitFor stops when cancelled; withDeadline gives up", async () => {
    const abort = new AbortController();
    const waiting = waitFor("nothing", () => undefined, { timeoutMs: 60_000, signal: abort.signal });
    abort.abort();
    await assert.rejects(waiting, /abort/i);
    await assert.rejects(withDeadline("stuck", new Promise(() => undefined), 10), /Timed out.*stuck/);
  });
});

describe("steps", () => {
  const steps: Step<string[]>[] = [
    {
      name: "one",
      title: "Do one",
      run: async (context) => {
        context.push("one");
        return "well";
      },
    },
    {
      name: "two",
      title: "Do two",
      skip: () => "no need",
      run: async () => assert.fail("skipped steps do not run"),
    },
    { name: "three", title: "Do three", run: () => Promise.reject(new Error("broke")) },
    { name: "four", title: "Do four", run: async () => assert.fail("nothing runs after a failure") },
  ];
  test("run in order, skip with a reason, stop at the first failure", async () => {
    const out = new Sink();
    const done: string[] = [];
    await assert.rejects(runSteps(steps, done, { style: "lines", out, now: () => 0 }), /broke/);
    assert.deepEqual(done, ["one"]);
    assert.match(out.text, /\[1\/4\] Do one - done \(0.0 s\): well\n\[2\/4\] Do two - skipped: no need\n/);
    assert.match(out.text, /\[3\/4\] Do three - FAILED/);
  });
  test("JSON events are one object a line", async () => {
    const out = new Sink();
    await assert.rejects(runSteps(steps, [], { style: "json", out }));
    const events = out.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      events.map(({ step, event }) => `${step} ${event}`),
      ["one started", "one done", "two skipped", "three started", "three failed"],
    );
  });
  test("plain lines in CI and where no terminal is", () => {
    assert.equal(progressStyle({ isTTY: true }, {}), "live");
    assert.equal(progressStyle({ isTTY: true }, { CI: "true" }), "lines");
    assert.equal(progressStyle({}, {}), "lines");
    assert.equal(progressStyle({ isTTY: true }, {}, "json"), "json");
  });
});

describe("connecting inside a cluster", () => {
  const env = { KUBERNETES_SERVICE_HOST: "fd10:96::1", KUBERNETES_SERVICE_PORT: "443" };

  test("takes the pod's service account, and its token anew when it was replaced", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "shunt-account-"));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "ca.crt"), "a certificate");
    writeFileSync(join(folder, "token"), "first\n");
    const client = connectInCluster(env, folder);
    const first = await client.connectionOptions();
    assert.equal(first.base.href, "https://[fd10:96::1]/");
    assert.equal(first.ca, "a certificate");
    assert.deepEqual(first.headers, { authorization: "Bearer first" });
    writeFileSync(join(folder, "token"), "second");
    client.close();
    assert.deepEqual((await client.connectionOptions()).headers, { authorization: "Bearer second" });
  });

  test("says what is missing", () => {
    assert.throws(() => connectInCluster({}), /KUBERNETES_SERVICE_HOST/);
    assert.throws(() => connectInCluster(env, "/nonexistent"), /Cannot read the service account/);
  });
});

test("the logger writes one JSON object a line, from its level up", () => {
  let text = "";
  const log = createLogger((line) => {
    text += line;
  }, "warn").with({ node: "n1" });
  log.info("quiet");
  log.error("loud", { error: new Error("why"), big: 5n });
  const record = JSON.parse(text);
  assert.equal(record.message, "loud");
  assert.equal(record.node, "n1");
  assert.match(record.error, /Error: why/);
  assert.equal(record.big, "5");
});

test("the version is package.json's", () => {
  assert.equal(
    VERSION,
    JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version,
  );
});
