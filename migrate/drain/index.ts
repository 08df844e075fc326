// SPDX-License-Identifier: Apache-2.0
export { type CordonOptions, cordon, type UncordonResult, uncordon } from "./cordon.ts";
export {
  type CordonRecord,
  cordonAnnotation,
  excludeLabel,
  isOwnCordon,
  readCordonRecord,
} from "./cordon-record.ts";
export { type Blocker, DrainError } from "./drain-error.ts";
export { type DrainResult, drainNode, selectNodes } from "./drain-node.ts";
export type { DrainEvent, DrainOptions, DryRun } from "./options.ts";
