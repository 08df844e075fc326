// SPDX-License-Identifier: Apache-2.0
import type http from "node:http";
import { ShuntError } from "./errors.ts";

/** An answer of the API server that is not 2xx, with its Status object. */
export class ApiError extends ShuntError {
  readonly status: number;
  /** Status.reason, for example NotFound, AlreadyExists, Conflict, Forbidden, Expired. */
  readonly reason: string;
  /** The Status object as received, if it was one. */
  readonly body: any;
  readonly retryAfterSeconds: number | undefined;

  constructor(what: string, status: number, body: any, headers: http.IncomingHttpHeaders = {}) {
    const detail = typeof body?.message === "string" ? body.message : String(body ?? "").slice(0, 500);
    super(`${what}: ${status} ${detail}`.trim(), { code: body?.reason ?? `HTTP${status}` });
    this.name = "ApiError";
    this.status = status;
    this.reason = body?.reason ?? "";
    this.body = body;
    const after = Number(headers["retry-after"]);
    this.retryAfterSeconds = Number.isFinite(after) ? after : undefined;
  }
}

export const isNotFound = (error: unknown): boolean => error instanceof ApiError && error.status === 404;
export const isConflict = (error: unknown): boolean =>
  error instanceof ApiError && error.status === 409 && error.reason !== "AlreadyExists";
export const isAlreadyExists = (error: unknown): boolean =>
  error instanceof ApiError && error.reason === "AlreadyExists";
