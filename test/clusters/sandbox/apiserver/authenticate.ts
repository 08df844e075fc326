// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import type { Api } from "./api.ts";
import { authorize, type UserInfo } from "./resources/index.ts";
import { forbidden, unauthorized } from "./status.ts";

const ANONYMOUS: UserInfo = { username: "system:anonymous", groups: ["system:unauthenticated"] };

/** Who sends a request: client certificate, bearer token, or anonymous. Throws a 401 for a bad credential. */
export function authenticate(api: Api, request: IncomingMessage): UserInfo {
  const user = fromCertificate(request.socket as TLSSocket) ?? fromToken(api, request) ?? ANONYMOUS;
  return impersonated(api, request, user);
}

const certificateUsers = new WeakMap<TLSSocket, UserInfo>();

function fromCertificate(socket: TLSSocket): UserInfo | undefined {
  if (socket.authorized !== true) return undefined;
  const known = certificateUsers.get(socket) ?? readCertificate(socket);
  if (known !== undefined) certificateUsers.set(socket, known);
  return known;
}

function readCertificate(socket: TLSSocket): UserInfo | undefined {
  const subject = socket.getPeerCertificate().subject as unknown as
    | Record<string, string | string[] | undefined>
    | undefined;
  const name = subject?.CN;
  if (name === undefined) return undefined;
  const organizations = subject?.O ?? [];
  const groups = Array.isArray(organizations) ? organizations : [organizations];
  return {
    username: Array.isArray(name) ? name[0]! : name,
    groups: [...groups, "system:authenticated"],
  };
}

function fromToken(api: Api, request: IncomingMessage): UserInfo | undefined {
  const token =
    /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? "")?.[1] ?? tokenOfWebSocket(request);
  if (token === undefined) return undefined;
  const checked = api.tokens.check(token, api.store);
  if (checked === undefined) throw unauthorized();
  return checked.user;
}

// Browsers cannot set headers on a WebSocket: the token travels as a subprotocol.
function tokenOfWebSocket(request: IncomingMessage): string | undefined {
  const protocols = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((text) => text.trim());
  const prefix = "base64url.bearer.authorization.k8s.io.";
  const found = protocols.find((protocol) => protocol.startsWith(prefix));
  return found === undefined
    ? undefined
    : Buffer.from(found.slice(prefix.length), "base64url").toString("utf8");
}

function impersonated(api: Api, request: IncomingMessage, user: UserInfo): UserInfo {
  const { headers } = request;
  const name = headers["impersonate-user"];
  const groups = valuesOf(request, "impersonate-group");
  if (name === undefined && groups.length === 0) return user;
  const demand = (resource: string, subject: string, namespace?: string): void => {
    const attributes = { verb: "impersonate", group: "", version: "v1", resource, name: subject };
    const decision = authorize(
      user,
      { ...attributes, ...(namespace === undefined ? {} : { namespace }) },
      api.store,
    );
    if (decision.allowed) return;
    const why = `User "${user.username}" cannot impersonate resource "${resource}" in API group "" at the cluster scope`;
    throw forbidden({ group: "", plural: resource }, subject, why);
  };
  const username = String(name ?? "");
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username);
  if (account === null) demand("users", username);
  else demand("serviceaccounts", account[2]!, account[1]!);
  for (const group of groups) demand("groups", group);
  const implied =
    account !== null && groups.length === 0
      ? ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`]
      : groups;
  const authenticated = username === "system:anonymous" ? "system:unauthenticated" : "system:authenticated";
  return { username, groups: [...new Set([...implied, authenticated])] };
}

function valuesOf(request: IncomingMessage, header: string): string[] {
  const values: string[] = [];
  for (let index = 0; index < request.rawHeaders.length; index += 2)
    if (request.rawHeaders[index]!.toLowerCase() === header) values.push(request.rawHeaders[index + 1]!);
  return values;
}
