// SPDX-License-Identifier: Apache-2.0
export { findServiceCidrs, gatherFacts } from "./facts.ts";
export { installManifests, installSteps } from "./install.ts";
export { type InstallRecord, readRecord, writeRecord } from "./record.ts";
export { formatStatus, readStatus } from "./status.ts";
export { uninstallSteps } from "./uninstall.ts";
export { defaultValues, loadValues, parseSet, type Values } from "./values.ts";
