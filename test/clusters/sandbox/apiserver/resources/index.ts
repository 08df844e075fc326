// SPDX-License-Identifier: Apache-2.0
// The kinds the small API server serves.
export { checkNamespaceLifecycle } from "./admission/namespace-lifecycle.ts";
export { bootstrapObjects } from "./bootstrap.ts";
export type { ClusterOptions } from "./cluster-options.ts";
export { invalid, refuse } from "./field-errors.ts";
export { OpenApi, SWAGGER_PROTOBUF } from "./openapi/openapi.ts";
export { type AuthorizationAttributes, authorize, type Decision, listRules } from "./rbac/authorize.ts";
export { Registry } from "./registry.ts";
export * from "./resource.ts";
