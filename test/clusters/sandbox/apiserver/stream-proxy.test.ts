// SPDX-License-Identifier: Apache-2.0
// Requests that a kubelet answers, against a small stand-in for it.
import assert from "node:assert/strict";
import { once } from "node:events";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import type { TLSSocket } from "node:tls";
import type { KubeClient } from "../../../../lib/kube.ts";
import { connectKube } from "../../../../lib/kube-connect.ts";
import type { ApiError } from "../../../../lib/kube-errors.ts";
import { createAuthority } from "../pki.ts";
import { startTestApiServer, type TestApiServer } from "./testing.ts";

const PODS = "/api/v1/namespaces/default/pods";
let server: TestApiServer;
let kube: KubeClient;
let kubelet: https.Server;
const asked: string[] = [];

before(async () => {
  const authority = await createAuthority("kubelets");
  const serving = await authority.issue({ commonName: "node", names: ["127.0.0.1"] });
  const client = await authority.issue({ commonName: "apiserver-kubelet-client" });
  const tls = { cert: serving.cert, key: serving.key, ca: authority.cert, requestCert: true };
  kubelet = https.createServer({ ...tls, rejectUnauthorized: true }, (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (request.url?.includes("previous=true")) {
      response.writeHead(400, { "content-type": "text/plain" });
      response.end('previous terminated container "c" in pod "p" not found');
      return;
    }
    response.end(`logs for ${(request.socket as TLSSocket).getPeerCertificate().subject.CN}\n`);
  });
  kubelet.on("upgrade", (request, socket) => {
    asked.push(`${request.method} ${request.url} ${request.headers["x-stream-protocol-version"]}`);
    if (request.headers.upgrade === "websocket") {
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nno ws\r\n");
      return;
    }
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
    socket.pipe(socket);
  });
  kubelet.listen(0, "127.0.0.1");
  await once(kubelet, "listening");
  server = await startTestApiServer({
    kubeletCert: client.cert,
    kubeletKey: client.key,
    kubeletCa: authority.cert,
  });
  kube = await connectKube({ kubeconfig: server.kubeconfig });
  const { port } = kubelet.address() as AddressInfo;
  await kube.create("/api/v1/nodes", { metadata: { name: "n1" } });
  await kube.patch("/api/v1/nodes/n1/status", "merge", {
    status: {
      addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
    },
  });
  await kube.create("/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "default" } });
  await kube.create(PODS, {
    metadata: { name: "p" },
    spec: { nodeName: "n1", containers: [{ name: "c", image: "i" }] },
  });
});

after(async () => {
  kube?.close();
  kubelet.closeAllConnections();
  kubelet.close();
  await server?.stop();
});

async function upgrade(path: string, protocol: string): Promise<{ status: number; echoed: string }> {
  const { base, ...options } = await kube.connectionOptions();
  const headers = {
    connection: "Upgrade",
    upgrade: protocol,
    "x-stream-protocol-version": "v4.channel.k8s.io",
  };
  const request = https.request(new URL(path, base), { ...options, method: "POST", headers });
  request.end();
  return await new Promise((resolve, reject) => {
    request.setTimeout(10_000, () => request.destroy(new Error("no answer")));
    request.on("error", reject);
    request.on("response", (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, echoed: "" });
    });
    request.on("upgrade", (response, socket) => {
      socket.write("hello");
      socket.once("data", (data: Buffer) => {
        socket.destroy();
        resolve({ status: response.statusCode ?? 0, echoed: data.toString() });
      });
    });
  });
}

test("logs come from the kubelet, asked as the API server", async () => {
  const text = await kube.get<string>(`${PODS}/p/log`, { query: { tailLines: 5, follow: true } });
  assert.equal(text, "logs for apiserver-kubelet-client\n");
  assert.equal(asked.pop(), "GET /containerLogs/default/p/c?tailLines=5&follow=true");
});

test("a kubelet that has no log is quoted in a Status", async () => {
  await assert.rejects(kube.get(`${PODS}/p/log`, { query: { previous: true } }), (error: ApiError) => {
    assert.equal(error.status, 400);
    assert.equal(error.body.kind, "Status");
    assert.equal(error.reason, "BadRequest");
    assert.equal(error.body.message, 'previous terminated container "c" in pod "p" not found');
    return true;
  });
  asked.pop();
});

test("an exec becomes a stream in both directions", async () => {
  const result = await upgrade(
    `${PODS}/p/exec?command=sh&command=-c&stdin=true&stdout=true&tty=false`,
    "SPDY/3.1",
  );
  assert.deepEqual(result, { status: 101, echoed: "hello" });
  assert.equal(
    asked.pop(),
    "POST /exec/default/p/c?input=1&output=1&command=sh&command=-c v4.channel.k8s.io",
  );
});

test("a refused upgrade reaches the client, who falls back", async () => {
  const result = await upgrade(`${PODS}/p/portforward?ports=80`, "websocket");
  assert.equal(result.status, 403);
  assert.equal(asked.pop(), "POST /portForward/default/p?port=80 v4.channel.k8s.io");
});

test("a node's paths are proxied", async () => {
  await kube.get<string>("/api/v1/nodes/n1/proxy/stats/summary", { query: { only: "cpu" } });
  assert.equal(asked.pop(), "GET /stats/summary?only=cpu");
});

test("nobody streams without permission", async () => {
  const config = await server.kubeconfigFor("nobody");
  const nobody = await connectKube({ kubeconfig: config });
  await assert.rejects(nobody.get(`${PODS}/p/log`), /cannot get resource "pods\/log"/);
  nobody.close();
});
