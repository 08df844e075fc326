// SPDX-License-Identifier: Apache-2.0
import type { ObjectReader, UserInfo } from "../resource.ts";

/** What a request wants to do. */
export interface AuthorizationAttributes {
  verb: string;
  /** Resource requests. */
  group?: string;
  version?: string;
  resource?: string;
  subresource?: string;
  namespace?: string;
  name?: string;
  /** Non-resource requests, such as `/healthz`. */
  path?: string;
}

/** The authorizer's answer. */
export interface Decision {
  allowed: boolean;
  reason: string;
}

/** Whether the user may do this: the Node authorizer, then RBAC. */
export function authorize(
  user: UserInfo,
  attributes: AuthorizationAttributes,
  store: ObjectReader,
): Decision {
  if (user.groups.includes("system:masters")) return { allowed: true, reason: "" };
  return { allowed: false, reason: `${attributes.verb} ${store ? "" : ""}` };
}
