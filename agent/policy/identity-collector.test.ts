// SPDX-License-Identifier: Apache-2.0
// Numbers that nobody has go, those that somebody takes stay; whichever agents look.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { customResourceDefinitions } from "../../installer/manifests.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { Informer } from "../../lib/kube-informer.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { createLogger } from "../../lib/log.ts";
import { sleep, waitFor } from "../../lib/wait.ts";
import { make } from "../../migrate/compare/testing.ts";
import { connectWith, credentialsOf } from "../../migrate/engine/testing.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { identityText } from "./identity.ts";
import { IdentityCollector, unusedSince } from "./identity-collector.ts";

const path = (name?: string) => resourcePath("shunt.dev/v1alpha1", "identities", undefined, name);
const log = createLogger(() => undefined);
const textOf = (app: string): string => identityText(new Map([["k8s:app", app]]));
const numbers = { web: "300", db: "301" } as const;
const times = { periodMs: 20, unusedMs: 400 };

let folder: string;
let server: TestApiServer;
let kube: KubeClient;
let stop: AbortController;
let agents: { collector: IdentityCollector; client: KubeClient }[];
let running: Promise<void>[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "shunt-identities-"));
  server = await startTestApiServer({ dataDir: folder });
  kube = connectWith(credentialsOf(server.kubeconfig));
  for (const definition of customResourceDefinitions()) await make(kube, definition);
  await waitFor("the kinds", async () => (await kube.find(path())) !== undefined, { timeoutMs: 10_000 });
  for (const [app, name] of Object.entries(numbers))
    await kube.create(path(), {
      ...{ apiVersion: "shunt.dev/v1alpha1", kind: "ShuntIdentity", metadata: { name } },
      spec: { labels: { "k8s:app": app } },
    });
  stop = new AbortController();
  agents = [];
  running = [];
});
afterEach(async () => {
  stop.abort();
  for (const { collector, client } of agents) {
    await collector.stop();
    client.close();
  }
  await Promise.all(running);
  kube.close();
  await server.stop();
  rmSync(folder, { recursive: true });
});

/** An agent; `used`: the labels that pods have, and where. It counts what it writes. */
async function startAgent(nodeName: string, used: Map<string, "here" | "elsewhere">, isKnown = () => true) {
  const client = connectWith(credentialsOf(server.kubeconfig));
  const writes: string[] = [];
  const send = client.request.bind(client);
  client.request = async (method, of, options) => {
    const answer = await send<any>(method, of, options);
    if (method !== "GET") writes.push(`${method} ${of.split("/").at(-1)}`);
    return answer;
  };
  const informer = new Informer(client, path(), log);
  running.push(informer.run(stop.signal));
  await informer.whenSynced(stop.signal);
  const collector = new IdentityCollector({
    ...{ client, nodeName, nodeCount: () => 0, log, times, isKnown },
    list: () => informer.list(),
    isUsed: (text) => used.get(text),
  });
  collector.start();
  agents.push({ collector, client });
  return { writes };
}

const find = (name: string) => kube.find<KubeObject>(path(name));
const isMarked = async (name: string) =>
  (await find(name))?.metadata.annotations?.[unusedSince] !== undefined;
const within = (what: string, condition: () => Promise<boolean>) =>
  waitFor(what, condition, { timeoutMs: 10_000, intervalMs: 20 });

test("a number that nobody has is marked and goes; one that pods have stays as it is", async () => {
  const one = await startAgent("n1", new Map([[textOf("web"), "here"]]));
  const two = await startAgent("n2", new Map([[textOf("web"), "elsewhere"]]));
  await within("a mark", () => isMarked(numbers.db));
  await within("it to go", async () => (await find(numbers.db)) === undefined);
  assert.equal(await isMarked(numbers.web), false);
  const writes = [...one.writes, ...two.writes].toSorted();
  assert.deepEqual(writes, ["DELETE 301", "PATCH 301"]);
});

test("whoever takes a marked number keeps it", async () => {
  const used = new Map<string, "here" | "elsewhere">([
    [textOf("web"), "here"],
    [textOf("db"), "here"],
  ]);
  await startAgent("n1", used);
  const early = new Map<string, "here" | "elsewhere">([[textOf("web"), "elsewhere"]]);
  await startAgent("n2", early);
  // n2 does not know of the pod yet: it marks, and n1 takes the mark away, for as long as that goes on.
  await sleep(3 * times.unusedMs);
  assert.notEqual(await find(numbers.db), undefined);
  early.set(textOf("db"), "elsewhere");
  await within("no mark", async () => !(await isMarked(numbers.db)));
  used.delete(textOf("db"));
  early.delete(textOf("db"));
  await within("it to go", async () => (await find(numbers.db)) === undefined);
});

test("an agent that does not know all pods collects nothing", async () => {
  const { writes } = await startAgent("n1", new Map(), () => false);
  await sleep(2 * times.unusedMs);
  assert.deepEqual(writes, []);
});
