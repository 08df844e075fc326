// SPDX-License-Identifier: Apache-2.0
// Status errors, word for word as the real server makes them: clients parse reasons, details and causes.
import type { FieldError, KubeObject } from "./resources/resource.ts";

/** What a Status is about. */
export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: { reason?: string; message?: string; field?: string }[];
  retryAfterSeconds?: number;
}

/** An answer other than success; the server writes it as a Status object. */
export class StatusError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** The Status object clients read. */
  toStatus(): KubeObject {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      ...(this.reason === "" ? {} : { reason: this.reason }),
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

/** The group and plural that an error names. */
export interface Named {
  group: string;
  plural: string;
}

/** `deployments.apps`, or `pods` in the core group. */
function qualified(what: Named): string {
  return what.group === "" ? what.plural : `${what.plural}.${what.group}`;
}

function detailsOf(what: Named, name: string): StatusDetails {
  return {
    ...(name === "" ? {} : { name }),
    ...(what.group === "" ? {} : { group: what.group }),
    kind: what.plural,
  };
}

export function notFound(what: Named, name: string): StatusError {
  return new StatusError(404, "NotFound", `${qualified(what)} "${name}" not found`, detailsOf(what, name));
}

export function alreadyExists(what: Named, name: string): StatusError {
  return new StatusError(
    409,
    "AlreadyExists",
    `${qualified(what)} "${name}" already exists`,
    detailsOf(what, name),
  );
}

export function conflict(what: Named, name: string, why: string): StatusError {
  return new StatusError(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(what)} "${name}": ${why}`,
    detailsOf(what, name),
  );
}

/** The conflict of an update that was based on an older version. */
export function modifiedConflict(what: Named, name: string): StatusError {
  return conflict(
    what,
    name,
    "the object has been modified; please apply your changes to the latest version and try again",
  );
}

export function forbidden(what: Named, name: string, why: string): StatusError {
  const subject =
    name === "" ? `${qualified(what)} is forbidden` : `${qualified(what)} "${name}" is forbidden`;
  return new StatusError(403, "Forbidden", `${subject}: ${why}`, detailsOf(what, name));
}

export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

export function methodNotAllowed(): StatusError {
  return new StatusError(
    405,
    "MethodNotAllowed",
    "the server does not allow this method on the requested resource",
    {},
  );
}

/** A request that field rules refuse: 422 with one cause a field. */
export function invalid(
  kind: { group: string; kind: string },
  name: string,
  errors: FieldError[],
): StatusError {
  const lines = [...new Set(errors.map((error) => `${error.field}: ${error.message}`))];
  const text = lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`;
  const qualifiedKind = kind.group === "" ? kind.kind : `${kind.kind}.${kind.group}`;
  return new StatusError(422, "Invalid", `${qualifiedKind} "${name}" is invalid: ${text}`, {
    ...(name === "" ? {} : { name }),
    ...(kind.group === "" ? {} : { group: kind.group }),
    kind: kind.kind,
    causes: errors.map(({ reason, message, field }) => ({ reason, message, field })),
  });
}

/** A watch or list from a version that is no longer known. */
export function expired(message: string): StatusError {
  return new StatusError(410, "Expired", message);
}

export function serviceUnavailable(message: string): StatusError {
  return new StatusError(503, "ServiceUnavailable", message);
}

export function unauthorized(): StatusError {
  return new StatusError(401, "Unauthorized", "Unauthorized");
}

export function notAcceptable(): StatusError {
  return new StatusError(
    406,
    "NotAcceptable",
    "only the following media types are accepted: application/json, application/yaml",
  );
}

export function unsupportedMediaType(accepted: string): StatusError {
  return new StatusError(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${accepted}`,
  );
}

/** A Status of success, as deletes return it. */
export function successStatus(what: Named, object: KubeObject): KubeObject {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: { ...detailsOf(what, object.metadata.name), uid: object.metadata.uid },
  };
}
