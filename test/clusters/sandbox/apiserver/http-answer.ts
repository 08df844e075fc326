// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage, ServerResponse } from "node:http";
import { parse as parseYaml, stringify as toYaml } from "yaml";
import { errorMessage } from "../../../../lib/errors.ts";
import type { Logger } from "../../../../lib/log.ts";
import { decodeProtobuf, PROTOBUF } from "./protobuf/decode.ts";
import { type KubeObject, Refusal } from "./resources/index.ts";
import { badRequest, StatusError, unsupportedMediaType } from "./status.ts";

const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** Reads a body of at most 3 MiB. Throws a 413. */
export async function readBody(request: IncomingMessage): Promise<string> {
  return (await readBytes(request)).toString("utf8");
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES)
      throw new StatusError(
        413,
        "RequestEntityTooLarge",
        `Request entity too large: limit is ${MAX_BODY_BYTES}`,
      );
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** The media type of a request's body, without parameters. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers["content-type"] ?? "").split(";")[0]!.trim().toLowerCase();
}

/** Reads and decodes a JSON, YAML or protobuf body; undefined when it is empty. Throws a 400, 413 or 415. */
export async function readObjectBody(request: IncomingMessage): Promise<any> {
  const bytes = await readBytes(request);
  if (bytes.length === 0) return undefined;
  const type = mediaType(request);
  return type === PROTOBUF ? decodeProtobuf(bytes) : decodeText(bytes.toString("utf8"), type);
}

function decodeText(text: string, type: string): any {
  if (type !== "" && !["application/json", "application/yaml", "text/plain"].includes(type))
    throw unsupportedMediaType(`application/json, application/yaml, ${PROTOBUF}`);
  try {
    return type === "application/yaml" ? parseYaml(text) : JSON.parse(text);
  } catch (error) {
    throw badRequest(`couldn't get version/kind; json parse error: ${errorMessage(error)}`);
  }
}

/** Writes a JSON (or YAML) answer. */
export function answer(
  response: ServerResponse,
  code: number,
  body: unknown,
  options: {
    warnings?: string[];
    yaml?: boolean;
    contentType?: string;
    headers?: Record<string, string>;
  } = {},
): void {
  const text = options.yaml === true ? toYaml(body) : `${JSON.stringify(body)}\n`;
  const contentType =
    options.contentType ?? (options.yaml === true ? "application/yaml" : "application/json");
  if (options.warnings !== undefined && options.warnings.length > 0)
    response.setHeader(
      "Warning",
      options.warnings.map((warning) => `299 - ${JSON.stringify(printable(warning))}`),
    );
  response.writeHead(code, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-cache, private",
    ...options.headers,
  });
  response.end(text);
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?");
}

export function answerText(response: ServerResponse, code: number, text: string): void {
  response.writeHead(code, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": Buffer.byteLength(text),
    "x-content-type-options": "nosniff",
  });
  response.end(text);
}

/** Any thrown value as the Status a client gets; what nobody foresaw is logged and becomes a 500. */
export function statusOf(error: unknown, log: Logger): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof Refusal) return fromRefusal(error);
  log.error("request failed", { error });
  return new StatusError(500, "InternalError", `Internal error occurred: ${errorMessage(error)}`);
}

function fromRefusal(error: Refusal): StatusError {
  const subject = /^([\w-]+)(?:\.([\w.-]+))? "([^"]*)"/.exec(error.message);
  return new StatusError(error.code, error.reason, error.message, {
    ...(subject === null ? {} : { name: subject[3]!, kind: subject[1]! }),
    ...(subject?.[2] === undefined ? {} : { group: subject[2] }),
    ...(error.causes.length === 0 ? {} : { causes: error.causes }),
  });
}

/** Writes a Status. */
export function answerError(response: ServerResponse, status: StatusError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const retry = status.details?.retryAfterSeconds;
  const body: KubeObject = status.toStatus();
  answer(
    response,
    status.code,
    body,
    retry === undefined ? {} : { headers: { "retry-after": String(retry) } },
  );
}
