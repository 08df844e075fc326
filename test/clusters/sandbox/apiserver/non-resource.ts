// SPDX-License-Identifier: Apache-2.0
// Health, version, discovery, OpenAPI.
import type { Api } from "./api.ts";
import {
  aggregatedDiscovery,
  aggregatedVersion,
  coreVersions,
  groupList,
  oneGroup,
  resourceList,
} from "./discovery.ts";
import { answer, answerText } from "./http-answer.ts";
import { serveOpenApi } from "./openapi-routes.ts";
import type { RequestInfo } from "./request-info.ts";
import type { Exchange } from "./resource-handler.ts";
import { methodNotAllowed } from "./status.ts";

/** What `/version` says. */
export const VERSION = {
  major: "1",
  minor: "33",
  gitVersion: "v1.33.0-shunt",
  gitCommit: "0000000000000000000000000000000000000000",
  gitTreeState: "clean",
  buildDate: "2025-04-23T00:00:00Z",
  goVersion: "go1.24.0",
  compiler: "gc",
  platform: "linux/amd64",
};

const PATHS = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];

/** Answers a path that is not a resource's. */
export async function handleNonResource(api: Api, info: RequestInfo, exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  if (!["GET", "HEAD"].includes(request.method ?? "")) throw methodNotAllowed();
  const path = info.path.replace(/\/+$/, "");
  if (/^\/(healthz|livez|readyz)(\/|$)/.test(path)) return answerText(response, 200, "ok");
  if (path === "/version") return answer(response, 200, VERSION);
  if (path === "/.well-known/openid-configuration") return answer(response, 200, openId(api));
  if (path === "/openid/v1/jwks")
    return answer(response, 200, api.tokens.keySet(), { contentType: "application/jwk-set+json" });
  if (path.startsWith("/openapi/")) return serveOpenApi(api, info, exchange);
  if (path === "") return answer(response, 200, { paths: PATHS });
  const found = discovery(api, path, exchange);
  if (!found) answerText(response, 404, "404 page not found\n");
}

function openId(api: Api): object {
  return {
    issuer: api.tokens.issuer,
    jwks_uri: `${api.tokens.issuer}/openid/v1/jwks`,
    response_types_supported: ["id_token"],
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: ["RS256"],
  };
}

function discovery(api: Api, path: string, { request, response }: Exchange): boolean {
  const { registry } = api;
  if (path === "/api" || path === "/apis") {
    const version = aggregatedVersion(request.headers.accept);
    const core = path === "/api";
    if (version !== undefined) {
      const contentType = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
      answer(response, 200, aggregatedDiscovery(registry, core, version), { contentType });
    } else {
      const address = `${request.socket.localAddress}:${request.socket.localPort}`;
      answer(response, 200, core ? coreVersions(address) : groupList(registry));
    }
    return true;
  }
  const [, root, first = "", second = ""] = path.split("/");
  const body =
    root === "api"
      ? resourceList(registry, "", first)
      : root === "apis"
        ? second === ""
          ? oneGroup(registry, first)
          : resourceList(registry, first, second)
        : undefined;
  if (body === undefined) return false;
  answer(response, 200, body);
  return true;
}
