// SPDX-License-Identifier: Apache-2.0

/** What a request is about, by its method and path. */
export interface RequestInfo {
  /** get, list, watch, create, update, patch, delete, deletecollection; the method in lower case elsewhere. */
  verb: string;
  path: string;
  query: URLSearchParams;
  /** True for /api/VERSION/… and /apis/GROUP/VERSION/… with a resource. */
  isResource: boolean;
  group: string;
  version: string;
  resource: string;
  subresource: string;
  namespace: string | undefined;
  name: string;
  /** What follows the subresource, for proxies; without a leading slash. */
  rest: string;
}

const NAMESPACE_SUBRESOURCES = new Set(["status", "finalize"]);
const VERBS: Record<string, string> = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };

/** Reads verb, resource and name out of a request line, as the real server does for authorization. */
export function parseRequest(method: string, target: string): RequestInfo {
  const url = new URL(target, "https://localhost");
  const info: RequestInfo = {
    verb: method.toLowerCase(),
    path: url.pathname,
    query: url.searchParams,
    isResource: false,
    group: "",
    version: "",
    resource: "",
    subresource: "",
    namespace: undefined,
    name: "",
    rest: "",
  };
  let parts = url.pathname.split("/").slice(1);
  if (parts[0] === "api" && parts.length >= 3) {
    info.version = parts[1]!;
    parts = parts.slice(2);
  } else if (parts[0] === "apis" && parts.length >= 4) {
    info.group = parts[1]!;
    info.version = parts[2]!;
    parts = parts.slice(3);
  } else return info;
  if (parts[0] === "" || parts[0] === undefined) return info;
  info.isResource = true;
  parts = decodeParts(parts);
  if (parts[0] === "namespaces") {
    if (parts[1] !== undefined) info.namespace = parts[1];
    if (parts.length > 2 && parts[2] !== "" && !NAMESPACE_SUBRESOURCES.has(parts[2]!)) parts = parts.slice(2);
  }
  info.resource = parts[0]!;
  info.name = parts[1] ?? "";
  info.subresource = parts[2] ?? "";
  info.rest = parts.slice(3).join("/");
  info.verb = verbOf(method, info);
  return info;
}

// The rest of a proxied path stays as it was sent.
function decodeParts(parts: string[]): string[] {
  return parts.map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

function verbOf(method: string, info: RequestInfo): string {
  if (method === "GET" || method === "HEAD") {
    if (info.name !== "") return "get";
    const fields = info.query.get("fieldSelector");
    const named = fields === null ? null : /^metadata\.name==?([^,!=]+)$/.exec(fields);
    if (named !== null) info.name = named[1]!;
    return isTrue(info.query.get("watch")) ? "watch" : "list";
  }
  const verb = VERBS[method] ?? method.toLowerCase();
  if (verb === "delete" && info.name === "") return "deletecollection";
  return verb;
}

/** Whether a query parameter is set to a true value. */
export function isTrue(value: string | null): boolean {
  return value !== null && value !== "false" && value !== "0";
}
