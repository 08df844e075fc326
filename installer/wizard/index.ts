// SPDX-License-Identifier: Apache-2.0
export { type Ask, presets } from "./ask.ts";
export type { WizardFlags, WizardPlan } from "./flags.ts";
export { type ClusterLook, type ContextLook, formatLook, lookAtCluster, lookAtContexts } from "./look.ts";
export { askPath, askPlan } from "./paths.ts";
