// SPDX-License-Identifier: Apache-2.0
// Plans that grow by nodes whose names nobody knew when they were made.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { makePlan, planSteps, withNewNodes } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import type { StepKinds } from "../step-kind.ts";
import {
  defaultRunOptions,
  type Operator,
  readMigration,
  readStatus,
  resumeMigration,
  rollbackMigration,
  startMigration,
} from "./index.ts";
import { connectWith, createWorld, credentialsOf, fakeKinds, type InTheMiddle } from "./testing.ts";

const plan = makePlan(sampleInventory(2), { strategy: "blue-green" });
const grown = withNewNodes(plan, ["new-1", "new-2"]);
let server: TestApiServer;
let kube: KubeClient;
beforeEach(async () => {
  server = await startTestApiServer();
  kube = connectWith(credentialsOf(server.kubeconfig));
  await createWorld(kube, grown);
});
afterEach(async () => {
  kube?.close();
  await server?.stop();
});

const nodePath = (name: string): string => resourcePath("v1", "nodes", undefined, name);

/** The fakes of a grown plan; adding makes nodes, and removing takes them away. */
function kindsOf(inTheMiddle: InTheMiddle): StepKinds {
  const kinds = fakeKinds(grown, inTheMiddle);
  const add = kinds["add-group"]!;
  const remove = kinds["remove-node"]!;
  return {
    ...kinds,
    "add-group": {
      ...add,
      async apply(context) {
        await add.apply(context);
        for (const name of ["new-1", "new-2"])
          if ((await kube.find(nodePath(name))) === undefined)
            await kube.create(resourcePath("v1", "nodes"), { metadata: { name } });
        await context.remember({ newNodes: ["new-1", "new-2"] });
        return "2 nodes";
      },
    },
    "remove-node": {
      ...remove,
      async apply(context) {
        await remove.apply(context);
        await kube.deleteIfExists(nodePath(context.step.node!));
        return "gone";
      },
    },
  };
}

function operator(inTheMiddle: InTheMiddle = () => undefined): Operator {
  return {
    kube,
    kinds: kindsOf(inTheMiddle),
    tools: { nodeTask: { run: async () => null } },
    signal: new AbortController().signal,
    lease: { durationSeconds: 2, renewMs: 100 },
    options: { ...defaultRunOptions, retryMs: 10, watchMs: 20, errorBudget: 0 },
  };
}

const failAt =
  (name: string): InTheMiddle =>
  (step, what) => {
    if (step.name === name && what === "applying") throw new Error("broken on purpose");
  };

test("nodes that joined get the steps that are theirs, also by an operator that did not see them join", async () => {
  const order: string[] = [];
  const first = await startMigration(operator(failAt("join-node/new-2")), plan, "one");
  assert.equal(first.phase, "Paused");
  const between = await readStatus(kube);
  assert.equal(between.steps.total, planSteps(grown).length);
  assert.deepEqual(between.nodes, { total: 5, switched: 1 });
  const second = await resumeMigration(operator((step) => void order.push(step.name)));
  assert.deepEqual(second, { phase: "Completed", reason: "" });
  assert.deepEqual(order.slice(0, 2), ["join-node/new-2", "verify-node/new-2"]);
  for (const name of ["remove-kube-proxy-rules/new-1", "remove-old-network/new-2", "verify-residue/new-1"])
    assert.ok(order.indexOf(name) > order.indexOf("remove-node/worker-2"), name);
  const { steps } = await readMigration(kube);
  assert.deepEqual(
    steps.filter(({ entry }) => entry.state !== "done").map(({ step }) => step.name),
    [],
  );
});

test("a rollback before the first removal undoes the new nodes too, and is refused after it", async () => {
  const early = await startMigration(operator(failAt("cordon/worker-1")), plan, "one");
  assert.equal(early.phase, "Paused");
  const undone: string[] = [];
  const back = await rollbackMigration(
    operator((step, what) => void (what === "unmaking" && undone.push(step.name))),
  );
  assert.equal(back.phase, "RolledBack");
  assert.ok(undone.indexOf("join-node/new-1") >= 0);
  assert.ok(undone.indexOf("add-group") > undone.indexOf("join-node/new-1"));

  const late = await startMigration(operator(failAt("cordon/worker-2")), plan, "two");
  assert.equal(late.phase, "Paused");
  assert.equal(await kube.find(nodePath("worker-1")), undefined);
  await assert.rejects(rollbackMigration(operator()), { exitCode: 3, message: /no way back: worker-1/ });
  assert.equal((await readStatus(kube)).phase, "Paused");
  assert.equal((await resumeMigration(operator())).phase, "Completed");
});
