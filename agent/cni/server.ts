// SPDX-License-Identifier: Apache-2.0
import { chmodSync, rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { withDeadline } from "../../lib/wait.ts";
import type { EndpointManager } from "../endpoint-manager.ts";
import {
  addResult,
  attachmentOf,
  type CniAnswer,
  CniError,
  cniCodes,
  parseRequest,
  validAttachments,
} from "./protocol.ts";

const maxRequestBytes = 32 << 20;
/** Longer than the plugin waits for its answer. */
const socketTimeoutMs = 120_000;

export interface CniServerOptions {
  socketPath: string;
  endpoints: EndpointManager;
  log: Logger;
  /** Why pods cannot get interfaces now; undefined when they can. */
  notReady: () => string | undefined;
  /** Told of each finished operation. */
  observe: (command: string, outcome: "ok" | "error", seconds: number) => void;
}

/** The agent's end of the CNI plugin: answers one request a connection on a unix socket. */
export class CniServer {
  readonly #options: CniServerOptions;
  #server: Server | undefined;

  constructor(options: CniServerOptions) {
    this.#options = options;
  }

  /** Takes the socket over from an earlier agent. */
  async start(): Promise<void> {
    const { socketPath, log } = this.#options;
    await mkdir(dirname(socketPath), { recursive: true, mode: 0o755 });
    rmSync(socketPath, { force: true });
    const server = createServer((socket) => {
      this.#serve(socket).catch((error) => {
        log.debug("CNI connection ended", { error: errorMessage(error) });
        socket.destroy();
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(socketPath, resolve);
    });
    chmodSync(socketPath, 0o600);
    this.#server = server;
  }

  /** Stops taking requests; those under way get three seconds (the plugin asks the next agent again). */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await withDeadline("CNI requests under way", closed, 3_000).catch((error) =>
      this.#options.log.warn("CNI requests were cut off", { error: errorMessage(error) }),
    );
  }

  async #serve(socket: Socket): Promise<void> {
    socket.setTimeout(socketTimeoutMs, () => socket.destroy());
    const answer = await this.#answer(await readMessage(socket), () => !socket.destroyed);
    if (socket.destroyed) return;
    const body = Buffer.from(answer.stdout);
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length + 1, 0);
    head.writeUInt8(answer.exitCode, 4);
    socket.end(Buffer.concat([head, body]));
  }

  async #answer(text: string, isAwaited: () => boolean): Promise<CniAnswer> {
    const started = process.hrtime.bigint();
    let command = "?";
    let cniVersion = "1.0.0";
    let log = this.#options.log;
    const seconds = () => Number(process.hrtime.bigint() - started) / 1e9;
    try {
      const request = parseRequest(text);
      ({ command, cniVersion } = request);
      const pod = `${request.args.K8S_POD_NAMESPACE ?? ""}/${request.args.K8S_POD_NAME ?? ""}`;
      log = log.with({ command, containerId: request.containerId.slice(0, 13), pod });
      const result = await this.#perform(request, isAwaited);
      this.#options.observe(command, "ok", seconds());
      log.debug("CNI", { seconds: seconds() });
      return { exitCode: 0, stdout: result === undefined ? "" : `${JSON.stringify(result)}\n` };
    } catch (error) {
      this.#options.observe(command, "error", seconds());
      log.warn("CNI operation failed", { seconds: seconds(), error: errorMessage(error) });
      const details = error instanceof ShuntError ? (error.remedy ?? "") : "";
      const body = { cniVersion, code: codeOf(error), msg: errorMessage(error), details };
      return { exitCode: 1, stdout: `${JSON.stringify(body)}\n` };
    }
  }

  async #perform(request: ReturnType<typeof parseRequest>, isAwaited: () => boolean): Promise<unknown> {
    const { endpoints, notReady } = this.#options;
    const why = notReady();
    const remedy = "Look at /status of the pod shunt-agent on this node";
    if (request.command === "STATUS") {
      if (why !== undefined) throw new CniError(cniCodes.notAvailable, why, remedy);
      return undefined;
    }
    if (request.command === "DEL") return await endpoints.remove(request.containerId, request.ifName);
    if (why !== undefined) throw new CniError(cniCodes.tryAgainLater, why, remedy);
    switch (request.command) {
      case "ADD":
        return addResult(await endpoints.add(attachmentOf(request), isAwaited), request.cniVersion);
      case "CHECK": {
        const problems = await endpoints.check(request.containerId, request.ifName, request.netns);
        if (problems.length > 0) throw new CniError(cniCodes.checkFailed, problems.join("; "));
        return undefined;
      }
      default: {
        const removed = await endpoints.collect(validAttachments(request));
        if (removed > 0) this.#options.log.info("garbage collected", { endpoints: removed });
        return undefined;
      }
    }
  }
}

function codeOf(error: unknown): number {
  if (error instanceof CniError) return error.cniCode;
  if (!(error instanceof ShuntError)) return cniCodes.failed;
  if (error.code === "NoFreeAddress") return cniCodes.noFreeAddress;
  if (error.code === "NotReady") return cniCodes.tryAgainLater;
  return error.code === "NoNetns" ? cniCodes.invalidEnvironment : cniCodes.failed;
}

async function readMessage(socket: Socket): Promise<string> {
  let data: Buffer = Buffer.alloc(0);
  return await new Promise((resolve, reject) => {
    const refuse = (why: string) => reject(new Error(why));
    socket.on("error", reject);
    socket.on("close", () => refuse("the plugin went away"));
    socket.on("data", (chunk: Buffer) => {
      data = data.length === 0 ? chunk : Buffer.concat([data, chunk]);
      if (data.length < 4) return;
      const size = data.readUInt32BE(0);
      if (size > maxRequestBytes) refuse(`request of ${size} bytes`);
      else if (data.length >= 4 + size) resolve(data.toString("utf8", 4, 4 + size));
    });
  });
}
