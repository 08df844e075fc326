// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServiceView } from "../../agent/service-reader.ts";
import { formatDetails } from "./service-details.ts";
import { formatSummaries, ServiceTotals } from "./service-summary.ts";
import { backend, frontend, webView } from "./testing-service-view.ts";

function totalsOf(nodes: Record<string, ServiceView[]>, mode = "on"): ServiceTotals {
  const totals = new ServiceTotals();
  for (const [name, views] of Object.entries(nodes))
    totals.add({ name, services: mode, podNetwork: "active" }, views);
  return totals;
}
const one = (connections: number) => backend("10.0.0.1", "cluster", connections);
const two = (connections: number) => backend("10.0.0.2", "both", connections);
const nodePort = frontend("0.0.0.0", 30_080, "NodePort", ["externalTrafficPolicy Local"]);
const lines = (text: string): string[] => text.trimEnd().split("\n");

test("nodes that agree are summed up and not remarked upon", () => {
  const totals = totalsOf({
    n2: [webView({ backends: [one(1), two(2)], refused: 1 })],
    n1: [webView({ backends: [one(4), two(8)], refused: 2 })],
  });
  const [summary, ...rest] = totals.list();
  assert.equal(rest.length, 0);
  assert.deepEqual(summary?.nodes, ["n1", "n2"]);
  assert.deepEqual([summary.connections, summary.refused, summary.differences], [15, 3, []]);
  assert.deepEqual(
    summary.backends.map(({ connections }) => connections),
    [5, 10],
  );
});

test("lists of the policy Local are each node's own, and no difference", () => {
  const backends = (local: string) => [backend("10.0.0.1"), backend("10.0.0.2"), backend(local, "local")];
  const totals = totalsOf({
    n1: [webView({ backends: backends("10.0.0.8") })],
    n2: [webView({ backends: backends("10.0.0.9") })],
  });
  assert.deepEqual(totals.list()[0]?.differences, []);
});

test("differences name the nodes that are not like most, and those without it", () => {
  const usual = webView({ affinitySeconds: 60 });
  const totals = totalsOf({
    ...{ n1: [usual], n2: [usual], n3: [webView({ backends: [one(0), backend("10.0.0.9")] })] },
    n4: [],
    n5: [webView({ id: 0, frontends: [], backends: [], problems: ["no room for it"] })],
  });
  const [summary] = totals.list();
  assert.deepEqual(summary?.nodes, ["n1", "n2", "n3"]);
  assert.deepEqual(summary.differences, [
    "not programmed on n4, n5",
    "backends: n3 with 10.0.0.9:8080, without 10.0.0.2:8080",
    "affinity: n3 with 0 s, without 60 s",
  ]);
  assert.deepEqual(summary.problems, ["n5: no room for it"]);
});

test("a node whose layer is off is not waited for, nor is a pod's port on other nodes", () => {
  const totals = totalsOf({ n1: [webView()], n2: [webView({ kind: "Pod", name: "edge" })] });
  totals.add({ name: "n3", services: "off", podNetwork: "active" }, []);
  assert.equal(totals.expected, 2);
  assert.deepEqual(
    totals.list().map(({ kind, differences }) => [kind, differences]),
    [
      ["Pod", []],
      ["Service", ["not programmed on n2"]],
    ],
  );
});

test("the table tells of each Service in a line, and below what is wrong", () => {
  const totals = totalsOf({
    n1: [
      webView({ frontends: [frontend("10.96.0.1", 80, "ClusterIP"), nodePort], backends: [one(12), two(3)] }),
    ],
    n2: [],
  });
  assert.deepEqual(lines(formatSummaries(totals.list(), { wide: false, expected: 2 })), [
    "NAMESPACE  NAME  PORT     PROTOCOL  FRONTENDS        BACKENDS  CONNECTIONS  REFUSED  NODES",
    "default    web   http:80  TCP       10.96.0.1:80 +1         2           15        0  1/2 !",
    "",
    "Differences and problems (!):",
    "  default/web:http/TCP/ipv4",
    "    not programmed on n2",
  ]);
  const [, wide] = lines(formatSummaries(totals.list(), { wide: true, expected: 2 }));
  assert.match(wide!, /10\.96\.0\.1:80,\*:30080 .* ipv4 +- +0 +- +10\.0\.0\.1:8080, 10\.0\.0\.2:8080$/);
});

test("nothing and the unknown are told as such", () => {
  assert.equal(formatSummaries([], { wide: false, expected: 3 }), "No Services are in the maps.\n");
  const unknown = webView({ kind: "unknown", namespace: "", name: "", portName: "" });
  const totals = totalsOf({ n1: [unknown], n2: [unknown] });
  const [, row] = lines(formatSummaries(totals.list(), { wide: false, expected: 2 }));
  assert.match(row!, /^- +\(unknown\) +80 /);
});

test("the details show each backend on each node", () => {
  const parts = {
    frontends: [frontend("10.96.0.1", 80, "ClusterIP"), nodePort],
    ...{ affinitySeconds: 60, tableSize: 1000, sourceRanges: ["192.0.2.0/24"] },
  };
  const tabled = [backend("10.0.0.1", "both", 5, 750), backend("10.0.0.2", "cluster", 6, 250)];
  const onN1 = webView({ ...parts, backends: tabled, refused: 2 });
  const onN2 = webView({ ...parts, backends: [] });
  const totals = totalsOf({ n1: [onN1], n2: [onN2] });
  const text = formatDetails(totals.list(), [
    { node: "n1", ...onN1 },
    { node: "n2", ...onN2 },
  ]);
  assert.deepEqual(lines(text), [
    "default/web:http/TCP/ipv4",
    "  ClusterIP      10.96.0.1:80",
    "  NodePort       *:30080, externalTrafficPolicy Local",
    "  affinity       a client stays with its backend for 60 s",
    "  table          1000 entries",
    "  source ranges  192.0.2.0/24",
    "  connections    11 on 2 nodes, and 2 refused",
    "",
    "  NODE  BACKEND        POLICY    TABLE  CONNECTIONS",
    "  n1    10.0.0.1:8080  both     75.0 %            5",
    "  n1    10.0.0.2:8080  cluster  25.0 %            6",
    "  n1    none: refused                             2",
    "  n2    none: refused                             0",
    "",
    "  ! backends: n2 without 10.0.0.1:8080, 10.0.0.2:8080",
  ]);
});
