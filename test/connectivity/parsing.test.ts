// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDrops, restartsOf } from "./agent-facts.ts";
import { catalog } from "./catalog.ts";
import { statusError } from "./exec.ts";
import { listTests } from "./index.ts";
import { deploymentManifest, hostDaemonSetManifest, readyPodManifest } from "./manifests.ts";
import { defaultOptions, parseExternal, parseSelector, parseToleration } from "./options.ts";
import { isUsable } from "./placement.ts";
import { describePods } from "./pod-state.ts";
import { type Report, summarize } from "./report.ts";
import { errorLines } from "./scenarios/agent.ts";
import { clientAddressIn } from "./survey.ts";
import { formatReport } from "./table.ts";

test("scenario names are unique within their test, and every one says what it proves", () => {
  const names = catalog.flatMap((entry) =>
    entry.scenarios.map((scenario) => `${entry.name}/${scenario.name}`),
  );
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.length >= 25, `${names.length} scenarios`);
  for (const entry of catalog)
    for (const scenario of entry.scenarios) assert.notEqual(scenario.description, "");
  for (const name of names) assert.ok(listTests([]).includes(`  ${name}\n`), name);
});

test("addresses outside are sorted by family, and a range must hold one of them", () => {
  const { externalAddresses } = defaultOptions();
  assert.deepEqual(parseExternal([], []), externalAddresses);
  assert.deepEqual(parseExternal(["198.51.100.1"], ["2001:db8::5/128", "198.51.100.0/24"]), {
    ipv4: ["198.51.100.1"],
    ipv6: ["2001:db8::5"],
  });
  assert.throws(() => parseExternal([], ["203.0.113.0/24"]), /holds none of 192.0.2.10/);
  assert.throws(() => parseExternal(["world"], []), /not an IP address/);
});

test("taints and node selectors are read as kubectl writes them", () => {
  assert.deepEqual(parseToleration("a/b=c:NoSchedule"), {
    key: "a/b",
    operator: "Equal",
    value: "c",
    effect: "NoSchedule",
  });
  assert.deepEqual(parseToleration("key"), { key: "key", operator: "Exists" });
  assert.throws(() => parseToleration("key:Sometimes"), /not a taint/);
  assert.deepEqual(parseSelector("a=b,c="), { a: "b", c: "" });
  assert.throws(() => parseSelector("a"), /key=value/);
});

test("a node carries pods when it is ready, open, and its taints are tolerated", () => {
  const node = (spec: object, ready = "True") => ({
    metadata: { name: "n" },
    spec,
    status: { conditions: [{ type: "Ready", status: ready }] },
  });
  const tainted = node({ taints: [{ key: "role", value: "x", effect: "NoSchedule" }] });
  assert.equal(isUsable(node({}), []), true);
  assert.equal(isUsable(node({}, "False"), []), false);
  assert.equal(isUsable(node({ unschedulable: true }), []), false);
  assert.equal(isUsable(tainted, []), false);
  assert.equal(isUsable(tainted, [parseToleration("role=x")]), true);
  assert.equal(isUsable(tainted, [parseToleration("role=y")]), false);
});

test("drop counters are summed by reason, bytes and other counters left out", () => {
  const text = `# HELP shunt_drop_packets_total x
shunt_drop_packets_total{reason="NO_BACKEND",direction="in"} 2
shunt_drop_packets_total{direction="out",reason="NO_BACKEND"} 3
shunt_drop_bytes_total{reason="NO_BACKEND"} 999
shunt_forward_packets_total{reason="LOCAL"} 7`;
  assert.deepEqual([...parseDrops(text)], [["NO_BACKEND", 5]]);
});

test("agent logs: errors since the start and crashes count, older and lesser lines do not", () => {
  const lines = [
    '{"time":"2026-01-02T00:00:00.000Z","level":"error","message":"new"}',
    '{"time":"2026-01-01T00:00:00.000Z","level":"error","message":"old"}',
    '{"time":"2026-01-02T00:00:00.000Z","level":"warn","message":"warning"}',
    "Uncaught Error: boom",
    "{cut off",
  ];
  assert.deepEqual(errorLines(lines.join("\n"), "2026-01-01T12:00:00.000Z"), [lines[0], lines[3]]);
});

test("restarts are summed over a pod's containers", () => {
  const status = { containerStatuses: [{ restartCount: 1 }, { restartCount: 2 }] };
  assert.deepEqual([...restartsOf([{ metadata: { name: "a" }, status }])], [["a", 3]]);
});

test("the client's address is found in plain text and in JSON, and nowhere else", () => {
  assert.equal(clientAddressIn("172.30.0.3\n"), "172.30.0.3");
  assert.equal(clientAddressIn('{"address": "192.0.2.1", "client": "::ffff:10.0.0.1"}'), "10.0.0.1");
  assert.equal(clientAddressIn("<html>hello</html>"), undefined);
});

test("the end of an exec stream: success is no error, a failure keeps its reason", () => {
  assert.equal(statusError('{"status":"Success"}'), undefined);
  assert.match(statusError('{"status":"Failure","message":"exit code 3"}')!.message, /exit code 3/);
});

test("pods fit Pod Security baseline, those on the host's network take every taint", () => {
  const base = { name: "x", namespace: "n", image: "i", hostname: "h", tolerations: [] };
  for (const role of ["client", "echo"] as const) {
    const { spec } = deploymentManifest({ ...base, role }).spec.template;
    assert.equal(spec.hostNetwork, undefined);
    assert.equal(spec.containers[0].securityContext.allowPrivilegeEscalation, false);
    assert.equal(spec.containers[0].securityContext.capabilities?.add, undefined);
    assert.ok(spec.containers[0].ports.every((port: object) => !("hostPort" in port)));
  }
  const host = hostDaemonSetManifest("n", "i").spec.template.spec;
  assert.deepEqual([host.hostNetwork, host.tolerations], [true, [{ operator: "Exists" }]]);
  const ready = readyPodManifest({ ...base, role: "echo" });
  assert.ok(ready.spec.containers[0].readinessProbe.exec.command.includes("curl"));
});

test("a pod that does not run is described by what Kubernetes says of it", () => {
  const state = { waiting: { reason: "ErrImageNeverPull", message: "no such image" } };
  const pod = {
    metadata: { name: "p" },
    spec: { nodeName: "n1" },
    status: { phase: "Pending", containerStatuses: [{ state }] },
  };
  assert.equal(describePods([pod]), "\n  p on n1: Pending ErrImageNeverPull: no such image");
});

test("the table says what failed and with which log, why something was skipped, and how it ended", () => {
  const tests: Report["tests"] = [
    {
      name: "dns",
      description: "",
      outcome: "failed",
      durationMs: 1500,
      cases: [
        {
          scenario: "service",
          title: "service [ipv4]",
          family: "ipv4",
          outcome: "failed",
          durationMs: 1,
          actions: [{ name: "client", outcome: "failed", attempts: 2, durationMs: 1, error: "no answer" }],
          log: ["  [!] client: no answer"],
        },
        {
          scenario: "x",
          title: "x",
          outcome: "skipped",
          reason: "no world",
          durationMs: 0,
          actions: [],
          log: [],
        },
      ],
    },
  ];
  const cluster: Report["cluster"] = { server: "https://s", nodes: 1, families: ["ipv4"] };
  const text = formatReport({
    version: "1",
    startedAt: "",
    durationMs: 2000,
    cluster,
    summary: summarize(tests),
    problems: ["namespace stuck"],
    tests,
  });
  assert.match(text, /^dns +0 +1 +1 +1\.5 s +failed$/m);
  assert.match(text, /dns\/x: no world/);
  assert.match(text, /FAILED: dns\/service \[ipv4\]\n {2}client: no answer\n {2}Log:/);
  assert.match(text, /Problem: namespace stuck/);
  assert.match(text, /^FAILED: scenarios 1 failed, 1 skipped; 1 actions in 1 tests; ipv4; 2\.0 s$/m);
});

test("a test that was skipped as a whole is told by its name alone", () => {
  const skipped = (title: string, reason: string): Report["tests"][number]["cases"][number] => ({
    ...{ scenario: title, title, outcome: "skipped", reason, durationMs: 0, actions: [], log: [] },
  });
  const testOf = (name: string, ...cases: Report["tests"][number]["cases"]): Report["tests"][number] => ({
    ...{ name, description: "", outcome: "skipped", durationMs: 0, cases },
  });
  const tests = [
    testOf("policy", skipped("a", "off"), skipped("b", "off"), skipped("c", "off")),
    testOf("mixed", skipped("a", "off"), skipped("b", "off"), skipped("c", "alone")),
  ];
  const cluster: Report["cluster"] = { server: "", nodes: 1, families: ["ipv4"] };
  const rest = { version: "1", startedAt: "", durationMs: 0, problems: [] };
  const text = formatReport({ ...rest, cluster, summary: summarize(tests), tests });
  assert.match(text, /^Skipped:\n {2}policy \(all 3\), mixed\/a, mixed\/b: off\n {2}mixed\/c: alone$/m);
});
