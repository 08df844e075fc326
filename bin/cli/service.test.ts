// SPDX-License-Identifier: Apache-2.0
// The whole command line against an API server that knows what an installation looks like, and exec in its pods.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import type { ServiceView } from "../../agent/service-reader.ts";
import { connectKube } from "../../lib/kube-connect.ts";
import { sleep } from "../../lib/wait.ts";
import { askAgent, askNodes } from "./agents.ts";
import { PlayedCluster } from "./testing-agents.ts";
import { runCli } from "./testing-cli.ts";
import { backend, webView } from "./testing-service-view.ts";

const cluster = new PlayedCluster();
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "shunt-service-"));
  writeFileSync(join(folder, "config"), await cluster.start());
});
after(() => {
  cluster.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  cluster.nodes = { n1: "a1", n2: "a2" };
  cluster.answers = {
    a1: [webView({ backends: [backend("10.0.0.1", "cluster", 2)] })],
    a2: [webView({ backends: [backend("10.0.0.1", "cluster", 3)] })],
  };
  cluster.objects = {};
  cluster.asked = [];
});

const shunt = (...words: string[]) => runCli(["service", ...words, "--kubeconfig", join(folder, "config")]);

test("a list sums up the nodes, which were asked for no more than is shown", async () => {
  const { code, out, err } = await shunt("list", "-n", "default");
  assert.deepEqual([code, err], [0, ""]);
  assert.match(out, /default +web +http:80 +TCP +10\.96\.0\.1:80 +1 +5 +0 +2\/2\n/);
  assert.deepEqual(cluster.asked.toSorted(), [
    "a1 http://127.0.0.1:4242/services?namespace=default",
    "a2 http://127.0.0.1:4242/services?namespace=default",
  ]);
});

test("what does not answer is told, and the rest is shown", async () => {
  cluster.nodes = { ...cluster.nodes, n3: "a3", n4: "" };
  cluster.answers.a3 = "wget: server returned error: HTTP/1.1 404 Not Found\n";
  const { code, out, err } = await shunt("list", "-o", "json");
  assert.equal(code, 1);
  assert.match(err, /No answer from node n3: .*shunt upgrade/);
  assert.match(err, /No answer from node n4: it has no agent pod/);
  const { services: found, nodes: told } = JSON.parse(out);
  assert.deepEqual([found[0].connections, found[0].nodes], [5, ["n1", "n2"]]);
  assert.deepEqual(
    told.map(({ name, error }: { name: string; error?: string }) => [name, error !== undefined]),
    Object.entries({ n1: false, n2: false, n3: true, n4: true }),
  );
});

test("one Service is shown by node, of one node when that is named", async () => {
  const { code, out } = await shunt("get", "default/web");
  assert.equal(code, 0);
  assert.match(out, /n1 +10\.0\.0\.1:8080 +cluster +2\n +n2 +10\.0\.0\.1:8080 +cluster +3\n/);
  cluster.asked = [];
  const one = await shunt("get", "default/web", "--node", "n2", "-o", "json");
  assert.deepEqual(cluster.asked, ["a2 http://127.0.0.1:4242/services?namespace=default&name=web"]);
  assert.deepEqual(
    JSON.parse(one.out).services.map((service: { node: string }) => service.node),
    ["n2"],
  );
});

test("a trace is of one node, and of one port when that is named", async () => {
  const { code, out } = await shunt("trace", "default/web", "--port", "http", "--from-node", "n2");
  assert.equal(code, 0);
  assert.match(out, /^On node n2 .*=> backend: .*10\.0\.0\.1:8080 {2}100\.0 %, 3 connections/s);
  assert.deepEqual(cluster.asked.length, 1);
  const wrong = await shunt("trace", "default/web", "--port", "81");
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /has no port 81\n {2}It has: http 80 TCP\./);
});

test("a Service that is in no map is explained", async () => {
  cluster.answers = { a1: [], a2: [] };
  const path = "/api/v1/namespaces/default/services/web";
  for (const [service, why] of [
    [undefined, /there is no such Service/],
    [{ metadata: {}, spec: { clusterIP: "None" } }, /headless/],
    [{ metadata: {}, spec: { type: "ExternalName" } }, /a name in DNS only/],
    [{ metadata: {}, spec: { clusterIP: "10.96.0.1" } }, /has not programmed it\n.*shunt status/],
  ] as const) {
    cluster.objects = service === undefined ? {} : { [path]: service };
    const { code, err } = await shunt("get", "default/web");
    assert.equal(code, 1);
    assert.match(err, why);
  }
});

test("wrong words are refused before anything is asked", async () => {
  for (const words of [
    ["get", "web"],
    ["get", "default/web", "--node", "n9"],
    ["list", "-n", "default", "-A"],
    ["list", "-o", "table"],
    ["trace", "default/web", "--from-node", "n9"],
    ["trace"],
  ])
    assert.equal((await shunt(...words)).code, 2, words.join(" "));
  assert.deepEqual(cluster.asked, []);
});

test("a node that never answers is given up, and eight are asked at once", async () => {
  const kube = await connectKube({ kubeconfig: join(folder, "config") });
  const { signal } = new AbortController();
  const ask = askAgent(kube, { healthPort: 4242, path: "/services", signal, timeoutMs: 150 });
  const agents = (names: string[]) =>
    names.map((name) => ({ name, agentPod: name, ready: true, services: "on", podNetwork: "active" }));
  cluster.answers.silent = undefined;
  const taken: string[] = [];
  const result = await askNodes(agents(["silent", "a1"]), ask, ({ name }) => taken.push(name));
  assert.match(result[0]?.error ?? "", /Timed out after 0\.15 s: no answer from .*silent/);
  assert.deepEqual([taken, result[1]?.error], [["a1"], undefined]);
  kube.close();

  let busy = 0;
  let most = 0;
  const slow = async (): Promise<ServiceView[]> => {
    most = Math.max(most, ++busy);
    await sleep(5);
    busy--;
    return [];
  };
  const names = Array.from({ length: 30 }, (_, index) => `n${index}`);
  const all = await askNodes(agents(names), slow, () => undefined);
  assert.deepEqual([most, all.map(({ name }) => name)], [8, names]);
});
