// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Plan } from "../model/plan.ts";
import type { Monitor } from "../model/tools.ts";
import type { StepKinds, StepTools } from "../step-kind.ts";
import { Control } from "./control.ts";
import { applyDefinitions, migrations } from "./definitions.ts";
import { EventWriter } from "./events.ts";
import { execute } from "./execute.ts";
import { Journal } from "./journal.ts";
import { Lease, operatorIdentity } from "./lease.ts";
import { isPassing, RetryingKube } from "./retrying-kube.ts";
import { requireWayBack, rollBack, undoNode } from "./rollback.ts";
import type { Outcome, Run, RunOptions } from "./run.ts";

/** What an operator is given. */
export interface Operator {
  kube: KubeClient;
  kinds: StepKinds;
  tools: StepTools;
  /** Aborts when the user interrupts. */
  signal: AbortSignal;
  monitor?: Monitor;
  options: RunOptions;
  lease?: { durationSeconds: number; renewMs: number };
}

export const defaultRunOptions: RunOptions = {
  errorBudget: 3,
  retryMs: 2_000,
  apiDeadlineMs: 600_000,
  pauseGraceMs: 60_000,
  watchMs: 1_000,
  onNodeFailure: "pause",
  onEvent: () => undefined,
};

const isOver = ({ status }: KubeObject): boolean => ["Completed", "RolledBack"].includes(status?.phase);

/** All migrations of the cluster, the newest first. None when there never was one. */
export async function listMigrations(kube: KubeClient): Promise<KubeObject[]> {
  const list = await kube.find<{ items: KubeObject[] }>(migrations());
  const timeOf = (object: KubeObject): string =>
    `${object.metadata.creationTimestamp ?? ""} ${object.metadata.name}`;
  return (list?.items ?? []).sort((a, b) => (timeOf(a) < timeOf(b) ? 1 : -1));
}

/** The migration of this name; without one the newest that is not over, else the newest. */
export async function findMigration(kube: KubeClient, name?: string): Promise<string> {
  if (name !== undefined) return name;
  const all = await listMigrations(kube);
  const found = all.find((object) => !isOver(object)) ?? all[0];
  if (found === undefined)
    throw new ShuntError("There is no migration in this cluster", {
      code: "NotFound",
      remedy: "Make a plan with shunt migrate plan, and run it with shunt migrate run.",
    });
  return found.metadata.name!;
}

/** Begins a migration and runs it. Refused while another one is not over. */
export async function startMigration(operator: Operator, plan: Plan, name: string): Promise<Outcome> {
  return await withLease(operator, async (kube, lease, control) => {
    await applyDefinitions(kube);
    const unfinished = (await listMigrations(kube)).find((object) => !isOver(object));
    if (unfinished !== undefined)
      throw new ShuntError(
        `Migration ${unfinished.metadata.name} is not over: ${unfinished.status?.phase ?? "Pending"} ${unfinished.status?.reason ?? ""}`.trim(),
        {
          code: "Blocked",
          exitCode: 3,
          remedy: "Go on with shunt migrate resume, or back with shunt migrate rollback.",
        },
      );
    const journal = await Journal.create(kube, name, plan);
    return await drive(operator, kube, journal, lease, control, "Running", execute);
  });
}

/** Goes on with a migration from wherever it stopped. */
export async function resumeMigration(operator: Operator, name?: string): Promise<Outcome> {
  return await withLease(operator, async (kube, lease, control) => {
    const journal = await Journal.open(kube, await findMigration(kube, name));
    if (isOver(journal.object))
      throw new ShuntError(`Migration ${journal.name} is over: ${journal.state.phase}`, {
        code: "Blocked",
        exitCode: 3,
        remedy: "Make a new plan with: shunt migrate plan",
      });
    await journal.setPaused(false);
    return await drive(operator, kube, journal, lease, control, "Running", execute);
  });
}

/** Undoes what was done: all of it, or one node's switch. */
export async function rollbackMigration(operator: Operator, name?: string, node?: string): Promise<Outcome> {
  return await withLease(operator, async (kube, lease, control) => {
    const journal = await Journal.open(kube, await findMigration(kube, name));
    if (node !== undefined && !journal.steps.some((step) => step.node === node))
      throw new ShuntError(`Migration ${journal.name} has no node "${node}"`, {
        code: "NotFound",
        exitCode: 2,
      });
    if (journal.state.phase === "RolledBack") return { phase: "RolledBack", reason: "" };
    if (node === undefined) await requireWayBack(kube, journal);
    await journal.setPaused(false);
    const work = node === undefined ? rollBack : (run: Run) => rollBackNode(run, node);
    return await drive(operator, kube, journal, lease, control, "RollingBack", work);
  });
}

async function rollBackNode(run: Run, node: string): Promise<Outcome> {
  await undoNode(run, node, run.control.signal);
  return { phase: "Paused", reason: `node ${node} was rolled back` };
}

async function withLease(
  operator: Operator,
  work: (kube: RetryingKube, lease: Lease, control: Control) => Promise<Outcome>,
): Promise<Outcome> {
  const { options, signal } = operator;
  const control = new Control(options.pauseGraceMs);
  const trouble = (message: string) => options.onEvent({ event: "trouble", message });
  const never = new AbortController().signal;
  const kube = new RetryingKube(operator.kube, {
    deadlineMs: options.apiDeadlineMs,
    signal: never,
    onTrouble: trouble,
  });
  const lease = await Lease.acquire(kube.with({ signal }), {
    ...(operator.lease ?? { durationSeconds: 15, renewMs: 3_000 }),
    identity: operatorIdentity(),
    signal,
    onLost: (error) => control.lose(error),
    onWait: trouble,
  });
  const interrupt = (): void => {
    options.onEvent({ event: "pausing", message: "interrupted: stopping after the steps under way" });
    control.pause("interrupted by its operator");
  };
  signal.addEventListener("abort", interrupt, { once: true });
  if (signal.aborted) interrupt();
  try {
    return await work(kube, lease, control);
  } finally {
    signal.removeEventListener("abort", interrupt);
    await control.close();
    await lease.release();
  }
}

async function drive(
  operator: Operator,
  kube: RetryingKube,
  journal: Journal,
  lease: Lease,
  control: Control,
  phase: "Running" | "RollingBack",
  work: (run: Run) => Promise<Outcome>,
): Promise<Outcome> {
  const { kinds, tools, monitor, options } = operator;
  const events = new EventWriter(operator.kube, journal.object);
  const run: Run = { kube, journal, lease, control, kinds, tools, monitor, events, options, failures: 0 };
  const startedAt = journal.state.startedAt ?? new Date().toISOString();
  await journal.setState({ phase, reason: "", startedAt, holder: lease.identity });
  events.write("Normal", phase, journal.name);
  const trouble = (message: string) => options.onEvent({ event: "trouble", message });
  // The lease is ours: whatever works on the nodes still was begun by an operator that is dead.
  await tools.nodeTask.sweep?.().then(
    (names) => names.length > 0 && trouble(`removed what an operator left: ${names.join(", ")}`),
    (error: unknown) => trouble(`cannot look for what an operator left: ${errorMessage(error)}`),
  );
  const asked = async () => ((await journal.readPaused()) ? "asked for by shunt migrate pause" : undefined);
  control.watch(options.watchMs, asked, trouble);
  // While going back, losses are what one wants to leave behind.
  if (monitor !== undefined && phase === "Running")
    control.watch(options.watchMs, () => monitor.problem(), trouble);
  let outcome: Outcome;
  try {
    outcome = await work(run);
  } catch (error) {
    if (control.lost !== undefined) throw control.lost;
    if (error instanceof ShuntError && isPassing(error)) throw away(error);
    outcome = { phase: "Paused", reason: errorMessage(error), error: asShuntError(error) };
  }
  const isEnd = outcome.phase === "Completed" || outcome.phase === "RolledBack";
  await lease.assertHeld(new AbortController().signal, options.apiDeadlineMs);
  await journal.setState({
    phase: outcome.phase,
    reason: outcome.reason.slice(0, 1000),
    holder: "",
    current: [],
    ...(isEnd ? { endedAt: new Date().toISOString() } : {}),
  });
  events.write(
    outcome.error === undefined ? "Normal" : "Warning",
    outcome.phase,
    outcome.reason || journal.name,
  );
  await events.flush();
  return outcome;
}

const asShuntError = (error: unknown): ShuntError =>
  error instanceof ShuntError ? error : new ShuntError(errorMessage(error), { cause: error });

const away = (cause: ShuntError): ShuntError =>
  new ShuntError(`The API server has been away for too long: ${cause.message}`, {
    code: "Unreachable",
    remedy: "Nothing is lost: when it is back, shunt migrate resume",
    cause,
  });
