// SPDX-License-Identifier: Apache-2.0
import { readFile } from "node:fs/promises";
import type http from "node:http";
import https from "node:https";
import type { TLSSocket } from "node:tls";
import { errorMessage } from "../../../../lib/errors.ts";
import type { KubeletNode } from "./kubelet-node.ts";
import type { PodManager } from "./pod-manager.ts";
import { serveLogs } from "./server-logs.ts";
import { HttpError, type KubeletRequest } from "./server-request.ts";
import { serveMetrics, serveStats } from "./server-stats.ts";
import { serveUpgrade } from "./server-streams.ts";

/** Serves the kubelet's API by HTTPS to holders of a certificate of the cluster's administrators. */
export async function startServer(
  kubelet: KubeletNode,
  manager: PodManager,
): Promise<https.Server | http.Server> {
  const { tlsCertFile, tlsKeyFile, clientCaFile, port, address } = kubelet.options;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) {
    kubelet.log.warn("no --tls-cert-file: the kubelet's API is not served");
    return https.createServer();
  }
  const server = https.createServer({
    cert: await readFile(tlsCertFile),
    key: await readFile(tlsKeyFile),
    ...(clientCaFile === undefined ? {} : { ca: await readFile(clientCaFile) }),
    requestCert: clientCaFile !== undefined,
    rejectUnauthorized: false,
    // A stream of logs or of a terminal may be silent for as long as it likes.
    requestTimeout: 0,
    ALPNProtocols: ["http/1.1"],
  });
  server.on("request", (request, response) => {
    answer(kubelet, manager, request, response).catch((error) => {
      const status = error instanceof HttpError ? error.status : 500;
      if (!response.headersSent) response.writeHead(status, { "content-type": "text/plain" });
      response.end(errorMessage(error));
    });
  });
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    const problem = refusal(kubelet, request);
    const work =
      problem === undefined
        ? serveUpgrade(context(kubelet, manager, request), request, socket, head)
        : Promise.reject(problem);
    work.catch((error) => {
      const status = error instanceof HttpError ? error.status : 500;
      const text = errorMessage(error);
      socket.end(
        `HTTP/1.1 ${status} Error\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
      );
    });
  });
  server.on("tlsClientError", (_, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, resolve);
  });
  return server;
}

function context(kubelet: KubeletNode, manager: PodManager, request: http.IncomingMessage): KubeletRequest {
  const url = new URL(request.url ?? "/", "https://kubelet");
  const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
  return { kubelet, manager, parts, query: url.searchParams };
}

/** Only the cluster's administrators (the API server is one) may use the API. */
function refusal(kubelet: KubeletNode, request: http.IncomingMessage): HttpError | undefined {
  if (kubelet.options.clientCaFile === undefined) return undefined;
  const socket = request.socket as TLSSocket;
  if (!socket.authorized) return new HttpError(401, "Unauthorized");
  const groups = socket.getPeerCertificate().subject?.O ?? "";
  const isAdmin = [groups].flat().includes("system:masters");
  return isAdmin ? undefined : new HttpError(403, "Forbidden: the certificate is not of system:masters");
}

async function answer(
  kubelet: KubeletNode,
  manager: PodManager,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const call = context(kubelet, manager, request);
  const text = (body: string, type = "text/plain") => {
    response.writeHead(200, { "content-type": type });
    response.end(body);
  };
  if (call.parts[0] === "healthz") return text("ok");
  const problem = refusal(kubelet, request);
  if (problem !== undefined) throw problem;
  switch (call.parts[0]) {
    case "pods":
      return text(
        JSON.stringify({ kind: "PodList", apiVersion: "v1", metadata: {}, items: manager.pods() }),
        "application/json",
      );
    case "containerLogs":
      return await serveLogs(call, request, response);
    case "stats":
      return text(JSON.stringify(await serveStats(kubelet, manager)), "application/json");
    case "metrics":
      return text(await serveMetrics(kubelet, manager), "text/plain; version=0.0.4");
    case "exec":
    case "attach":
    case "portForward":
      throw new HttpError(400, "Upgrade request required");
    default:
      throw new HttpError(404, "404 page not found");
  }
}
