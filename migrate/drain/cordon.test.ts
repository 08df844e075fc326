// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { RequestOptions } from "../../lib/kube.ts";
import {
  startTestControlPlane,
  type TestControlPlane,
} from "../../test/clusters/sandbox/controller-manager/testing.ts";
import {
  cordon,
  cordonAnnotation,
  drainNode,
  excludeLabel,
  isOwnCordon,
  readCordonRecord,
  uncordon,
} from "./index.ts";
import { answer, FaultyKube, failFirst, nodePath } from "./testing.ts";

let plane: TestControlPlane;
let kube: FaultyKube;
let node: string;
let count = 0;
const by = "migration/test";

before(async () => {
  plane = await startTestControlPlane();
});
after(() => plane?.stop());
beforeEach(async () => {
  kube = new FaultyKube(plane.client.config);
  node = `n${++count}`;
  await plane.kubelets.addNode(node);
});

const cordonByHand = (unschedulable: boolean | null) =>
  plane.client.patch(
    nodePath(node),
    "strategic",
    { spec: { unschedulable } },
    { fieldManager: "kubectl-cordon" },
  );

test("a node is cordoned with a record, and uncordoned without a trace", async () => {
  const record = await cordon(kube, node, { by });
  assert.deepEqual([record.by, record.wasCordoned, record.labelled], [by, false, false]);
  const cordoned = await kube.get(nodePath(node));
  assert.equal(cordoned.spec.unschedulable, true);
  assert.deepEqual(readCordonRecord(cordoned), record);
  assert.ok(isOwnCordon(cordoned, by));
  assert.deepEqual(await cordon(kube, node, { by }), record, "again: the first record stays");
  assert.deepEqual(await uncordon(kube, node, { by }), { uncordoned: true });
  const { spec, metadata } = await kube.get(nodePath(node));
  assert.deepEqual([spec.unschedulable, metadata.annotations?.[cordonAnnotation]], [undefined, undefined]);
});

test("a node that was cordoned before stays cordoned, and the record says by whom", async () => {
  await cordonByHand(true);
  const record = await cordon(kube, node, { by });
  assert.deepEqual([record.wasCordoned, record.before?.by], [true, "kubectl-cordon"]);
  assert.deepEqual((await cordon(kube, node, { by })).wasCordoned, true, "a second time does not claim it");
  const result = await uncordon(kube, node, { by });
  assert.deepEqual([result.uncordoned, result.reason], [false, "it was cordoned before by kubectl-cordon"]);
  const { spec, metadata } = await kube.get(nodePath(node));
  assert.deepEqual([spec.unschedulable, metadata.annotations?.[cordonAnnotation]], [true, undefined]);
});

test("a node that somebody cordoned anew meanwhile is theirs", async () => {
  await cordon(kube, node, { by });
  await cordonByHand(null);
  await cordonByHand(true);
  assert.match((await uncordon(kube, node, { by })).reason ?? "", /kubectl-cordon cordoned it since/);
  assert.equal((await kube.get(nodePath(node))).spec.unschedulable, true);
});

test("a resumed run that finds the node taken over does not claim it", async () => {
  await cordon(kube, node, { by });
  await cordonByHand(null);
  await cordonByHand(true);
  assert.equal((await cordon(kube, node, { by })).wasCordoned, true);
  assert.equal((await uncordon(kube, node, { by })).uncordoned, false);
});

test("another party's cordon, no record and a node that is gone are left alone", async () => {
  await cordon(kube, node, { by: "migration/other" });
  assert.equal((await cordon(kube, node, { by })).by, "migration/other");
  assert.match((await uncordon(kube, node, { by })).reason ?? "", /migration\/other cordoned it/);
  assert.equal((await kube.get(nodePath(node))).spec.unschedulable, true);
  await kube.delete(nodePath(node));
  assert.deepEqual(await uncordon(kube, node, { by }), { uncordoned: false, reason: "the node is gone" });
});

test("load balancers leave the node out for the time asked, and take it back", async () => {
  const excludeFromLoadBalancers = { graceMs: 150 };
  const start = performance.now();
  const record = await cordon(kube, node, { by, excludeFromLoadBalancers });
  assert.ok(performance.now() - start >= 149, "the grace is waited for");
  assert.equal(record.labelled, true);
  assert.equal((await kube.get(nodePath(node))).metadata.labels?.[excludeLabel], "");
  await uncordon(kube, node, { by });
  assert.equal((await kube.get(nodePath(node))).metadata.labels?.[excludeLabel], undefined);
});

test("a load balancer label of somebody else stays", async () => {
  await kube.patch(nodePath(node), "merge", { metadata: { labels: { [excludeLabel]: "theirs" } } });
  assert.equal((await cordon(kube, node, { by, excludeFromLoadBalancers: { graceMs: 0 } })).labelled, false);
  await uncordon(kube, node, { by });
  assert.equal((await kube.get(nodePath(node))).metadata.labels?.[excludeLabel], "theirs");
});

test("cordoning that fails stops with an error", async () => {
  kube.fault = failFirst(1, ({ method }) => method === "PATCH", answer(403, "no"));
  await assert.rejects(cordon(kube, node, { by }), /Cannot cordon node "n\d+": .*403 no/);
  await assert.rejects(cordon(kube, "missing", { by }), /Cannot cordon node "missing"/);
  await assert.rejects(drainNode(kube, node), /not cordoned/);
});

test("a change that was taken and had no effect is no cordon", async () => {
  class Undoing extends FaultyKube {
    override async request<T = any>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
      const object: any = await super.request<T>(method, path, options);
      return method === "PATCH" ? { ...object, spec: { ...object.spec, unschedulable: false } } : object;
    }
  }
  await assert.rejects(cordon(new Undoing(plane.client.config), node, { by }), {
    message: /the node is not cordoned/,
    remedy: /admission webhook/,
  });
});

test("cordoning outlasts a server that is away and a writer that is faster", async () => {
  let conflicts = 0;
  const away = failFirst(2, ({ method }) => method === "GET", answer(503, "away"));
  kube.fault = async (request) => {
    await away(request);
    if (request.method === "PATCH" && conflicts++ === 0)
      await plane.client.patch(nodePath(node), "merge", { metadata: { labels: { faster: "yes" } } });
  };
  assert.equal((await cordon(kube, node, { by })).wasCordoned, false);
  assert.equal(conflicts, 2);
});

test("a dry run changes nothing", async () => {
  for (const dryRun of ["client", "server"] as const)
    assert.equal((await cordon(kube, node, { by, dryRun })).wasCordoned, false);
  const { spec, metadata } = await kube.get(nodePath(node));
  assert.deepEqual([spec.unschedulable, metadata.annotations?.[cordonAnnotation]], [undefined, undefined]);
});
