// SPDX-License-Identifier: Apache-2.0
// Reviews: objects that are answered, not stored.
import type { Call } from "./api.ts";
import { answer } from "./http-answer.ts";
import { type Exchange, readObject } from "./resource-handler.ts";
import {
  type AuthorizationAttributes,
  authorize,
  type KubeObject,
  listRules,
  type UserInfo,
} from "./resources/index.ts";
import { badRequest, methodNotAllowed } from "./status.ts";
import { bindPod } from "./subresources/binding.ts";

/** Answers a TokenReview, a SubjectAccessReview, a Binding and their like. */
export async function handleReview(call: Call, { request, response }: Exchange): Promise<void> {
  if (call.info.verb !== "create") throw methodNotAllowed();
  const review = await readObject(call, request);
  review.metadata.creationTimestamp ??= null;
  if (call.resource.plural === "bindings") return answer(response, 201, bindPod(call, review));
  const status = statusFor(call, review);
  answer(response, 201, { ...review, status });
}

function statusFor(call: Call, review: KubeObject): KubeObject {
  const { user, api } = call;
  const spec = review.spec ?? {};
  switch (call.resource.plural) {
    case "tokenreviews":
      return reviewToken(call, spec);
    case "selfsubjectreviews":
      return { userInfo: user };
    case "selfsubjectaccessreviews":
      return access(call, user, spec);
    case "localsubjectaccessreviews":
    case "subjectaccessreviews": {
      if (!spec.user && !(spec.groups?.length > 0))
        throw badRequest("spec.user: Required value: at least one of user or group must be specified");
      return access(call, { username: spec.user ?? "", groups: spec.groups ?? [] }, spec);
    }
    case "selfsubjectrulesreviews":
      if (!spec.namespace) throw badRequest("no namespace on request");
      return listRules(user, spec.namespace, api.store);
    default:
      throw methodNotAllowed();
  }
}

function reviewToken(call: Call, spec: KubeObject): KubeObject {
  const { tokens, store } = call.api;
  const audiences: string[] | undefined = spec.audiences?.length > 0 ? spec.audiences : undefined;
  const checked = tokens.check(String(spec.token ?? ""), store, audiences);
  if (checked === undefined) return { authenticated: false, user: {}, error: "invalid bearer token" };
  return { authenticated: true, user: checked.user, audiences: checked.audiences };
}

function access(call: Call, user: UserInfo, spec: KubeObject): KubeObject {
  const { resourceAttributes: resource, nonResourceAttributes: path } = spec;
  if (!resource === !path)
    throw badRequest("exactly one of nonResourceAttributes or resourceAttributes must be specified");
  const attributes: AuthorizationAttributes = path
    ? { verb: path.verb ?? "", path: path.path ?? "" }
    : {
        verb: resource.verb ?? "",
        group: resource.group ?? "",
        version: resource.version ?? "",
        resource: resource.resource ?? "",
        subresource: resource.subresource ?? "",
        ...(resource.namespace ? { namespace: resource.namespace } : {}),
        name: resource.name ?? "",
      };
  const { allowed, reason } = authorize(user, attributes, call.api.store);
  return { allowed, ...(reason === "" ? {} : { reason }) };
}
