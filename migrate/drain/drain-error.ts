// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";

/** A pod that stands in the way of a drain. */
export interface Blocker {
  /** `namespace/name` */
  pod: string;
  /** What holds it, in words. */
  reason: string;
  /** `namespace/name` of the disruption budgets that hold it. */
  budgets: string[];
  /** What would let it go. */
  unblock: string;
}

/** A drain that did not end well: which pods are left, what holds each, and what would unblock it. */
export class DrainError extends ShuntError {
  readonly blockers: Blocker[];

  constructor(message: string, code: string, blockers: Blocker[], cause?: unknown) {
    const lines = blockers.map(({ pod, reason }) => `\n  ${pod}: ${reason}`);
    const remedies = [...new Set(blockers.map(({ pod, unblock }) => `${pod}: ${unblock}`))];
    super(`${message}${lines.join("")}`, { code, remedy: remedies.join("\n"), cause });
    this.name = "DrainError";
    this.blockers = blockers;
  }
}
