// SPDX-License-Identifier: Apache-2.0
import dgram from "node:dgram";
import http from "node:http";
import * as dns from "dns-packet";
import { errorMessage } from "../../lib/errors.ts";
import { sleep } from "../../lib/wait.ts";

/** Who answered. */
export interface Answer {
  node: string;
  uid: string;
  leaving: boolean;
}

export interface Target {
  address: string;
  port: number;
}

const patienceTicks = 10;
const tickMs = 1_000;
/** After this a request counts as lost. */
const requestTimeoutMs = patienceTicks * tickMs;

/** What a reader can look for in captures and connection tables. */
const overdue = (from: { address?: string; port?: number } | undefined, to: Target): Error =>
  new Error(
    `no answer within ${requestTimeoutMs} ms from ${from?.address ?? "?"} ${from?.port ?? "?"} to ${to.address} ${to.port}`,
  );

/**
 * Local ports that requests to Services have spoiled before these were there. Whoever asks before kube-proxy has
 * written a Service's rules is tracked as not translated; that is kept for two minutes (nf_conntrack_tcp_timeout_syn_sent,
 * which further SYNs do not renew), and whatever is asked from the same port until then goes nowhere too.
 */
export class SpoiledPorts {
  readonly #ports = new Set<string>();

  add(localPort: number | undefined, { address, port }: Target): void {
    this.#ports.add(`${localPort} ${address} ${port}`);
  }

  has(localPort: number | undefined, { address, port }: Target): boolean {
    return this.#ports.has(`${localPort} ${address} ${port}`);
  }
}

const maxSpoiledTries = 50;

/**
 * One HTTP request over a connection of its own. Rejects when it is not answered in time.
 *
 * @param spoiled ports to ask from no more
 * @param isTrial true: when it fails, its port is spoiled
 */
export async function askHttp(target: Target, spoiled: SpoiledPorts, isTrial: boolean): Promise<Answer> {
  for (let tries = 1; ; tries++) {
    const request = askHttpOnce(target);
    // net.connect() connects to an address in the tick after, queued before this one: the kernel has chosen a port.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    const localPort = request.localPort();
    if (tries < maxSpoiledTries && spoiled.has(localPort, target)) {
      request.answer.catch(() => undefined);
      request.abandon();
      continue;
    }
    try {
      return await request.answer;
    } catch (error) {
      if (isTrial) spoiled.add(localPort, target);
      throw error;
    }
  }
}

function askHttpOnce(target: Target) {
  const request = http.request({
    host: target.address,
    port: target.port,
    path: "/",
    agent: false,
    headers: { connection: "close" },
  });
  const answer = new Promise<Answer>((resolve, reject) => {
    const timer = whenOverdue(() => {
      const { socket } = request;
      request.destroy(overdue({ address: socket?.localAddress, port: socket?.localPort }, target));
    });
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        clearInterval(timer);
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")) as Answer);
        } catch (error) {
          reject(new Error(`not an answer: ${errorMessage(error)}`));
        }
      });
    });
    request.on("error", (error) => {
      clearInterval(timer);
      reject(error);
    });
    request.end();
  });
  return {
    answer,
    localPort: () => request.socket?.localPort,
    abandon: () => request.destroy(new Error("abandoned")),
  };
}

/**
 * Calls back when a request is overdue. Time in which this process did not run counts as one tick at most: a
 * machine that stalls is no network that loses.
 */
function whenOverdue(then: () => void): NodeJS.Timeout {
  let ticks = 0;
  const timer = setInterval(() => {
    if (++ticks < patienceTicks) return;
    clearInterval(timer);
    then();
  }, tickMs);
  return timer;
}

interface Waiting {
  resolve(message: Buffer): void;
  timer: NodeJS.Timeout;
}

/** A UDP socket that matches answers to requests by a key that both carry. */
class UdpClient {
  readonly #socket: dgram.Socket;
  readonly #waiting = new Map<string, Waiting>();
  readonly #keyOf: (message: Buffer) => string;
  #closing = false;

  constructor(address: string, keyOf: (message: Buffer) => string) {
    this.#keyOf = keyOf;
    this.#socket = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
    // Whoever waits learns by its deadline; an ICMP error must not end the process.
    this.#socket.on("error", () => {});
    this.#socket.on("message", (message) => this.#take(message));
  }

  /** @param againMs asks a second time when there is no answer after so many milliseconds */
  ask(key: string, message: Buffer, target: Target, againMs?: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (againMs !== undefined)
        setTimeout(() => {
          if (this.#waiting.has(key)) this.#socket.send(message, target.port, target.address, () => {});
        }, againMs).unref();
      const timer = whenOverdue(() => {
        if (!this.#waiting.delete(key)) return;
        const error = overdue(this.#socket.address(), target);
        this.#closeIfIdle();
        reject(error);
      });
      this.#waiting.set(key, { resolve, timer });
      this.#socket.send(message, target.port, target.address, (error) => {
        if (error === null || !this.#waiting.delete(key)) return;
        clearInterval(timer);
        this.#closeIfIdle();
        reject(error);
      });
    });
  }

  /** Closes when nobody waits any more. */
  close(): void {
    this.#closing = true;
    this.#closeIfIdle();
  }

  #closeIfIdle(): void {
    if (!this.#closing || this.#waiting.size > 0) return;
    this.#closing = false;
    this.#socket.close();
  }

  #take(message: Buffer): void {
    const key = this.#keyOf(message);
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    this.#waiting.delete(key);
    clearInterval(waiting.timer);
    waiting.resolve(message);
    this.#closeIfIdle();
  }
}

const echoKey = (message: Buffer): string => {
  try {
    return String(JSON.parse(message.toString("utf8")).echo);
  } catch {
    return "";
  }
};

/** Sends UDP requests to one place from one port, for as long as whoever answers stays. */
export class UdpAsker {
  readonly #target: Target;
  readonly #againMs: number | undefined;
  #client: UdpClient | undefined;
  #uses = 0;

  /** @param againMs asks a second time when there is no answer after so many milliseconds */
  constructor(target: Target, againMs?: number) {
    this.#target = target;
    this.#againMs = againMs;
  }

  async ask(key: string): Promise<Answer> {
    // A new port now and then: flows that begin are probed as well as those that go on.
    if (this.#uses++ % 50 === 49) this.close();
    this.#client ??= new UdpClient(this.#target.address, echoKey);
    const client = this.#client;
    const message = await client.ask(key, Buffer.from(key), this.#target, this.#againMs);
    const answer = JSON.parse(message.toString("utf8")) as Answer;
    if (answer.leaving && client === this.#client) this.close();
    return answer;
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }
}

/** What resolv.conf(5) calls `timeout`, by default. */
const dnsTimeoutMs = 5_000;

/**
 * Looks a name up as stub resolvers do with the defaults of resolv.conf(5), and returns the addresses: a query that is
 * not answered within 5 s is sent a second time, from another port (RFC 5452, section 9.2), and the lookup counts as
 * slow. Until kube-proxy forgets a DNS server that has gone, a port that is drawn again within 30 s still leads there.
 */
export async function askDns(server: Target, name: string, type: "A" | "AAAA"): Promise<string[]> {
  const answered = new AbortController();
  const first = askDnsOnce(server, name, type);
  const second = sleep(dnsTimeoutMs, answered.signal).then(() => askDnsOnce(server, name, type));
  try {
    return await Promise.race([first, second]);
  } finally {
    answered.abort();
  }
}

async function askDnsOnce(server: Target, name: string, type: "A" | "AAAA"): Promise<string[]> {
  const id = Math.floor(Math.random() * 65_536);
  const query = dns.encode({
    type: "query",
    id,
    flags: dns.RECURSION_DESIRED,
    questions: [{ type, name }],
  });
  const client = new UdpClient(server.address, (message) =>
    message.length < 2 ? "" : String(message.readUInt16BE(0)),
  );
  try {
    const answer = dns.decode(await client.ask(String(id), Buffer.from(query), server));
    const code = (answer as { rcode?: string }).rcode ?? "NOERROR";
    if (code !== "NOERROR") throw new Error(`${name}: ${code}`);
    const addresses = (answer.answers ?? []).flatMap((record) =>
      record.type === type ? [String((record as { data: unknown }).data)] : [],
    );
    if (addresses.length === 0) throw new Error(`${name}: no addresses`);
    return addresses;
  } finally {
    client.close();
  }
}
