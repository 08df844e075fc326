// SPDX-License-Identifier: Apache-2.0
import type http from "node:http";
import { logRecords, tailOffset } from "./log-reader.ts";
import { podUid } from "./pod.ts";
import type { RuntimeContainer } from "./pod-runtime.ts";
import { HttpError, type KubeletRequest } from "./server-request.ts";
import { findContainer } from "./server-streams.ts";

interface LogWishes {
  follow: boolean;
  previous: boolean;
  timestamps: boolean;
  tailLines: number | undefined;
  limitBytes: number;
  sinceMs: number;
}

function readWishes(query: URLSearchParams): LogWishes {
  const flag = (name: string) => ["1", "true"].includes(query.get(name) ?? "");
  const number = (name: string): number | undefined => {
    const text = query.get(name);
    if (text === null || text === "") return undefined;
    if (!/^\d+$/.test(text)) throw new HttpError(422, `${name}: "${text}" is not a whole number`);
    return Number(text);
  };
  const sinceSeconds = number("sinceSeconds");
  const sinceTime = query.get("sinceTime");
  return {
    follow: flag("follow"),
    previous: flag("previous"),
    timestamps: flag("timestamps"),
    tailLines: number("tailLines"),
    limitBytes: number("limitBytes") ?? Number.POSITIVE_INFINITY,
    sinceMs:
      sinceSeconds !== undefined
        ? Date.now() - sinceSeconds * 1000
        : sinceTime === null
          ? 0
          : Date.parse(sinceTime),
  };
}

/** containerLogs/NAMESPACE/POD/CONTAINER */
export async function serveLogs(
  call: KubeletRequest,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const [, namespace = "", podName = "", name = ""] = call.parts;
  const wishes = readWishes(call.query);
  let container = await findContainer(call, namespace, podName, name);
  if (wishes.previous) container = await previousOf(call, namespace, podName, container);
  const gone = new AbortController();
  request.on("close", () => response.writableEnded || gone.abort());
  response.on("close", () => gone.abort());
  response.writeHead(200, { "content-type": "text/plain" });
  response.flushHeaders();
  const uid = podUid(call.manager.find(namespace, podName) ?? { metadata: {}, spec: {} });
  const isRunning = async () => {
    const runtime = await call.kubelet.reader.read(uid);
    return runtime.containers.find((entry) => entry.id === container.id)?.state === "running";
  };
  await copyLog(container, wishes, isRunning, response, gone.signal);
  response.end();
}

async function previousOf(
  call: KubeletRequest,
  namespace: string,
  podName: string,
  current: RuntimeContainer,
): Promise<RuntimeContainer> {
  const pod = call.manager.find(namespace, podName);
  const runtime = await call.kubelet.reader.read(pod === undefined ? "" : podUid(pod));
  const isEarlier = (entry: RuntimeContainer) =>
    entry.name === current.name && entry.attempt < current.attempt;
  const found = runtime.containers.find(isEarlier);
  if (found === undefined)
    throw new HttpError(400, `previous terminated container "${current.name}" in pod "${podName}" not found`);
  return found;
}

async function copyLog(
  container: RuntimeContainer,
  wishes: LogWishes,
  isRunning: () => Promise<boolean>,
  response: http.ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const offset = wishes.tailLines === undefined ? 0 : await tailOffset(container.logPath, wishes.tailLines);
  const follow = wishes.follow ? isRunning : async () => false;
  let left = wishes.limitBytes;
  let isLineStart = true;
  for await (const record of logRecords(container.logPath, offset, follow, signal)) {
    if (wishes.sinceMs > 0 && Date.parse(record.time) < wishes.sinceMs) continue;
    const prefix = wishes.timestamps && isLineStart ? `${record.time} ` : "";
    const line = Buffer.from(`${prefix}${record.text}${record.partial ? "" : "\n"}`);
    isLineStart = !record.partial;
    const part = line.subarray(0, Math.min(line.length, left));
    left -= part.length;
    if (!response.write(part) && !signal.aborted)
      await new Promise<void>((resolve) => {
        response.once("drain", resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    if (left <= 0) return;
  }
}
