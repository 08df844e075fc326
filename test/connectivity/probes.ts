// SPDX-License-Identifier: Apache-2.0
import { type Family, hostPort } from "../../lib/addresses.ts";
import { ShuntError } from "../../lib/errors.ts";
import { formatCommand } from "../../lib/format-command.ts";
import type { Action } from "./action.ts";
import type { DialAnswer } from "./dial.ts";
import type { DnsAnswer } from "./dns-query.ts";
import type { PodEndpoint } from "./endpoint.ts";
import type { CommandResult, CommandRunner } from "./shell.ts";

/** Where a probe starts: a pod of the test, or the machine that stands for the outside. */
export interface ProbeSource {
  readonly name: string;
  readonly runner: CommandRunner;
}

/** What the echo server says of an HTTP request. */
export interface EchoAnswer {
  pod: string;
  node: string;
  /** Source address of the request, as the server saw it. */
  client: string;
  /** Address to which the request came, as the server saw it. */
  local: string;
  bytes: number;
  headers: Record<string, string>;
}

export interface HttpResult {
  /** HTTP status; 0 when there was no answer. */
  status: number;
  body: string;
  /** curl's exit code: 0 done, 6 name not resolved, 7 not connected, 28 timed out. */
  curlExit: number;
  error: string;
  /** Milliseconds until curl ended. */
  tookMs: number;
  /** Bytes of the body. */
  bytes: number;
  /** Address that it came from, as its own socket says. */
  local: string;
}

export interface HttpOptions {
  family?: Family;
  /** Seconds until a connection must stand. */
  connectTimeoutS?: number;
  /** Shell text before and words after curl's own, for uploads and for throwing a body away. */
  pipeFrom?: string;
  args?: readonly string[];
}

/** The probes that scenarios are made of; each logs what it ran and what came back. */
export class Probes {
  readonly #connectTimeoutMs: number;
  readonly #requestTimeoutMs: number;

  constructor(options: { connectTimeoutMs: number; requestTimeoutMs: number }) {
    this.#connectTimeoutMs = options.connectTimeoutMs;
    this.#requestTimeoutMs = options.requestTimeoutMs;
  }

  /** Runs a shell command at the source. */
  async run(action: Action, source: ProbeSource, command: string): Promise<CommandResult> {
    const result = await source.runner.run(command, {
      timeoutMs: this.#requestTimeoutMs + 5_000,
      signal: action.signal,
    });
    const output = `${result.stdout}${result.stderr}`.trim().slice(0, 2_000);
    action.log(`${command}\n      exit ${result.exitCode}: ${output.replaceAll("\n", "\n      ")}`);
    return result;
  }

  /** One HTTP request by curl; no answer is a result too. */
  async http(
    action: Action,
    source: ProbeSource,
    url: string,
    options: HttpOptions = {},
  ): Promise<HttpResult> {
    const words = ["-q", "-g", "-s", "-S", "-k", "--noproxy", "*"];
    if (options.family !== undefined) words.push(options.family === "ipv4" ? "-4" : "-6");
    const connectS = options.connectTimeoutS ?? this.#connectTimeoutMs / 1000;
    words.push("--connect-timeout", String(connectS), "--max-time", String(this.#requestTimeoutMs / 1000));
    words.push(
      "-w",
      "\n%{http_code} %{time_total} %{size_download} %{local_ip}",
      ...(options.args ?? []),
      url,
    );
    const piped = options.pipeFrom === undefined ? "" : `${options.pipeFrom} | `;
    const result = await this.run(action, source, piped + formatCommand("curl", words));
    const last = result.stdout.lastIndexOf("\n");
    const [status = "0", seconds = "0", size = "0", local = ""] = result.stdout.slice(last + 1).split(" ");
    return {
      status: Number(status) || 0,
      body: result.stdout.slice(0, Math.max(0, last)),
      curlExit: result.exitCode,
      error: result.stderr.trim(),
      tookMs: Number(seconds) * 1000,
      bytes: Number(size),
      local,
    };
  }

  /** One HTTP request to an echo server; anything but its answer fails the action. */
  async echo(
    action: Action,
    source: ProbeSource,
    url: string,
    options: HttpOptions = {},
  ): Promise<EchoAnswer> {
    const result = await this.http(action, source, url, options);
    expectAnswer(action, url, result);
    try {
      return JSON.parse(result.body);
    } catch (cause) {
      throw new ShuntError(`${url} answered with something else: ${result.body.slice(0, 200)}`, { cause });
    }
  }

  /** One ICMP echo, of `payloadBytes` after the ICMP header. Returns whether the answer came. */
  async ping(action: Action, source: ProbeSource, address: string, payloadBytes = 56): Promise<boolean> {
    const waitS = Math.max(1, Math.round(this.#connectTimeoutMs / 1000));
    const family = address.includes(":") ? "-6" : "-4";
    const words = [family, "-c", "1", "-W", String(waitS), "-s", String(payloadBytes), address];
    const result = await this.run(action, source, formatCommand("ping", words));
    return result.exitCode === 0;
  }

  /** Sends bytes to an echo port over TCP or UDP and reads them back; throws when they do not come. */
  async dial(
    action: Action,
    source: PodEndpoint,
    target: {
      protocol: "tcp" | "udp";
      host: string;
      port: number;
      size?: number;
      token?: string;
      from?: string;
    },
  ): Promise<DialAnswer> {
    return await this.control<DialAnswer>(action, source, "/dial", {
      protocol: target.protocol,
      host: target.host,
      port: target.port,
      size: target.size ?? 64,
      token: target.token ?? "",
      source: target.from ?? "",
      timeoutMs: this.#connectTimeoutMs,
    });
  }

  /** Asks a DNS server directly, from the pod. */
  async dns(
    action: Action,
    source: PodEndpoint,
    query: { server: string; name: string; type: "A" | "AAAA"; transport?: "udp" | "tcp" },
  ): Promise<DnsAnswer> {
    return await this.control<DnsAnswer>(action, source, "/dns", {
      ...query,
      timeoutMs: this.#connectTimeoutMs,
    });
  }

  /** Asks the pod's own control port; a failure there is thrown with its message. */
  async control<T>(
    action: Action,
    source: PodEndpoint,
    path: string,
    query: Record<string, string | number>,
  ): Promise<T> {
    const search = new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]));
    const url = `http://${hostPort("127.0.0.1", source.port("control"))}${path}?${search}`;
    const words = [
      "-q",
      "-s",
      "-S",
      "--noproxy",
      "*",
      "--max-time",
      String(this.#requestTimeoutMs / 1000),
      url,
    ];
    const result = await this.run(action, source, formatCommand("curl", words));
    if (result.exitCode !== 0)
      throw new ShuntError(`the echo server in ${source.name} does not answer: ${result.stderr}`);
    const answer = JSON.parse(result.stdout);
    if (typeof answer.error === "string") throw new ShuntError(answer.error);
    return answer as T;
  }
}

/** Asserts that an HTTP request was answered with 200, and says what happened otherwise. */
export function expectAnswer(action: Action, url: string, result: HttpResult): void {
  const what = result.error || `HTTP status ${result.status}`;
  action.ok(result.curlExit === 0 && result.status === 200, `no answer from ${url}: ${what}`);
}
