// SPDX-License-Identifier: Apache-2.0
import { type Call, timestamp } from "../api.ts";
import type { KubeObject } from "../resources/index.ts";
import { conflict, invalid, notFound } from "../status.ts";
import type { TokenRequest } from "../tokens.ts";
import { getObject } from "../write.ts";

const DEFAULT_SECONDS = 3600;
const LEAST_SECONDS = 600;
const MOST_SECONDS = 365 * 24 * 3600;

/** Issues a token for a service account, bound to an object if asked. Throws a 404, 409 or 422. */
export function requestToken(call: Call, review: KubeObject): KubeObject {
  const { info, api } = call;
  const account = getObject(call);
  const spec = review.spec ?? {};
  const wanted = spec.expirationSeconds ?? DEFAULT_SECONDS;
  if (!Number.isInteger(wanted) || wanted < LEAST_SECONDS)
    throw invalid({ group: "authentication.k8s.io", kind: "TokenRequest" }, info.name, [
      {
        field: "spec.expirationSeconds",
        reason: "FieldValueInvalid",
        message: `Invalid value: ${wanted}: may not specify a duration less than 10 minutes`,
      },
    ]);
  const expirationSeconds = Math.min(wanted, MOST_SECONDS);
  const audiences: string[] = spec.audiences?.length > 0 ? spec.audiences : [api.tokens.audience];
  const bound = spec.boundObjectRef ? boundObject(call, spec.boundObjectRef) : undefined;
  const request: TokenRequest = { account, audiences, expirationSeconds };
  if (bound !== undefined) {
    const { name, uid } = bound.metadata;
    request.bound = { kind: bound.kind, apiVersion: "v1", name, uid };
    const node =
      bound.kind === "Pod" ? api.store.get("", "nodes", undefined, bound.spec?.nodeName ?? "") : undefined;
    if (node !== undefined) request.node = { name: node.metadata.name, uid: node.metadata.uid };
  }
  const { token, expires } = api.tokens.issue(request);
  const { name, namespace } = account.metadata;
  return {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { name, namespace, creationTimestamp: timestamp() },
    spec: { ...spec, audiences, expirationSeconds, boundObjectRef: spec.boundObjectRef ?? null },
    status: { token, expirationTimestamp: timestamp(expires * 1000) },
  };
}

function boundObject(call: Call, reference: KubeObject): KubeObject {
  const plural = reference.kind === "Pod" ? "pods" : reference.kind === "Secret" ? "secrets" : undefined;
  if (plural === undefined)
    throw invalid({ group: "authentication.k8s.io", kind: "TokenRequest" }, call.info.name, [
      {
        field: "spec.boundObjectRef",
        reason: "FieldValueInvalid",
        message: `Invalid value: "${reference.kind}": cannot bind token to object of this kind`,
      },
    ]);
  const found = call.api.store.get("", plural, call.info.namespace, reference.name);
  if (found === undefined) throw notFound({ group: "", plural }, reference.name);
  if (reference.uid && reference.uid !== found.metadata.uid)
    throw conflict(
      { group: "", plural },
      reference.name,
      `the UID in the bound object reference (${reference.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  return found;
}
