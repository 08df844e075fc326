// SPDX-License-Identifier: Apache-2.0
export { createSandboxCluster, type SandboxHooks } from "./sandbox/create.ts";
export { deleteSandboxCluster } from "./sandbox/delete.ts";
export { nodeCommand, nodeExec } from "./sandbox/exec.ts";
export { packPauseImage, packShuntImage, shuntImage } from "./sandbox/images/shunt-image.ts";
export { contextName } from "./sandbox/kubeconfig.ts";
export { type ClusterSummary, listSandboxClusters } from "./sandbox/list.ts";
export type { ClusterPlan, IpFamily, NodePlan, SandboxOptions } from "./sandbox/plan.ts";
export { clusterDir, nodeDir, readPlan } from "./sandbox/state.ts";
