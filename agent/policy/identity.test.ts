// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { ApiError } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import {
  IdentityAllocator,
  type IdentityStore,
  identityRange,
  identityText,
  labelsOfIdentity,
  relevantLabels,
  usualLabels,
} from "./identity.ts";

const labels = (entries: Record<string, string>) => new Map(Object.entries(entries));

/** An API server, and what each node has seen of it so far. */
class Server {
  readonly objects = new Map<string, KubeObject>();
  readonly #turns: () => Promise<unknown>;

  constructor(turns: () => Promise<unknown> = () => turn()) {
    this.#turns = turns;
  }

  /** `sees`: whether a node's list is up to date, or stays as it was at first. */
  node(sees = true): IdentityAllocator {
    const early = [...this.objects.values()];
    const store: IdentityStore = {
      list: () => (sees ? this.objects.values() : early),
      get: async (name) => {
        await this.#turns();
        return this.objects.get(name);
      },
      create: async (object) => {
        await this.#turns();
        const name = object.metadata.name!;
        if (this.objects.has(name))
          throw new ApiError("POST identities", 409, { reason: "AlreadyExists", message: "there is one" });
        this.objects.set(name, object);
        return object;
      },
    };
    return new IdentityAllocator(store);
  }
}

test("the same labels have the same number on every node, others have others", async () => {
  const server = new Server();
  const [one, other] = [server.node(), server.node()];
  const a = labels({ "k8s:app": "a", "k8s:io.kubernetes.pod.namespace": "x" });
  const again = labels({ "k8s:io.kubernetes.pod.namespace": "x", "k8s:app": "a" });
  const [first, second, third] = await Promise.all([
    one.allocate(a),
    other.allocate(again),
    one.allocate(labels({ "k8s:app": "b" })),
  ]);
  assert.equal(first, second);
  assert.notEqual(first, third);
  assert.ok(first >= identityRange.first && first <= identityRange.last);
  assert.equal(server.objects.size, 2);
  assert.deepEqual(server.objects.get(String(first))!.metadata.labels, { "shunt.dev/namespace": "x" });
});

test("whatever nodes ask for at whatever times, a number has one set of labels", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(fc.tuple(fc.nat(3), fc.nat(20)), { minLength: 1, maxLength: 30 }),
      async (scheduler, asks) => {
        const server = new Server(() => scheduler.schedule(Promise.resolve()));
        const nodes = [true, true, false, false].map((sees) => server.node(sees));
        const answers = Promise.all(
          asks.map(async ([node, set]) => ({
            set,
            number: await nodes[node]!.allocate(labels({ "k8s:n": String(set) })),
          })),
        );
        await scheduler.waitFor(answers);
        for (const { set, number } of await answers)
          assert.equal(labelsOfIdentity(server.objects.get(String(number))!).get("k8s:n"), String(set));
      },
    ),
    { numRuns: 200 },
  );
});

test("a number that another set has is passed over, and one that is known is taken", async () => {
  const server = new Server();
  const wanted = await server.node().allocate(labels({ "k8s:app": "a" }));
  server.objects.clear();
  server.objects.set(String(wanted), {
    metadata: { name: String(wanted) },
    spec: { labels: { "k8s:app": "z" } },
  });
  // One node knows of the other set, the other one meets it.
  const numbers = await Promise.all(
    [server.node(true), server.node(false)].map((node) => node.allocate(labels({ "k8s:app": "a" }))),
  );
  assert.deepEqual(numbers, [wanted + 1, wanted + 1]);
});

test("a server that does not answer is asked again", async () => {
  const server = new Server();
  let isDown = true;
  const node = new IdentityAllocator({
    list: () => [],
    get: async (name) => server.objects.get(name),
    create: async (object) => {
      if (isDown) throw new Error("connection refused");
      server.objects.set(object.metadata.name!, object);
      return object;
    },
  });
  await assert.rejects(node.allocate(labels({ "k8s:app": "a" })), /refused/);
  isDown = false;
  assert.ok((await node.allocate(labels({ "k8s:app": "a" }))) > 0);
});

test("labels of rollouts and single pods count only when a policy selects by them", () => {
  const all = labels({
    "k8s:app": "a",
    "k8s:app.kubernetes.io/name": "a",
    "k8s:pod-template-hash": "7d4b",
    "k8s:statefulset.kubernetes.io/pod-name": "a-0",
    "k8s:topology.kubernetes.io/zone": "z1",
    "k8s:example.com/team": "t",
    "k8s:io.kubernetes.pod.namespace": "x",
    "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "x",
  });
  const keys = (selectedBy: string[], patterns: string[] = []) => [
    ...relevantLabels(all, new Set(selectedBy), usualLabels(patterns)).keys(),
  ];
  const usual = [
    ...["k8s:app", "k8s:app.kubernetes.io/name", "k8s:example.com/team", "k8s:io.kubernetes.pod.namespace"],
    "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name",
  ];
  assert.deepEqual(keys([]).toSorted(), usual.toSorted());
  const selected = keys(["k8s:statefulset.kubernetes.io/pod-name", "any:pod-template-hash"]);
  assert.deepEqual(
    selected.toSorted(),
    [...usual, "k8s:pod-template-hash", "k8s:statefulset.kubernetes.io/pod-name"].toSorted(),
  );
  const own = keys(["any:app"], ["pod-template-hash$", "!example\\.com/", "!k8s:app$", "!io\\."]);
  const without = usual.filter((key) => !key.includes("example.com"));
  assert.deepEqual(own.toSorted(), [...without, "k8s:pod-template-hash"].toSorted());
  for (const [pattern, why] of [
    ["", /is empty/],
    ["!", /is empty/],
    ["node:a", /source k8s alone/],
    ["a(", /a\(/],
  ] as const)
    assert.throws(() => usualLabels([pattern]), why);
  assert.equal(identityText(labels({ b: "1", a: "2" })), identityText(labels({ a: "2", b: "1" })));
});
