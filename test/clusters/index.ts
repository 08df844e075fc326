// SPDX-License-Identifier: Apache-2.0

export { deployShop, Visitor } from "./sample-shop/shop.ts";
export { addSandboxNodes, removeSandboxNode } from "./sandbox/change-nodes.ts";
export { createSandboxCluster } from "./sandbox/create.ts";
export { deleteSandboxCluster } from "./sandbox/delete.ts";
export { nodeCommand, nodeExec } from "./sandbox/exec.ts";
export { contextName } from "./sandbox/kubeconfig.ts";
export { listSandboxClusters } from "./sandbox/list.ts";
export { readPlan } from "./sandbox/state.ts";
