// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../lib/addresses.ts";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { sleep } from "../../lib/wait.ts";
import { Action } from "./action.ts";
import { type Finalizer, Finalizers } from "./finalizers.ts";
import type { Gate } from "./gate.ts";
import type { ActionResult } from "./report.ts";

/** What every scenario of a run shares. */
export interface RunSettings {
  /** Aborts on Ctrl-C and when the whole run is out of time. */
  signal: AbortSignal;
  /** How often a failed action is tried again. */
  retries: number;
  /** Milliseconds between two attempts. */
  retryDelayMs: number;
  /** Bounds how many actions run at once in the whole run. */
  gate: Gate;
}

/** Thrown by a scenario that finds out only while running that it cannot be tried here, and why. */
export class SkipScenario extends Error {}

/** What a scenario is handed to run: the world, its family, and the means to act, log and clean up. */
export class ScenarioRun<World> {
  readonly world: World;
  readonly family: Family;
  readonly signal: AbortSignal;
  readonly finalizers = new Finalizers(30_000);
  readonly actions: ActionResult[] = [];
  readonly #settings: RunSettings;
  readonly #log: (line: string) => void;

  constructor(world: World, family: Family, settings: RunSettings, log: (line: string) => void) {
    this.world = world;
    this.family = family;
    this.signal = settings.signal;
    this.#settings = settings;
    this.#log = log;
  }

  log(line: string): void {
    this.#log(line);
  }

  /** Registers what undoes what was just done; runs in reverse when the scenario ends, also on Ctrl-C. */
  finally(name: string, run: Finalizer): void {
    this.finalizers.add(name, run);
  }

  /**
   * Runs one action, again after a failure as `--retry` says. A failure is recorded, not thrown, so that the
   * scenario's other actions still tell what they see. Returns whether it passed.
   */
  async action(
    name: string,
    run: (action: Action) => Promise<void>,
    options: { retries?: number } = {},
  ): Promise<boolean> {
    const { gate, retryDelayMs } = this.#settings;
    const attempts = 1 + (options.retries ?? this.#settings.retries);
    const result: ActionResult = { name, outcome: "failed", attempts: 0, durationMs: 0 };
    this.actions.push(result);
    await gate.enter(this.signal);
    const start = Date.now();
    try {
      while (result.attempts < attempts) {
        if (result.attempts > 0) await sleep(retryDelayMs, this.signal);
        result.attempts++;
        if (await this.#attempt(result, run)) return true;
      }
      return false;
    } finally {
      result.durationMs = Date.now() - start;
      gate.leave();
    }
  }

  async #attempt(result: ActionResult, run: (action: Action) => Promise<void>): Promise<boolean> {
    const action = new Action(this.signal, (line) => this.#log(`  [.] ${result.name}: ${line}`));
    try {
      await run(action);
      if (action.asserted === 0)
        throw new ShuntError("the action asserted nothing", { code: "AssertedNothing" });
      result.outcome = "passed";
      delete result.error;
      this.#log(`  [+] ${result.name}`);
      return true;
    } catch (error) {
      this.signal.throwIfAborted();
      result.error = errorMessage(error);
      this.#log(`  [!] ${result.name}: ${result.error} (attempt ${result.attempts})`);
      return false;
    }
  }

  /** Runs an action for every pair of two lists, side by side. */
  async pairs<A extends Named, B extends Named>(
    left: readonly A[],
    right: readonly B[],
    run: (a: A, b: B, action: Action) => Promise<void>,
    options: { retries?: number } = {},
  ): Promise<void> {
    const all = left.flatMap((a) => right.map((b) => ({ a, b })));
    await Promise.all(
      all.map(({ a, b }) => this.action(`${a.name} -> ${b.name}`, (action) => run(a, b, action), options)),
    );
  }

  /** Runs an action for each of a list, side by side. */
  async each<A extends Named>(
    list: readonly A[],
    run: (a: A, action: Action) => Promise<void>,
    options: { retries?: number } = {},
  ): Promise<void> {
    await Promise.all(list.map((a) => this.action(a.name, (action) => run(a, action), options)));
  }
}

interface Named {
  readonly name: string;
}
