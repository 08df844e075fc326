// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { ApiError, isAlreadyExists, isConflict } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { JournalEntry, MigrationPhase, StepState } from "../model/journal.ts";
import type { Plan, PlanStep } from "../model/plan.ts";
import { planHash, planSteps, withNewNodes } from "../plan/index.ts";
import { migrationLabel, migrations, nodeMigrations } from "./definitions.ts";
import { pack, restore, type StoredEntry, store, unpack } from "./packing.ts";

const apiVersion = "shunt.dev/v1alpha1";
const untouched: JournalEntry = { state: "pending", attempts: 0 };

/** What the Migration's status says beside the steps. */
export interface MigrationState {
  phase: MigrationPhase;
  reason: string;
  startedAt?: string;
  endedAt?: string;
  holder: string;
  current: string[];
}

/** Name of the journal object of a node; short and valid for any node's name. */
export function nodeMigrationName(migration: string, node: string): string {
  const name = `${migration}.${node}`;
  if (name.length <= 253) return name;
  return `${migration}.${createHash("sha256").update(node).digest("hex").slice(0, 32)}`;
}

/** Steps that remember `newNodes`. */
const newNodeSteps = ["add-group", "settle-group"];

const keyOf = (step: PlanStep): string => step.kind;

/**
 * What has been done, as objects in the cluster: a Migration with the plan and the steps of the cluster, and one
 * NodeMigration for each node with its steps, so that every write is small and a plan may have any number of nodes.
 */
export class Journal {
  readonly name: string;
  readonly #base: Plan;
  #plan: Plan;
  #steps: PlanStep[];
  #newNodes = "";
  readonly #kube: KubeClient;
  #migration: KubeObject;
  readonly #nodes: Map<string, KubeObject>;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(kube: KubeClient, migration: KubeObject, nodes: KubeObject[]) {
    this.#kube = kube;
    this.#migration = migration;
    this.#nodes = new Map(nodes.map((object) => [object.spec.node, object]));
    this.name = migration.metadata.name!;
    this.#base = readPlan(migration);
    this.#plan = this.#base;
    this.#steps = planSteps(this.#base);
    this.#followNewNodes();
  }

  /** The plan, with the nodes of the new group as far as they have joined. */
  get plan(): Plan {
    return this.#plan;
  }

  get steps(): readonly PlanStep[] {
    return this.#steps;
  }

  /** Nodes that steps of the cluster saw join belong to the plan from then on, also for the next operator. */
  #followNewNodes(): void {
    const stored = this.#migration.status?.steps ?? {};
    const names = newNodeSteps.flatMap((kind) => {
      const entry = stored[kind] as StoredEntry | undefined;
      return entry === undefined ? [] : ((restore(entry).notes?.newNodes ?? []) as string[]);
    });
    if (names.join() === this.#newNodes) return;
    this.#newNodes = names.join();
    this.#plan = withNewNodes(this.#base, names);
    this.#steps = planSteps(this.#plan);
  }

  /** Begins a migration: its plan is in the cluster before anything is done. */
  static async create(kube: KubeClient, name: string, plan: Plan): Promise<Journal> {
    const steps = planSteps(plan);
    const packed = pack(plan);
    if (packed.length > 1024 * 1024)
      throw new ShuntError(`The plan is too large for the journal: ${packed.length} bytes compressed`, {
        code: "JournalFull",
        remedy: "Nothing was changed. Migrate a part of the nodes at a time.",
      });
    const created = await kube.create(migrations(), {
      apiVersion,
      kind: "Migration",
      metadata: { name, labels: { "app.kubernetes.io/managed-by": "shunt" } },
      spec: { strategy: plan.options.strategy, plan: packed, planHash: planHash(plan), paused: false },
    });
    const journal = new Journal(kube, created, []);
    const nodesTotal = new Set(steps.flatMap(({ node }) => node ?? [])).size;
    await journal.#putMigration(() => ({
      ...{ phase: "Pending", reason: "", holder: "", current: [], steps: {} },
      ...{ stepsDone: 0, stepsTotal: steps.length, nodesSwitched: 0, nodesTotal },
    }));
    return journal;
  }

  /** Reads a migration with all that has been done. */
  static async open(kube: KubeClient, name: string): Promise<Journal> {
    const migration = await kube.find(migrations(name));
    if (migration === undefined)
      throw new ShuntError(`There is no migration "${name}"`, {
        code: "NotFound",
        remedy: "See them with: kubectl get migrations",
      });
    const nodes = await kube.list(nodeMigrations(), { labelSelector: `${migrationLabel}=${name}` });
    return new Journal(kube, migration, nodes.items);
  }

  get state(): MigrationState {
    const {
      phase = "Pending",
      reason = "",
      startedAt,
      endedAt,
      holder = "",
      current = [],
    } = this.#migration.status ?? {};
    const times = { ...(startedAt ? { startedAt } : {}), ...(endedAt ? { endedAt } : {}) };
    return { phase, reason, holder, current, ...times };
  }

  get object(): KubeObject {
    return this.#migration;
  }

  /** What is known of a step. */
  entry(step: PlanStep): JournalEntry {
    const stored = this.#stored(step);
    return stored === undefined ? untouched : restore(stored);
  }

  /** How far a step is; cheaper than the whole entry. */
  stepState(step: PlanStep): StepState {
    return this.#stored(step)?.state ?? "pending";
  }

  #stored(step: PlanStep): StoredEntry | undefined {
    const status = step.node === undefined ? this.#migration.status : this.#nodes.get(step.node)?.status;
    return status?.steps?.[keyOf(step)];
  }

  /** Writes what has become of a step; it is in the cluster when this returns. */
  async write(step: PlanStep, entry: JournalEntry): Promise<void> {
    const stored = store(entry, step.name);
    const withStep = (status: any) => ({ ...status, steps: { ...status?.steps, [keyOf(step)]: stored } });
    if (step.node === undefined) return await this.#putMigration(withStep);
    const known = this.#nodes.get(step.node) ?? (await this.#createNode(step.node));
    const status = { ...withStep(known.status), step: step.kind, state: entry.state };
    this.#nodes.set(step.node, await this.#putStatus(nodeMigrations(known.metadata.name), known, status));
  }

  /** Writes how far the whole is. */
  async setState(changes: Partial<MigrationState>): Promise<void> {
    await this.#putMigration((status) => {
      const next = { ...status, ...changes, ...this.#counts() };
      for (const [key, value] of Object.entries(next)) if (value === undefined) delete next[key];
      return next;
    });
  }

  /** Whether somebody asked for a pause. */
  async readPaused(): Promise<boolean> {
    const found = await this.#kube.get(migrations(this.name));
    return found.spec?.paused === true;
  }

  async setPaused(paused: boolean): Promise<void> {
    await this.#kube.patch(migrations(this.name), "merge", { spec: { paused } });
  }

  #counts(): Record<string, number> {
    const done = (step: PlanStep): boolean => ["done", "skipped"].includes(this.stepState(step));
    const switched = this.switchedNodes().length;
    const nodesTotal = new Set(this.steps.flatMap(({ node }) => node ?? [])).size;
    const stepsDone = this.steps.filter(done).length;
    return { stepsDone, stepsTotal: this.steps.length, nodesSwitched: switched, nodesTotal };
  }

  /** Nodes whose pods run on the new network and were proven to work. */
  switchedNodes(): string[] {
    return this.steps
      .filter((step) => step.kind === "verify-node" && this.stepState(step) === "done")
      .map(({ node }) => node!);
  }

  async #createNode(node: string): Promise<KubeObject> {
    const name = nodeMigrationName(this.name, node);
    const { uid } = this.#migration.metadata;
    try {
      return await this.#kube.create(nodeMigrations(), {
        apiVersion,
        kind: "NodeMigration",
        metadata: {
          name,
          labels: { [migrationLabel]: this.name, "app.kubernetes.io/managed-by": "shunt" },
          ownerReferences: [{ apiVersion, kind: "Migration", name: this.name, uid }],
        },
        spec: { migration: this.name, node },
      });
    } catch (error) {
      if (isAlreadyExists(error)) return await this.#kube.get(nodeMigrations(name));
      throw journalError(error);
    }
  }

  /** One writer at a time; what is written is made from the newest state. */
  #putMigration(make: (status: any) => any): Promise<void> {
    const write = async (): Promise<void> => {
      const known = this.#migration;
      this.#migration = await this.#putStatus(migrations(this.name), known, make(known.status));
      this.#followNewNodes();
    };
    const result = this.#queue.then(write);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Puts a status. Others may change the spec meanwhile; a status that others changed means a second operator. */
  async #putStatus(path: string, known: KubeObject, status: any): Promise<KubeObject> {
    let base = known;
    for (;;) {
      try {
        return await this.#kube.request("PUT", `${path}/status`, { body: { ...base, status } });
      } catch (error) {
        if (!isConflict(error)) throw journalError(error);
        const current = await this.#kube.get(path);
        if (same(current.status, status)) return current;
        if (!same(current.status, known.status))
          throw new ShuntError(`The journal ${path} was changed by somebody else`, {
            code: "Held",
            exitCode: 3,
            remedy: "See who runs it with: shunt migrate status",
          });
        base = current;
      }
    }
  }
}

const same = (a: any, b: any): boolean => isDeepStrictEqual(normal(a), normal(b));
const normal = (status: any): any => JSON.parse(JSON.stringify(status ?? {}));

/** The plan that a Migration carries. */
export function readPlan(migration: KubeObject): Plan {
  try {
    return unpack(migration.spec?.plan ?? "") as Plan;
  } catch (cause) {
    throw new ShuntError(`Migration ${migration.metadata.name} does not hold a readable plan`, {
      remedy: "Restore the object from a backup.",
      cause,
    });
  }
}

function journalError(error: unknown): unknown {
  const isFull =
    error instanceof ApiError &&
    (error.status === 413 || /too large|space exceeded|quota/i.test(errorMessage(error)));
  if (!isFull) return error;
  return new ShuntError(`The journal cannot be written: ${errorMessage(error)}`, {
    code: "JournalFull",
    remedy: "Make room in the API server's store, then: shunt migrate resume",
    cause: error,
  });
}
