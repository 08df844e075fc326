// SPDX-License-Identifier: Apache-2.0
import { WebSocket } from "ws";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { ApiError } from "../../lib/kube-errors.ts";

/** Channels of Kubernetes' remote command protocol (v4 and v5): the first byte of each message. */
const stdinChannel = 0;
const stdoutChannel = 1;
const stderrChannel = 2;
const statusChannel = 3;

export interface ExecTarget {
  namespace: string;
  pod: string;
  container: string;
}

export interface ExecHandlers {
  onStdout(chunk: Buffer): void;
  onStderr(chunk: Buffer): void;
  /** Called once; `error` is undefined when the process ended by itself with code 0. */
  onEnd(error: Error | undefined): void;
}

/** A process in a container, with its standard streams on one WebSocket. */
export interface ExecStream {
  write(text: string): void;
  /** Cuts the connection; what runs in the container may go on. */
  close(): void;
}

/** Starts a command in a container. Resolves when the streams are open; throws when the server refuses. */
export async function openExec(
  kube: KubeClient,
  target: ExecTarget,
  command: readonly string[],
  handlers: ExecHandlers,
  timeoutMs: number,
): Promise<ExecStream> {
  const { base, ...options } = await kube.connectionOptions();
  const url = new URL(
    `${base.href.replace(/\/$/, "")}/api/v1/namespaces/${target.namespace}/pods/${target.pod}/exec`,
  );
  url.protocol = base.protocol === "http:" ? "ws:" : "wss:";
  for (const [name, value] of [
    ["container", target.container],
    ["stdin", "true"],
    ["stdout", "true"],
    ["stderr", "true"],
    ...command.map((word) => ["command", word] as const),
  ] as const)
    url.searchParams.append(name, value);
  const socket = new WebSocket(url, ["v5.channel.k8s.io", "v4.channel.k8s.io"], {
    ...(options as object),
    handshakeTimeout: timeoutMs,
    perMessageDeflate: false,
    maxPayload: 64 * 1024 * 1024,
  });
  // The first messages may come together with the answer that opens the stream.
  socket.once("open", () => follow(socket, handlers));
  await opened(socket, `exec in ${target.namespace}/${target.pod}`);
  return {
    write: (text) => socket.send(Buffer.concat([Buffer.from([stdinChannel]), Buffer.from(text)])),
    close: () => socket.terminate(),
  };
}

function opened(socket: WebSocket, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", (cause) =>
      reject(new ShuntError(`Cannot ${what}: ${errorMessage(cause)}`, { code: "Exec", cause })),
    );
    socket.once("unexpected-response", (request, response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        if (text.length < 65_536) text += chunk;
      });
      response.on("end", () => {
        request.destroy();
        reject(new ApiError(what, response.statusCode ?? 0, parseJson(text) ?? text));
      });
    });
  });
}

function follow(socket: WebSocket, handlers: ExecHandlers): void {
  let ended = false;
  const end = (error: Error | undefined): void => {
    if (ended) return;
    ended = true;
    handlers.onEnd(error);
  };
  socket.on("message", (data: Buffer) => {
    const content = data.subarray(1);
    if (data[0] === stdoutChannel) handlers.onStdout(content);
    else if (data[0] === stderrChannel) handlers.onStderr(content);
    else if (data[0] === statusChannel) end(statusError(content.toString()));
  });
  socket.on("error", end);
  socket.on("close", (code) => end(new ShuntError(`the exec connection was closed (${code})`)));
}

/** What the Status object at the end of the stream says; undefined for success. */
export function statusError(text: string): Error | undefined {
  const status = parseJson(text);
  if (status?.status === "Success") return undefined;
  return new ShuntError(`the command ended: ${status?.message ?? text}`, { code: status?.reason ?? "Exec" });
}

function parseJson(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
