// SPDX-License-Identifier: Apache-2.0
// The kinds the small API server serves.
export { bootstrapObjects } from "./bootstrap.ts";
export { OpenApi, SWAGGER_PROTOBUF } from "./openapi/openapi.ts";
export { type AuthorizationAttributes, authorize, listRules } from "./rbac/authorize.ts";
export { Registry } from "./registry.ts";
export * from "./resource.ts";
