// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { KubeConfig } from "@kubernetes/client-node";
import { WebSocketServer } from "ws";
import { KubeClient } from "../../lib/kube.ts";
import { PodShells } from "./shell.ts";

// An API server that knows nothing but exec, and runs a real shell for it.
const server = http.createServer((_request, response) => {
  response.writeHead(404, { "content-type": "application/json" });
  response.end(
    JSON.stringify({ kind: "Status", status: "Failure", reason: "NotFound", message: "no such pod" }),
  );
});
const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "v4.channel.k8s.io" });
let opened = 0;
let kube: KubeClient;
const never = new AbortController().signal;

server.on("upgrade", (request, socket, head) => {
  if (!request.url!.includes("/pods/here/")) {
    const body = JSON.stringify({ kind: "Status", reason: "NotFound", message: "pods not found" });
    socket.end(
      `HTTP/1.1 404 Not Found\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
    return;
  }
  sockets.handleUpgrade(request, socket, head, (client) => {
    opened++;
    const command = new URL(request.url!, "http://x").searchParams.getAll("command");
    const child = spawn(command[0]!, command.slice(1), { detached: true });
    const send = (channel: number, data: Buffer): void =>
      client.send(Buffer.concat([Buffer.from([channel]), data]));
    child.stdout.on("data", (data) => send(1, data));
    child.stderr.on("data", (data) => send(2, data));
    child.on("close", (code) => {
      const status = code === 0 ? { status: "Success" } : { status: "Failure", message: `exit ${code}` };
      send(3, Buffer.from(JSON.stringify(status)));
      client.close();
    });
    client.on("message", (data: Buffer) => child.stdin.write(data.subarray(1)));
    client.on("close", () => child.exitCode ?? child.signalCode ?? process.kill(-child.pid!, "SIGKILL"));
  });
});

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const config = new KubeConfig();
  config.loadFromClusterAndUser(
    { name: "t", skipTLSVerify: true, server: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
    { name: "t" },
  );
  kube = new KubeClient(config);
});

after(() => {
  for (const client of sockets.clients) client.terminate();
  server.close();
  server.closeAllConnections();
});

const shells = (pod = "here"): PodShells => new PodShells(kube, { namespace: "n", pod, container: "c" }, 2);

test("a command's streams and exit code come back, and the shell is used again", async () => {
  const pod = shells();
  const before = opened;
  const first = await pod.run("printf 'a\\nb'; echo err >&2; exit_code() { return 7; }; exit_code", {
    timeoutMs: 5_000,
    signal: never,
  });
  assert.deepEqual(first, { exitCode: 7, stdout: "a\nb", stderr: "err\n" });
  const second = await pod.run("true", { timeoutMs: 5_000, signal: never });
  assert.deepEqual(second, { exitCode: 0, stdout: "", stderr: "" });
  assert.equal(opened - before, 1);
  pod.close();
});

test("commands run side by side in a bounded number of shells, and none sees another's output", async () => {
  const pod = shells();
  const before = opened;
  const results = await Promise.all(
    Array.from({ length: 12 }, (_, index) => pod.run(`echo ${index}`, { timeoutMs: 10_000, signal: never })),
  );
  assert.deepEqual(
    results.map((result) => result.stdout.trim()),
    Array.from({ length: 12 }, (_, index) => String(index)),
  );
  assert.equal(opened - before, 2);
  pod.close();
});

test("a command that does not end fails at its deadline, and the next one gets a new shell", async () => {
  const pod = shells();
  await assert.rejects(pod.run("sleep 60", { timeoutMs: 200, signal: never }), /no end after 0.2 s/);
  assert.equal((await pod.run("echo ok", { timeoutMs: 5_000, signal: never })).stdout.trim(), "ok");
  pod.close();
});

test("an aborted signal ends a command at once with the signal's reason", async () => {
  const pod = shells();
  const abort = new AbortController();
  const running = pod.run("sleep 60", { timeoutMs: 60_000, signal: abort.signal });
  setTimeout(() => abort.abort(new Error("stop")), 50);
  await assert.rejects(running, /stop/);
  pod.close();
});

test("a shell that dies under a command says so", async () => {
  const pod = shells();
  await assert.rejects(
    pod.run("kill -9 $$", { timeoutMs: 5_000, signal: never }),
    /shell in the pod is gone/,
  );
  pod.close();
});

test("a refused exec carries the server's answer", async () => {
  await assert.rejects(shells("gone").run("true", { timeoutMs: 5_000, signal: never }), /404 pods not found/);
});
