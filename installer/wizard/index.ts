// SPDX-License-Identifier: Apache-2.0
export { type Ask, presets } from "./ask.ts";
export { type ClusterLook, type ContextLook, formatLook, lookAtCluster, lookAtContexts } from "./look.ts";
export { askPath, askPlan, type WizardFlags, type WizardPlan } from "./paths.ts";
