// SPDX-License-Identifier: Apache-2.0
// One request from its first byte to its answer: who, what, may they, then the handler.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Api, Call } from "./api.ts";
import { authenticate } from "./authenticate.ts";
import { answerError, answerText, statusOf } from "./http-answer.ts";
import { handleNonResource } from "./non-resource.ts";
import { parseRequest, type RequestInfo } from "./request-info.ts";
import { handleResource } from "./resource-handler.ts";
import { type AuthorizationAttributes, authorize, type UserInfo } from "./resources/index.ts";
import { handleReview } from "./reviews.ts";
import { forbidden, StatusError } from "./status.ts";
import { handleSubresource, reviewConnect, type StreamTarget } from "./subresources/index.ts";

const ALWAYS_ALLOWED = ["/healthz", "/livez", "/readyz", "/version"];

/** What an authorizer is asked about a request. */
function attributesOf(info: RequestInfo): AuthorizationAttributes {
  if (!info.isResource) return { verb: info.verb, path: info.path };
  return {
    verb: info.verb,
    group: info.group,
    version: info.version,
    resource: info.resource,
    subresource: info.subresource,
    ...(info.namespace === undefined ? {} : { namespace: info.namespace }),
    name: info.name,
  };
}

function checkAuthorized(api: Api, info: RequestInfo, user: UserInfo): void {
  if (
    !info.isResource &&
    ALWAYS_ALLOWED.some((path) => info.path === path || info.path.startsWith(`${path}/`))
  )
    return;
  const decision = authorize(user, attributesOf(info), api.store);
  if (decision.allowed) return;
  const reason = decision.reason === "" ? "" : `: ${decision.reason}`;
  if (!info.isResource)
    throw new StatusError(
      403,
      "Forbidden",
      `forbidden: User "${user.username}" cannot ${info.verb} path "${info.path}"${reason}`,
      {},
    );
  const resource = info.subresource === "" ? info.resource : `${info.resource}/${info.subresource}`;
  const scope =
    info.namespace === undefined ? "at the cluster scope" : `in the namespace "${info.namespace}"`;
  throw forbidden(
    { group: info.group, plural: info.resource },
    info.name,
    `User "${user.username}" cannot ${info.verb} resource "${resource}" in API group "${info.group}" ${scope}${reason}`,
  );
}

function callOf(api: Api, info: RequestInfo, user: UserInfo, request: IncomingMessage): Call | undefined {
  const resource = api.registry.lookup(info.group, info.version, info.resource);
  if (resource === undefined) return undefined;
  if (resource.namespaced === false && info.resource !== "namespaces" && info.namespace !== undefined)
    return undefined;
  const named = info.query.get("fieldManager");
  const agent = (request.headers["user-agent"] ?? "unknown").split("/")[0]!.slice(0, 128);
  const dryRun = info.query.get("dryRun");
  if (dryRun !== null && dryRun !== "All" && dryRun !== "")
    throw new StatusError(422, "Invalid", `dryRun: Unsupported value: "${dryRun}": supported values: "All"`);
  const scoped = resource.namespaced || info.resource !== "namespaces";
  return {
    api,
    info: scoped ? info : { ...info, namespace: undefined },
    user,
    resource,
    manager: named === null || named === "" ? agent : named,
    warnings: [],
    dryRun: dryRun === "All",
  };
}

/** Answers one request; never throws. */
export async function handleRequest(
  api: Api,
  stream: StreamTarget,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const info = parseRequest(request.method ?? "GET", request.url ?? "/");
    const user = authenticate(api, request);
    checkAuthorized(api, info, user);
    if (!info.isResource) return await handleNonResource(api, info, { request, response });
    const call = callOf(api, info, user, request);
    if (call === undefined) return answerText(response, 404, "404 page not found\n");
    const exchange = { request, response };
    if (info.subresource !== "") return await handleSubresource(call, exchange, stream);
    if (call.resource.virtual === true) return await handleReview(call, exchange);
    await handleResource(call, exchange);
  } catch (error) {
    if (response.destroyed) return;
    answerError(response, statusOf(error, api.log));
  }
}

/** Answers a request that asks for another protocol (SPDY, WebSocket): exec, attach, port-forward, proxies. */
export async function handleUpgrade(
  api: Api,
  stream: StreamTarget,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  socket.on("error", () => socket.destroy());
  try {
    const info = parseRequest(request.method ?? "GET", request.url ?? "/");
    const user = authenticate(api, request);
    checkAuthorized(api, info, user);
    const call = info.isResource ? callOf(api, info, user, request) : undefined;
    if (call === undefined || info.subresource === "")
      throw new StatusError(400, "BadRequest", "this path cannot change protocols");
    await reviewConnect(call);
    await stream.upgrade(call, { request, socket, head });
  } catch (error) {
    const status = statusOf(error, api.log);
    const body = `${JSON.stringify(status.toStatus())}\n`;
    socket.end(
      `HTTP/1.1 ${status.code} ${status.reason || "Error"}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  }
}
