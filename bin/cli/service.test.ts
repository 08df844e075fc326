// SPDX-License-Identifier: Apache-2.0
// The whole command line against an API server that knows what an installation looks like, and exec in its pods.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { type WebSocket, WebSocketServer } from "ws";
import type { ServiceView } from "../../agent/service-reader.ts";
import { connectKube } from "../../lib/kube-connect.ts";
import { sleep } from "../../lib/wait.ts";
import { askAgent, askNodes } from "./agents.ts";
import { kubeconfigFor, runCli } from "./testing-cli.ts";
import { backend, webView } from "./testing-service-view.ts";

/** What the agent of a pod answers; undefined is nothing ever, a text is what wget then says. */
let answers: Record<string, ServiceView[] | string | undefined> = {};
/** The nodes, each with the name of its agent's pod. */
let nodes: Record<string, string> = {};
let services: Record<string, object> = {};
let asked: string[] = [];
let folder: string;

const list = (items: object[]) => ({ metadata: {}, items });
function objectAt(path: string): object | undefined {
  const layers = { services: { mode: "on" }, podNetwork: { mode: "active" } };
  const conditions = [{ type: "Ready", status: "True" }];
  const objects: Record<string, () => object> = {
    "/api/v1/nodes": () => list(Object.keys(nodes).map((name) => ({ metadata: { name } }))),
    "/api/v1/namespaces/kube-system/pods": () =>
      list(
        Object.entries(nodes)
          .filter(([, pod]) => pod !== "")
          .map(([nodeName, name]) => ({
            metadata: { name },
            spec: { nodeName },
            status: { containerStatuses: [{ ready: true }] },
          })),
      ),
    "/apis/shunt.dev/v1alpha1/nodes": () =>
      list(Object.keys(nodes).map((name) => ({ metadata: { name }, status: { layers, conditions } }))),
    "/apis/apps/v1/namespaces/kube-system/daemonsets": () => list([]),
    "/apis/apps/v1/namespaces/kube-system/daemonsets/shunt-agent": () => ({}),
    "/api/v1/namespaces/kube-system/configmaps/shunt-install": () => ({
      data: { "record.json": JSON.stringify({ version: "0", values: {} }) },
    }),
    "/api/v1/namespaces/kube-system/configmaps/shunt-config": () => ({
      data: { "config.yaml": "healthPort: 4242\n" },
    }),
  };
  return objects[path]?.() ?? services[path];
}

const server = http.createServer((request, response) => {
  const found = objectAt(request.url!.split("?")[0]!);
  response.writeHead(found === undefined ? 404 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify(found ?? { kind: "Status", reason: "NotFound", message: "not found" }));
});
const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "v5.channel.k8s.io" });
server.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url!, "http://x");
  const pod = /\/pods\/([^/]+)\/exec/.exec(url.pathname)![1]!;
  asked.push(`${pod} ${url.searchParams.getAll("command").at(-1)}`);
  sockets.handleUpgrade(request, socket, head, (client) => {
    // As the real command does, it waits for a line.
    client.once("message", () => answer(client, pod));
  });
});
function answer(client: WebSocket, pod: string): void {
  const said = answers[pod];
  if (said === undefined) return;
  const send = (channel: number, text: string): void =>
    client.send(Buffer.concat([Buffer.from([channel]), Buffer.from(text)]));
  const isError = typeof said === "string";
  send(isError ? 2 : 1, isError ? said : JSON.stringify(said));
  send(3, JSON.stringify(isError ? { status: "Failure", message: "exit code 1" } : { status: "Success" }));
  client.close();
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "shunt-service-"));
  writeFileSync(join(folder, "config"), await kubeconfigFor(server));
});
after(() => {
  for (const client of sockets.clients) client.terminate();
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  nodes = { n1: "a1", n2: "a2" };
  answers = {
    a1: [webView({ backends: [backend("10.0.0.1", "cluster", 2)] })],
    a2: [webView({ backends: [backend("10.0.0.1", "cluster", 3)] })],
  };
  services = {};
  asked = [];
});

const shunt = (...words: string[]) => runCli(["service", ...words, "--kubeconfig", join(folder, "config")]);

test("a list sums up the nodes, which were asked for no more than is shown", async () => {
  const { code, out, err } = await shunt("list", "-n", "default");
  assert.deepEqual([code, err], [0, ""]);
  assert.match(out, /default +web +http:80 +TCP +10\.96\.0\.1:80 +1 +5 +0 +2\/2\n/);
  assert.deepEqual(asked.toSorted(), [
    "a1 http://127.0.0.1:4242/services?namespace=default",
    "a2 http://127.0.0.1:4242/services?namespace=default",
  ]);
});

test("what does not answer is told, and the rest is shown", async () => {
  nodes = { ...nodes, n3: "a3", n4: "" };
  answers.a3 = "wget: server returned error: HTTP/1.1 404 Not Found\n";
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
  asked = [];
  const one = await shunt("get", "default/web", "--node", "n2", "-o", "json");
  assert.deepEqual(asked, ["a2 http://127.0.0.1:4242/services?namespace=default&name=web"]);
  assert.deepEqual(
    JSON.parse(one.out).services.map((service: { node: string }) => service.node),
    ["n2"],
  );
});

test("a trace is of one node, and of one port when that is named", async () => {
  const { code, out } = await shunt("trace", "default/web", "--port", "http", "--from-node", "n2");
  assert.equal(code, 0);
  assert.match(out, /^On node n2 .*=> backend: .*10\.0\.0\.1:8080 {2}100\.0 %, 3 connections/s);
  assert.deepEqual(asked.length, 1);
  const wrong = await shunt("trace", "default/web", "--port", "81");
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /has no port 81\n {2}It has: http 80 TCP\./);
});

test("a Service that is in no map is explained", async () => {
  answers = { a1: [], a2: [] };
  const path = "/api/v1/namespaces/default/services/web";
  for (const [service, why] of [
    [undefined, /there is no such Service/],
    [{ metadata: {}, spec: { clusterIP: "None" } }, /headless/],
    [{ metadata: {}, spec: { type: "ExternalName" } }, /a name in DNS only/],
    [{ metadata: {}, spec: { clusterIP: "10.96.0.1" } }, /has not programmed it\n.*shunt status/],
  ] as const) {
    services = service === undefined ? {} : { [path]: service };
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
  assert.deepEqual(asked, []);
});

test("a node that never answers is given up, and eight are asked at once", async () => {
  const kube = await connectKube({ kubeconfig: join(folder, "config") });
  const { signal } = new AbortController();
  const ask = askAgent(kube, { healthPort: 4242, path: "/services", signal, timeoutMs: 150 });
  const agents = (names: string[]) =>
    names.map((name) => ({ name, agentPod: name, ready: true, services: "on", podNetwork: "active" }));
  answers.silent = undefined;
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
