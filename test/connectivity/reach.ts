// SPDX-License-Identifier: Apache-2.0
// Runs inside the test's pods, from a ConfigMap: it may import nothing but Node's own modules and its neighbours.
import { execFile } from "node:child_process";
import net from "node:net";
import { dial } from "./dial.ts";

/** A connection to try: a handshake, bytes to an echo server over TCP or UDP, or an ICMP echo. */
export interface ReachRequest {
  protocol: "connect" | "tcp" | "udp" | "icmp";
  host: string;
  /** 0 for ICMP. */
  port: number;
}

/** Tries them all at once. Returns for each why it got no answer, or nothing. */
export async function reach(requests: readonly ReachRequest[], timeoutMs: number): Promise<string[]> {
  const tries = requests.map((request) =>
    reachOne(request, timeoutMs).then(
      () => "",
      (error: Error) => error.message || String(error),
    ),
  );
  return await Promise.all(tries);
}

async function reachOne({ protocol, host, port }: ReachRequest, timeoutMs: number): Promise<void> {
  if (protocol === "icmp") await ping(host, timeoutMs);
  else if (protocol === "connect") await connect(host, port, timeoutMs);
  else await dial({ protocol, host, port, size: 32, token: "", source: "", timeoutMs });
}

function connect(host: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port });
    const timer = setTimeout(() => socket.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    socket.on("connect", () => {
      resolve();
      socket.destroy();
    });
    socket.on("error", reject);
    socket.on("close", () => clearTimeout(timer));
  });
}

function ping(host: string, timeoutMs: number): Promise<void> {
  const words = [net.isIPv6(host) ? "-6" : "-4", "-c", "1", "-W", String(Math.ceil(timeoutMs / 1000)), host];
  return new Promise((resolve, reject) => {
    execFile("ping", words, (error) => (error === null ? resolve() : reject(new Error("no echo reply"))));
  });
}
