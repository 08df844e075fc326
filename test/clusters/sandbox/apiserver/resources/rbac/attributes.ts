// SPDX-License-Identifier: Apache-2.0

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
