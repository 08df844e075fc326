// SPDX-License-Identifier: Apache-2.0
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { Client, credentials } from "@grpc/grpc-js";
import { hostPort } from "../../../../lib/addresses.ts";
import { errorMessage } from "../../../../lib/errors.ts";
import { type ContainerSpec, resolvePort } from "./pod.ts";

/** What a probe's question brought to light. */
export interface Outcome {
  ok: boolean;
  message: string;
}

/** Asks by HTTP; any status from 200 to 399 is well. */
export async function httpCheck(
  action: any,
  container: ContainerSpec,
  podIp: string,
  timeoutMs: number,
): Promise<Outcome> {
  const port = resolvePort(container, action.port);
  if (port === undefined) return { ok: false, message: `no port named "${action.port}"` };
  const scheme = (action.scheme ?? "HTTP").toLowerCase();
  const path = (action.path ?? "/").replace(/^(?!\/)/, "/");
  const url = `${scheme}://${hostPort(action.host ?? podIp, port)}${path}`;
  const headers: Record<string, string> = {
    "user-agent": "kube-probe/1.30",
    accept: "*/*",
    connection: "close",
  };
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  return await new Promise((resolve) => {
    const client = scheme === "https" ? https : http;
    // The certificate's name and issuer are not the node's to judge.
    const options = { headers, agent: false as const, rejectUnauthorized: false, timeout: timeoutMs };
    const request = client.get(url, options, (response) => {
      const code = response.statusCode ?? 0;
      response.destroy();
      clearTimeout(timer);
      const ok = code >= 200 && code < 400;
      resolve({ ok, message: ok ? "" : `HTTP probe failed with statuscode: ${code}` });
    });
    const late = () =>
      request.destroy(
        new Error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
      );
    const timer = setTimeout(late, timeoutMs);
    request.on("error", (error) => {
      clearTimeout(timer);
      resolve({ ok: false, message: `Get "${url}": ${errorMessage(error)}` });
    });
  });
}

/** Asks whether a TCP connection opens. */
export async function tcpCheck(
  action: any,
  container: ContainerSpec,
  podIp: string,
  timeoutMs: number,
): Promise<Outcome> {
  const port = resolvePort(container, action.port);
  if (port === undefined) return { ok: false, message: `no port named "${action.port}"` };
  const host = action.host ?? podIp;
  return await new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const done = (ok: boolean, message: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ ok, message });
    };
    const timer = setTimeout(() => done(false, `dial tcp ${hostPort(host, port)}: i/o timeout`), timeoutMs);
    socket.on("connect", () => done(true, ""));
    socket.on("error", (error) => done(false, `dial tcp ${hostPort(host, port)}: ${errorMessage(error)}`));
  });
}

/** Asks by grpc.health.v1.Health/Check; 1 (SERVING) is well. */
export async function grpcCheck(action: any, podIp: string, timeoutMs: number): Promise<Outcome> {
  const client = new Client(hostPort(podIp, action.port), credentials.createInsecure());
  const service = Buffer.from(action.service ?? "");
  const request =
    service.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, service.length]), service]);
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(
        "/grpc.health.v1.Health/Check",
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => (bytes[0] === 0x08 ? (bytes[1] ?? 0) : 0),
        request,
        { deadline: Date.now() + timeoutMs },
        (error: Error | null, state?: number) => {
          if (error !== null)
            resolve({ ok: false, message: `error: health rpc failed: ${errorMessage(error)}` });
          else
            resolve({
              ok: state === 1,
              message: state === 1 ? "" : `service unhealthy (responded with "${state}")`,
            });
        },
      );
    });
  } finally {
    client.close();
  }
}
