// SPDX-License-Identifier: Apache-2.0
export type { DetailedFacts } from "./facts.ts";
export { createNodeTask, type NodeTaskOptions, removeLeftoverTasks, taskLabel } from "./run-task.ts";
