// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../lib/addresses.ts";
import type { ScenarioRun } from "./scenario-run.ts";

/** One thing that must hold, run once for each address family or once in all. */
export interface Scenario<World> {
  /** Stable, unique within its test; part of what `--test` matches. */
  name: string;
  /** The sentence that it proves. */
  description: string;
  /** Run for each of the cluster's families (the default), or once when the family does not matter. */
  families?: "each" | "once";
  /** Why it cannot run here; undefined when it can. */
  skip?(world: World, family: Family): string | undefined;
  run(t: ScenarioRun<World>): Promise<void>;
}

/** Scenarios that belong together. Those of one test run side by side, unless it says otherwise. */
export interface Test<World> {
  name: string;
  description: string;
  /** Runs by itself, after the tests that do not mind company: it disturbs something or measures it. */
  alone?: boolean;
  /** Its scenarios run one after another: they are in each other's way. */
  inTurn?: boolean;
  scenarios: readonly Scenario<World>[];
}

/** One scenario in one family: what is run, reported and counted. */
export interface Case<World> {
  test: Test<World>;
  scenario: Scenario<World>;
  family: Family;
  /** `pod-to-pod [ipv4]`, or the scenario's name when it runs once. */
  title: string;
}

/** Every case of these tests for these families, in order; a test left without one is not in it. */
export function expandCases<World>(
  tests: readonly Test<World>[],
  families: readonly Family[],
): Case<World>[][] {
  return tests
    .map((test) =>
      test.scenarios.flatMap((scenario) =>
        scenario.families === "once"
          ? [{ test, scenario, family: families[0] ?? "ipv4", title: scenario.name }]
          : families.map((family) => ({ test, scenario, family, title: `${scenario.name} [${family}]` })),
      ),
    )
    .filter((cases) => cases.length > 0);
}
