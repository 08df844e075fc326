// SPDX-License-Identifier: Apache-2.0
// Logs, exec, attach, port-forward and proxies: passed on, byte for byte, to a kubelet, a pod or a service.
import http from "node:http";
import https from "node:https";
import { errorMessage } from "../../../../lib/errors.ts";
import type { Call } from "./api.ts";
import { answerError } from "./http-answer.ts";
import { isTrue } from "./request-info.ts";
import type { Exchange } from "./resource-handler.ts";
import type { KubeObject } from "./resources/index.ts";
import { badRequest, notFound, StatusError, serviceUnavailable } from "./status.ts";
import type { StreamTarget, UpgradeExchange } from "./subresources/index.ts";
import { getObject } from "./write.ts";

/** How kubelets are reached. */
export interface KubeletClient {
  cert?: string;
  key?: string;
  ca?: string;
}

interface Destination {
  protocol: "http:" | "https:";
  host: string;
  port: number;
  path: string;
  isKubelet: boolean;
}

const KUBELET_PORT = 10250;
const HOP_HEADERS = ["host", "authorization", "impersonate-user", "impersonate-group", "impersonate-uid"];

/** Makes the target of streaming subresources. */
export function createStreamProxy(kubelet: KubeletClient): StreamTarget {
  return {
    forward: (call, exchange) => forward(kubelet, call, exchange),
    upgrade: (call, exchange) => upgrade(kubelet, call, exchange),
  };
}

function requestTo(
  kubelet: KubeletClient,
  to: Destination,
  request: http.IncomingMessage,
): http.ClientRequest {
  const headers: http.OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(request.headers))
    if (value !== undefined && !HOP_HEADERS.includes(name)) headers[name] = value;
  const options = {
    host: to.host,
    port: to.port,
    path: to.path,
    method: request.method,
    headers,
    agent: false,
  };
  if (to.protocol === "http:") return http.request(options);
  const tls = to.isKubelet
    ? { ...kubelet, rejectUnauthorized: kubelet.ca !== undefined }
    : { rejectUnauthorized: false };
  return https.request({ ...options, ...tls });
}

async function forward(kubelet: KubeletClient, call: Call, { request, response }: Exchange): Promise<void> {
  const to = destinationOf(call);
  await new Promise<void>((resolve) => {
    const outgoing = requestTo(kubelet, to, request);
    const fail = (error: unknown): void => {
      answerError(response, unreachable(to, error));
      resolve();
    };
    outgoing.on("error", fail);
    outgoing.on("response", (incoming) => {
      if (call.info.subresource === "log" && (incoming.statusCode ?? 502) > 206) {
        refusedLog(call, incoming).then((status) => {
          answerError(response, status);
          resolve();
        }, fail);
        return;
      }
      response.writeHead(incoming.statusCode ?? 502, incoming.headers);
      response.flushHeaders();
      incoming.on("error", () => response.destroy());
      incoming.pipe(response);
      response.on("close", () => {
        incoming.destroy();
        resolve();
      });
    });
    response.on("close", () => outgoing.destroy());
    request.pipe(outgoing);
  });
}

const MAX_REFUSAL_BYTES = 50_000;

// A kubelet says in plain text why there is no log; clients of the API get a Status.
async function refusedLog(call: Call, incoming: http.IncomingMessage): Promise<StatusError> {
  let text = "";
  for await (const chunk of incoming) if (text.length < MAX_REFUSAL_BYTES) text += chunk;
  const code = incoming.statusCode ?? 502;
  if (code === 400) return badRequest(text);
  if (code === 500) return new StatusError(500, "InternalError", `Internal error occurred: ${text}`);
  const what = `( pods/log ${call.info.name})`;
  const details = {
    name: call.info.name,
    kind: "pods/log",
    causes: [{ reason: "UnexpectedServerResponse", message: text }],
  };
  return code === 404
    ? new StatusError(404, "NotFound", `the server could not find the requested resource ${what}`, details)
    : new StatusError(
        code,
        "",
        `the server responded with the status code ${code} but did not return more information ${what}`,
        details,
      );
}

function unreachable(to: Destination, error: unknown): StatusError {
  const message = `error dialing backend: ${errorMessage(error)} (${to.host}:${to.port})`;
  return to.isKubelet ? new StatusError(500, "InternalError", message) : serviceUnavailable(message);
}

async function upgrade(kubelet: KubeletClient, call: Call, exchange: UpgradeExchange): Promise<void> {
  const { request, socket, head } = exchange;
  refuseTunnels(request);
  const to = destinationOf(call);
  await new Promise<void>((resolve, reject) => {
    const outgoing = requestTo(kubelet, to, request);
    outgoing.on("error", (error) => reject(unreachable(to, error)));
    outgoing.on("upgrade", (incoming, peer, peerHead) => {
      socket.write(headText(incoming));
      if (peerHead.length > 0) socket.write(peerHead);
      if (head.length > 0) peer.write(head);
      peer.on("error", () => socket.destroy());
      peer.pipe(socket);
      socket.pipe(peer);
      socket.on("close", () => peer.destroy());
      peer.on("close", () => socket.end());
      resolve();
    });
    outgoing.on("response", (incoming) => {
      incoming.headers.connection = "close";
      socket.write(headText(incoming));
      incoming.pipe(socket);
      resolve();
    });
    socket.on("close", () => outgoing.destroy());
    outgoing.end();
  });
}

// Newer kubectl tries WebSocket protocols first that kubelets do not speak; refused, it goes on with SPDY.
function refuseTunnels(request: http.IncomingMessage): void {
  const protocols = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((text) => text.trim());
  const known = protocols.filter((name) => name !== "v5.channel.k8s.io" && !name.startsWith("SPDY/3.1+"));
  if (protocols[0] !== "" && known.length === 0)
    throw badRequest(`unable to upgrade: none of the protocols ${protocols.join(", ")} is supported`);
}

function headText(message: http.IncomingMessage): string {
  const lines = [`HTTP/1.1 ${message.statusCode} ${message.statusMessage}`];
  for (const [name, value] of Object.entries(message.headers)) {
    if (name === "transfer-encoding") continue;
    for (const item of Array.isArray(value) ? value : [value]) lines.push(`${name}: ${item}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function destinationOf(call: Call): Destination {
  const { info } = call;
  if (info.subresource !== "proxy") return kubeletDestination(call);
  const rest = `/${info.rest}${queryText(info.query)}`;
  if (info.resource === "nodes") return { ...kubeletOf(call, getObject(call)), path: rest };
  const [first = "", second, third] = info.name.split(":");
  const scheme = third === undefined ? "http" : first;
  const name = third === undefined ? first : second!;
  const port = (third === undefined ? second : third) ?? "";
  const protocol = scheme === "https" ? "https:" : "http:";
  const named = { ...call, info: { ...info, name } };
  const target = info.resource === "pods" ? podAddress(getObject(named), port) : serviceAddress(named, port);
  return { protocol, ...target, path: rest, isKubelet: false };
}

function queryText(query: URLSearchParams): string {
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}

function podAddress(pod: KubeObject, port: string): { host: string; port: number } {
  const host = pod.status?.podIP;
  if (!host) throw serviceUnavailable(`pod ${pod.metadata.name} has no address yet`);
  const ports: KubeObject[] = (pod.spec.containers ?? []).flatMap(
    (container: KubeObject) => container.ports ?? [],
  );
  const found =
    ports.find((entry) => entry.name === port)?.containerPort ?? (Number(port) || ports[0]?.containerPort);
  return { host, port: found ?? 80 };
}

function serviceAddress(call: Call, port: string): { host: string; port: number } {
  const { info, api } = call;
  const service = api.store.get("", "services", info.namespace, info.name);
  if (service === undefined) throw notFound(call.resource, info.name);
  const ports: KubeObject[] = service.spec?.ports ?? [];
  const wanted =
    port === "" ? ports[0] : ports.find((entry) => entry.name === port || String(entry.port) === port);
  const slices = api.store
    .list("discovery.k8s.io", "endpointslices", info.namespace)
    .filter((slice) => slice.metadata.labels?.["kubernetes.io/service-name"] === info.name);
  for (const slice of slices) {
    const number = slice.ports?.find(
      (entry: KubeObject) => (entry.name ?? "") === (wanted?.name ?? ""),
    )?.port;
    const ready = (slice.endpoints ?? []).find((entry: KubeObject) => entry.conditions?.ready !== false);
    if (ready !== undefined && number !== undefined) return { host: ready.addresses[0], port: number };
  }
  throw serviceUnavailable(`no endpoints available for service "${info.name}"`);
}

function kubeletOf(call: Call, node: KubeObject | undefined): Destination {
  const addresses: KubeObject[] = node?.status?.addresses ?? [];
  const host = addresses.find((entry) => entry.type === "InternalIP")?.address;
  if (node === undefined || host === undefined)
    throw new StatusError(500, "InternalError", `no preferred addresses found; known addresses: []`);
  const port = node.status?.daemonEndpoints?.kubeletEndpoint?.Port || KUBELET_PORT;
  return { protocol: "https:", host, port, path: call.info.path, isKubelet: true };
}

const STREAM_PATHS: Record<string, string> = { exec: "exec", attach: "attach", portforward: "portForward" };
const STREAM_FLAGS: Record<string, string> = {
  stdin: "input",
  stdout: "output",
  stderr: "error",
  tty: "tty",
};

function kubeletDestination(call: Call): Destination {
  const { info, api } = call;
  const pod = getObject(call);
  const { namespace, name } = pod.metadata;
  if (!pod.spec.nodeName) throw badRequest(`pod ${name} does not have a host assigned`);
  const base = kubeletOf(call, api.store.get("", "nodes", undefined, pod.spec.nodeName));
  const pathOf = (kind: string, container?: string): string =>
    `/${[kind, namespace, name, ...(container === undefined ? [] : [container])].map(encodeURIComponent).join("/")}`;
  const query = new URLSearchParams();
  if (info.subresource === "portforward") {
    for (const port of info.query.getAll("ports").flatMap((text) => text.split(",")))
      query.append("port", port);
    return { ...base, path: pathOf("portForward") + queryText(query) };
  }
  const container = containerOf(pod, info.query.get("container"), info.subresource);
  if (info.subresource === "log") {
    for (const [key, value] of info.query)
      if (!["container", "insecureSkipTLSVerifyBackend"].includes(key)) query.append(key, value);
    return { ...base, path: pathOf("containerLogs", container) + queryText(query) };
  }
  for (const [flag, kubeletFlag] of Object.entries(STREAM_FLAGS))
    if (isTrue(info.query.get(flag))) query.set(kubeletFlag, "1");
  for (const word of info.query.getAll("command")) query.append("command", word);
  return { ...base, path: pathOf(STREAM_PATHS[info.subresource]!, container) + queryText(query) };
}

function containerOf(pod: KubeObject, asked: string | null, subresource: string): string {
  const { containers = [], initContainers = [], ephemeralContainers = [] } = pod.spec;
  const names = (list: KubeObject[]): string[] => list.map((container) => container.name);
  const all = [...names(containers), ...names(initContainers), ...names(ephemeralContainers)];
  if (asked !== null && asked !== "") {
    if (!all.includes(asked))
      throw badRequest(`container ${asked} is not valid for pod ${pod.metadata.name}`);
    return asked;
  }
  if (containers.length === 1 || subresource !== "log") return containers[0].name;
  const init =
    initContainers.length === 0 ? "" : ` or one of the init containers: [${names(initContainers).join(" ")}]`;
  throw badRequest(
    `a container name must be specified for pod ${pod.metadata.name}, choose one of: [${names(containers).join(" ")}]${init}`,
  );
}
