// SPDX-License-Identifier: Apache-2.0
// The engine against a real API server (ours), with steps that change ConfigMaps.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { KubeClient, type RequestOptions, resourcePath } from "../../lib/kube.ts";
import { ApiError } from "../../lib/kube-errors.ts";
import { sleep, waitFor } from "../../lib/wait.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import type { Plan } from "../model/plan.ts";
import { makePlan, planSteps } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import {
  defaultRunOptions,
  listMigrations,
  type Operator,
  type RunEvent,
  readMigration,
  readStatus,
  resumeMigration,
  rollbackMigration,
  startMigration,
} from "./index.ts";
import { leaseHolder } from "./lease.ts";
import {
  connectWith,
  createWorld,
  credentialsOf,
  fakeKinds,
  type InTheMiddle,
  readWorld,
} from "./testing.ts";

let server: TestApiServer;
let kube: KubeClient;
let plan: Plan;
let initial: string;

beforeEach(async () => {
  plan = makePlan(sampleInventory(2));
  await useServer({});
});

async function useServer(options: Parameters<typeof startTestApiServer>[0]): Promise<void> {
  server = await startTestApiServer(options);
  kube = connectWith(credentialsOf(server.kubeconfig));
  await createWorld(kube, plan);
  initial = await readWorld(kube);
}

afterEach(async () => {
  kube?.close();
  await server?.stop();
});

interface Setup {
  inTheMiddle?: InTheMiddle;
  options?: Partial<Operator["options"]>;
  monitor?: Operator["monitor"];
  signal?: AbortSignal;
  kube?: KubeClient;
  events?: RunEvent[];
}

function operator(setup: Setup = {}): Operator {
  const { inTheMiddle, options, monitor, signal, events } = setup;
  return {
    kube: setup.kube ?? kube,
    kinds: fakeKinds(plan, inTheMiddle),
    tools: { nodeTask: { run: async () => null } },
    signal: signal ?? new AbortController().signal,
    lease: { durationSeconds: 2, renewMs: 100 },
    ...(monitor === undefined ? {} : { monitor }),
    options: {
      ...defaultRunOptions,
      retryMs: 10,
      watchMs: 20,
      onEvent: (event) => void events?.push(event),
      ...options,
    },
  };
}

const failAt =
  (name: string, times = Number.POSITIVE_INFINITY): InTheMiddle =>
  (step, what) => {
    if (step.name === name && what === "applying" && times-- > 0) throw new Error("broken on purpose");
  };

test("a run does every step once, in order, and says so", async () => {
  const order: string[] = [];
  const outcome = await startMigration(
    operator({ inTheMiddle: (step) => void order.push(step.name) }),
    plan,
    "one",
  );
  assert.deepEqual(outcome, { phase: "Completed", reason: "" });
  const names = planSteps(plan).map(({ name }) => name);
  // Nodes of one wave run at the same time: the order within each node is what counts.
  assert.deepEqual([...order].sort(), [...names].sort());
  const before = (a: string, b: string) => assert.ok(order.indexOf(a) < order.indexOf(b), `${a} before ${b}`);
  before("start-probes", "cordon/worker-1");
  before("uncordon/worker-1", "cordon/worker-2");
  before("uncordon/worker-2", "cordon/control-plane");
  before("uncordon/control-plane", "services-handover");
  const status = await readStatus(kube);
  assert.equal(status.phase, "Completed");
  assert.deepEqual(status.steps, { total: names.length, done: names.length, failed: 0 });
  assert.deepEqual(status.nodes, { total: 3, switched: 3 });
  assert.deepEqual([status.current, status.cordoned, status.holder], [[], [], ""]);
  assert.doesNotMatch(await readWorld(kube), /half/);
  const { items } = await kube.list(resourcePath("v1", "events", "default"));
  assert.ok(items.some(({ reason, message }) => reason === "StepDone" && message.includes("drain/worker-1")));
});

test("a failure within the budget is tried again; beyond it the run pauses, and resume ends it", async () => {
  const once = operator({ inTheMiddle: failAt("drain/worker-1", 1) });
  once.options.onEvent = () => undefined;
  assert.equal((await startMigration(once, plan, "one")).phase, "Completed");
  const { steps } = await readMigration(kube);
  assert.equal(steps.find(({ step }) => step.name === "drain/worker-1")!.entry.attempts, 2);
});

test("a run that pauses for a failure says what stands, and resume ends it", async () => {
  const outcome = await startMigration(operator({ inTheMiddle: failAt("activate/worker-1") }), plan, "one");
  assert.equal(outcome.phase, "Paused");
  assert.match(outcome.error!.message, /activate\/worker-1 failed: broken on purpose/);
  const status = await readStatus(kube);
  assert.deepEqual(
    [status.phase, status.current, status.cordoned],
    ["Paused", ["activate/worker-1"], ["worker-1"]],
  );
  await assert.rejects(startMigration(operator(), plan, "two"), { exitCode: 3, message: /one is not over/ });
  assert.equal((await resumeMigration(operator())).phase, "Completed");
  assert.equal((await readStatus(kube)).phase, "Completed");
  await assert.rejects(resumeMigration(operator()), { exitCode: 3, message: /is over/ });
});

test("what was there before is kept from the first attempt on", async () => {
  await startMigration(operator({ inTheMiddle: failAt("cordon/worker-1") }), plan, "one");
  assert.notEqual(await readWorld(kube), initial);
  await rollbackMigration(operator());
  assert.equal(await readWorld(kube), initial);
});

test("rollback from every step restores what was there", async () => {
  plan = makePlan(sampleInventory(1));
  for (const { name } of planSteps(plan)) {
    const outcome = await startMigration(
      operator({ inTheMiddle: failAt(name), options: { errorBudget: 0 } }),
      plan,
      `at-${name.replace("/", "-")}`,
    );
    assert.equal(outcome.phase, "Paused", name);
    assert.equal((await rollbackMigration(operator())).phase, "RolledBack", name);
    assert.equal(await readWorld(kube), initial, name);
  }
  assert.equal((await listMigrations(kube)).length, planSteps(plan).length);
});

test("one node is rolled back, on request or by itself, and a resume switches it again", async () => {
  const failing = operator({
    inTheMiddle: failAt("recreate/worker-2"),
    options: { onNodeFailure: "rollback" },
  });
  const outcome = await startMigration(failing, plan, "one");
  assert.match(outcome.reason, /recreate\/worker-2 failed.*node worker-2 was rolled back/);
  const world = await readWorld(kube);
  assert.match(world, /world-worker-1 .*"activate","whole"/);
  const untouched = (text: string) => text.split("\n").find((line) => line.startsWith("world-worker-2 "));
  assert.equal(untouched(world), untouched(initial));
  assert.deepEqual((await readStatus(kube)).cordoned, []);
  assert.match(
    (await rollbackMigration(operator(), undefined, "worker-1")).reason,
    /worker-1 was rolled back/,
  );
  await assert.rejects(rollbackMigration(operator(), undefined, "nobody"), { message: /no node "nobody"/ });
  assert.equal((await resumeMigration(operator())).phase, "Completed");
});

test("a monitor's problem pauses the run after the step under way", async () => {
  let asked = 0;
  const events: RunEvent[] = [];
  const monitor = {
    problem: async () => (asked > 0 ? "3 requests were lost" : undefined),
    stepChanged: (step: { name: string }, state: string) => {
      if (step.name === "drain/worker-1" && state === "running") asked++;
    },
  };
  const inTheMiddle: InTheMiddle = async (step) => {
    if (step.name === "drain/worker-1") await sleep(200);
  };
  const outcome = await startMigration(operator({ monitor, events, inTheMiddle }), plan, "one");
  assert.deepEqual([outcome.phase, outcome.reason], ["Paused", "3 requests were lost"]);
  const record = await readMigration(kube);
  const stateOf = (name: string) => record.steps.find(({ step }) => step.name === name)!.entry.state;
  assert.deepEqual([stateOf("drain/worker-1"), stateOf("activate/worker-1")], ["done", "pending"]);
});

test("Ctrl-C lets the step under way end; one that takes too long is undone", async () => {
  for (const [graceMs, state] of [
    [10_000, "done"],
    [50, "undone"],
  ] as const) {
    const interrupt = new AbortController();
    const slow: InTheMiddle = async (step, what) => {
      if (step.name !== "drain/worker-1" || what !== "applying") return;
      interrupt.abort("SIGINT");
      await sleep(400);
    };
    const setup = operator({
      signal: interrupt.signal,
      inTheMiddle: slow,
      options: { pauseGraceMs: graceMs },
    });
    const outcome = await startMigration(setup, plan, `grace-${graceMs}`);
    assert.equal(outcome.phase, "Paused");
    const record = await readMigration(kube);
    assert.equal(record.steps.find(({ step }) => step.name === "drain/worker-1")!.entry.state, state);
    assert.equal((await resumeMigration(operator())).phase, "Completed");
    await resetWorld();
  }
});

async function resetWorld(): Promise<void> {
  await kube.delete(resourcePath("v1", "configmaps", "default"), undefined, { labelSelector: "world=yes" });
  for (const { name } of plan.basis.nodes) await kube.delete(resourcePath("v1", "nodes", undefined, name));
  await createWorld(kube, plan);
}

test("a pause that somebody asks for is obeyed", async () => {
  const slow: InTheMiddle = async (step) => {
    if (step.name !== "drain/worker-1") return;
    await kube.patch("/apis/shunt.dev/v1alpha1/migrations/one", "merge", { spec: { paused: true } });
    await sleep(200);
  };
  const outcome = await startMigration(operator({ inTheMiddle: slow }), plan, "one");
  assert.deepEqual([outcome.phase, outcome.reason], ["Paused", "asked for by shunt migrate pause"]);
  assert.equal((await resumeMigration(operator())).phase, "Completed");
});

test("a second operator is refused while the first one is alive", async () => {
  let second: Promise<unknown> | undefined;
  const inTheMiddle: InTheMiddle = async (step) => {
    if (step.name !== "drain/worker-1") return;
    second = resumeMigration(operator());
    await assert.rejects(second, { code: "Held", exitCode: 3, message: /Another operator is at work/ });
  };
  assert.equal((await startMigration(operator({ inTheMiddle }), plan, "one")).phase, "Completed");
  assert.ok(second !== undefined);
});

test("an operator whose lease was taken over writes nothing more", async () => {
  const leasePath = resourcePath("coordination.k8s.io/v1", "leases", "kube-system", "shunt-migration");
  const inTheMiddle: InTheMiddle = async (step) => {
    if (step.name !== "drain/worker-1") return;
    await waitFor(
      "the lease to be stolen",
      async () => {
        const lease = await kube.get(leasePath);
        lease.spec.holderIdentity = "thief";
        return await kube.replace(leasePath, lease);
      },
      { timeoutMs: 5_000 },
    );
    await sleep(300);
  };
  await assert.rejects(startMigration(operator({ inTheMiddle }), plan, "one"), {
    code: "Held",
    message: /thief/,
  });
  const { steps } = await readMigration(kube);
  assert.equal(steps.find(({ step }) => step.name === "drain/worker-1")!.entry.state, "running");
});

test("a holder that is dead is replaced when its lease has run out", async () => {
  await kube.create(resourcePath("coordination.k8s.io/v1", "leases", "kube-system"), {
    metadata: { name: "shunt-migration" },
    spec: { holderIdentity: "elsewhere", leaseDurationSeconds: 1, renewTime: new Date().toISOString() },
  });
  assert.equal((await startMigration(operator(), plan, "one")).phase, "Completed");
});

test("an API server that is away for longer than the lease is survived", async (context) => {
  const dataDir = mkdtempSync(join(tmpdir(), "shunt-engine-"));
  context.after(() => rmSync(dataDir, { recursive: true, force: true }));
  kube.close();
  await server.stop();
  await useServer({ dataDir });
  let restarted: Promise<void> | undefined;
  const inTheMiddle: InTheMiddle = (step) => {
    if (step.name === "drain/worker-1") restarted ??= server.restart(4_000);
  };
  const events: RunEvent[] = [];
  const outcome = await startMigration(operator({ inTheMiddle, events }), plan, "one");
  await restarted;
  assert.equal(outcome.phase, "Completed");
  assert.ok(events.some(({ event }) => event === "trouble"));
});

test("steps of a node that is gone are skipped", async () => {
  await kube.delete(resourcePath("v1", "nodes", undefined, "worker-2"));
  assert.equal((await startMigration(operator(), plan, "one")).phase, "Completed");
  const { steps } = await readMigration(kube);
  const ofNode = steps.filter(({ step }) => step.node === "worker-2");
  assert.ok(ofNode.every(({ entry }) => entry.state === "skipped" && /gone/.test(entry.message!)));
});

test("a journal that the server does not take stops the run before the step", async () => {
  const kinds = fakeKinds(plan);
  const random = Array.from({ length: 120_000 }, () => Math.random());
  kinds.drain = { ...kinds.drain!, record: async () => random };
  const outcome = await startMigration({ ...operator(), kinds }, plan, "one");
  assert.match(outcome.reason, /drain\/worker-1 could not begin.*the journal takes/);
  assert.doesNotMatch(await readWorld(kube), /"drain"/);
  assert.equal((await rollbackMigration(operator())).phase, "RolledBack");
  assert.equal(await readWorld(kube), initial);
});

/** Refuses every write of journals, as etcd does when it has no room left. */
class FullStore extends KubeClient {
  isFull = false;
  override async open(method: string, path: string, options: RequestOptions = {}) {
    if (this.isFull && method !== "GET" && path.includes("migrations/"))
      throw new ApiError(method, 500, "etcdserver: mvcc: database space exceeded");
    return await super.open(method, path, options);
  }
}

for (const name of ["drain/worker-1", "services-handover"])
  test(`a store that gets full during ${name} stops the run with what to do, and a resume ends it`, async () => {
    const full = new FullStore(kube.config);
    const inTheMiddle: InTheMiddle = (step) => {
      if (step.name === name) full.isFull = true;
    };
    await assert.rejects(startMigration(operator({ kube: full, inTheMiddle }), plan, "one"), {
      code: "JournalFull",
      remedy: /Make room.*shunt migrate resume/,
    });
    full.close();
    const status = await readStatus(kube);
    assert.deepEqual([status.phase, status.current], ["Paused", [name]]);
    assert.deepEqual(status.cordoned, name.includes("/") ? ["worker-1"] : []);
    assert.equal((await resumeMigration(operator())).phase, "Completed");
    assert.doesNotMatch(await readWorld(kube), /half/);
  });

/** Renewals of the lease arrive, but their answers come late. */
class LateAnswers extends KubeClient {
  override async open(method: string, path: string, options: RequestOptions = {}) {
    const isRenewal =
      method === "PUT" && path.includes("/leases/") && (options.body as any).spec.holderIdentity !== "";
    if (!isRenewal) return await super.open(method, path, options);
    const { signal, ...rest } = options;
    const response = await super.open(method, path, rest);
    await sleep(300, signal);
    return response;
  }
}

test("the lease is given back at the end, also when a renewal was cut off", async () => {
  const late = new LateAnswers(kube.config);
  assert.equal((await startMigration(operator({ kube: late }), plan, "one")).phase, "Completed");
  late.close();
  assert.equal(await leaseHolder(kube), "");
});

test("what a killed operator left on nodes is swept by whoever goes on, or back", async () => {
  let swept = 0;
  const events: RunEvent[] = [];
  const sweeping = (setup: Setup): Operator => ({
    ...operator(setup),
    tools: {
      nodeTask: { run: async () => null, sweep: async () => (swept++ === 0 ? ["shunt-task-x"] : []) },
    },
  });
  await startMigration(sweeping({ inTheMiddle: failAt("drain/worker-1"), events }), plan, "one");
  assert.ok(events.some(({ event, message }) => event === "trouble" && /shunt-task-x/.test(message)));
  await resumeMigration(sweeping({ inTheMiddle: failAt("drain/worker-1") }));
  assert.equal((await rollbackMigration(sweeping({}))).phase, "RolledBack");
  assert.equal(swept, 3);
});

test("an agent that never gets ready pauses the run with the reason; no cordoned node is forgotten", async () => {
  const kinds = fakeKinds(plan);
  const why = "Timed out after 120 s waiting for the agent of node worker-1 to be ready: it is not Ready";
  kinds.activate = {
    ...kinds.activate!,
    verify: async () => {
      throw new Error(why);
    },
  };
  const outcome = await startMigration({ ...operator(), kinds }, plan, "one");
  assert.deepEqual([outcome.phase, outcome.reason], ["Paused", `activate/worker-1 failed: ${why}`]);
  const status = await readStatus(kube);
  assert.deepEqual([status.reason, status.cordoned], [outcome.reason, ["worker-1"]]);
  await rollbackMigration(operator(), undefined, "worker-1");
  assert.deepEqual((await readStatus(kube)).cordoned, []);
  assert.equal((await resumeMigration(operator())).phase, "Completed");
});
