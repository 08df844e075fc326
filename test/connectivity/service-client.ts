// SPDX-License-Identifier: Apache-2.0
// Runs inside pods, on nodes and outside, beside dial.ts: asks echo servers, and prints an answer a line as JSON.

import dgram from "node:dgram";
import { lookup } from "node:dns/promises";
import net from "node:net";
import { dial } from "./dial.ts";

/** What to ask. */
export interface Question {
  kind: "dial" | "connect" | "lookup" | "hold" | "http";
  protocol?: "tcp" | "udp";
  host: string;
  port?: number;
  /** How often, one after another; default 1. */
  times?: number;
  /** Milliseconds: between two, and for which a connection is held. */
  pauseMs?: number;
  timeoutMs?: number;
}

/** What came of it. */
export interface Reply {
  /** The server that answered. */
  pod?: string;
  /** The client's address, as the server saw it. */
  peer?: string;
  /** Where the answer came from. */
  from?: string;
  addresses?: string[];
  /** HTTP status. */
  status?: number;
  error?: string;
  ms: number;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A connection on which something is said and answered ten times a second, for a time. */
function hold(host: string, port: number, ms: number): Promise<Partial<Reply>> {
  return new Promise((resolve, reject) => {
    let [sent, received, pod] = [0, 0, ""];
    const socket = net.connect({ host, port });
    const say = (): void => {
      if (sent - received > 20) socket.destroy(new Error(`${sent - received} messages without an answer`));
      else if (socket.write("said.\n")) sent++;
    };
    const timer = setInterval(say, 100);
    socket.on("data", (data) => {
      if (pod === "") pod = data.toString().split(" ")[2]?.split("\n")[0] ?? "";
      received++;
    });
    socket.on("error", reject);
    socket.on("close", () => {
      clearInterval(timer);
      reject(new Error("closed"));
    });
    setTimeout(() => {
      resolve({ pod });
      socket.destroy();
    }, ms);
  });
}

function connect(host: string, port: number, timeoutMs: number): Promise<Partial<Reply>> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, timeout: timeoutMs });
    socket.on("connect", () => {
      resolve({});
      socket.destroy();
    });
    socket.on("timeout", () => socket.destroy(new Error("no answer in time")));
    socket.on("error", reject);
  });
}

/** The same on a connected socket of UDP. */
function holdUdp(host: string, port: number, ms: number): Promise<Partial<Reply>> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket(net.isIPv6(host) ? "udp6" : "udp4");
    let pod = "";
    const say = (): void => socket.send("said", (error) => error && socket.emit("error", error));
    const end = (): void => {
      clearInterval(timer);
      socket.close();
    };
    let timer: NodeJS.Timeout | undefined;
    socket.on("message", (data) => (pod = data.toString().split(" ")[2]?.split("\n")[0] ?? ""));
    socket.once("error", (error) => {
      end();
      reject(error);
    });
    socket.connect(port, host, () => (timer = setInterval(say, 100)));
    setTimeout(() => {
      resolve({ pod });
      end();
    }, ms);
  });
}

/** By a connected socket: only such a one hears of ICMP errors. */
function connectUdp(host: string, port: number, timeoutMs: number): Promise<Partial<Reply>> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket(net.isIPv6(host) ? "udp6" : "udp4");
    const end = (error: Error | undefined): void => {
      clearTimeout(timer);
      clearInterval(again);
      socket.close();
      error === undefined ? resolve({}) : reject(error);
    };
    const send = (): void => socket.send("said", (error) => error && socket.emit("error", error));
    const again = setInterval(() => isConnected && send(), 100);
    const timer = setTimeout(() => end(new Error("no answer in time")), timeoutMs);
    let isConnected = false;
    socket.once("error", end);
    socket.on("message", () => end(undefined));
    socket.connect(port, host, (error?: Error) => {
      isConnected = error === undefined || error === null;
      isConnected ? send() : socket.emit("error", error);
    });
  });
}

async function ask({ kind, protocol = "tcp", host, port = 0, pauseMs = 0, timeoutMs = 2_000 }: Question) {
  if (kind === "lookup")
    return { addresses: (await lookup(host, { all: true })).map(({ address }) => address) };
  if (kind === "http") {
    const url = `http://${net.isIPv6(host) ? `[${host}]` : host}:${port}/`;
    return { status: (await fetch(url, { signal: AbortSignal.timeout(timeoutMs) })).status };
  }
  if (kind === "connect") return await (protocol === "udp" ? connectUdp : connect)(host, port, timeoutMs);
  if (kind === "hold") return await (protocol === "udp" ? holdUdp : hold)(host, port, pauseMs);
  return await dial({ protocol, host, port, size: 32, token: "t.", source: "", timeoutMs });
}

for (const question of JSON.parse(process.argv[2] ?? "[]") as Question[])
  for (let count = 0; count < (question.times ?? 1); count++) {
    if (count > 0) await sleep(question.pauseMs ?? 0);
    const started = Date.now();
    const answer = await ask(question).catch((error: any) => ({
      error: String(error.code ?? error.message),
    }));
    process.stdout.write(`${JSON.stringify({ ...answer, ms: Date.now() - started })}\n`);
  }
process.exit(0);
