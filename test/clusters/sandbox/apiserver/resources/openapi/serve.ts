// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import type { Registry } from "../registry.ts";
import { OpenApi, SWAGGER_PROTOBUF } from "./openapi.ts";

/** An OpenAPI document as it goes out. */
export interface OpenApiAnswer {
  contentType: string;
  body: Buffer;
  etag: string;
}

const PROTOBUF_ASKED = /application\/com\.github\.proto-openapi\.spec\.v2[@.]v1\.0\+protobuf/;

const documents = new WeakMap<Registry, { openApi: OpenApi; answers: Map<string, OpenApiAnswer> }>();

function documentsOf(registry: Registry, release: string) {
  const known = documents.get(registry);
  if (known) return known;
  const made = { openApi: new OpenApi(registry, release), answers: new Map<string, OpenApiAnswer>() };
  registry.onChange(() => made.answers.clear());
  documents.set(registry, made);
  return made;
}

/**
 * The document at `/openapi/v2`, `/openapi/v3` or `/openapi/v3/GROUP-VERSION` in the form that the Accept
 * header asks for; undefined when there is none. `release` is the server's version, such as `v1.33.0`.
 */
export function openApiDocument(
  registry: Registry,
  release: string,
  path: string,
  accept = "",
): OpenApiAnswer | undefined {
  const { openApi, answers } = documentsOf(registry, release);
  const protobuf = path === "/openapi/v2" && PROTOBUF_ASKED.test(accept);
  const key = `${path} ${protobuf}`;
  const ready = answers.get(key);
  if (ready) return ready;
  const body = protobuf ? openApi.v2Protobuf() : jsonOf(openApi, path);
  if (!body) return undefined;
  const etag = `"${createHash("sha512").update(body).digest("hex").toUpperCase()}"`;
  const answer = { contentType: protobuf ? SWAGGER_PROTOBUF : "application/json", body, etag };
  answers.set(key, answer);
  return answer;
}

function jsonOf(openApi: OpenApi, path: string): Buffer | undefined {
  const document = documentAt(openApi, path);
  return document && Buffer.from(JSON.stringify(document));
}

function documentAt(openApi: OpenApi, path: string) {
  if (path === "/openapi/v2") return openApi.v2();
  if (path === "/openapi/v3") return openApi.v3Index();
  return path.startsWith("/openapi/v3/") ? openApi.v3(path.slice("/openapi/v3/".length)) : undefined;
}
