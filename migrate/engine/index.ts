// SPDX-License-Identifier: Apache-2.0
export { Journal } from "./journal.ts";
export {
  defaultRunOptions,
  findMigration,
  listMigrations,
  type Operator,
  resumeMigration,
  rollbackMigration,
  startMigration,
} from "./operate.ts";
export type { Boundary, Outcome, RunEvent, RunOptions } from "./run.ts";
export { type MigrationRecord, readMigration, readStatus, statusOf } from "./status.ts";
