// SPDX-License-Identifier: Apache-2.0
// What a migration has done so far, as the cluster keeps it.
import type { Strategy } from "./plan.ts";

/** JSON that fits into the journal. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json | undefined };

export type StepState = "pending" | "running" | "done" | "skipped" | "failed" | "undoing" | "undone";

/** What the journal holds of one step; written before and after it. */
export interface JournalEntry {
  state: StepState;
  startedAt?: string;
  endedAt?: string;
  /** How often it was begun. */
  attempts: number;
  /** One line about what came of it, or why it failed. */
  message?: string;
  /** What was there before, for undo; written before the first change and never again. */
  before?: Json;
  /** What it keeps for its own next attempt. */
  notes?: { [key: string]: Json | undefined };
}

export type MigrationPhase =
  | "Pending"
  | "Running"
  | "Paused"
  | "RollingBack"
  | "RolledBack"
  | "Completed"
  | "Failed";

/** How far a migration is, as `shunt migrate status` says it. */
export interface MigrationStatus {
  name: string;
  phase: MigrationPhase;
  /** Why it is paused or failed. */
  reason: string;
  strategy: Strategy;
  startedAt?: string;
  endedAt?: string;
  steps: { total: number; done: number; failed: number };
  nodes: { total: number; switched: number };
  /** Steps under way now, or the ones at which it stopped. */
  current: string[];
  /** Nodes that are cordoned by the migration at the moment. */
  cordoned: string[];
  /** Who runs it, as in the Lease; empty when nobody does. */
  holder: string;
}
