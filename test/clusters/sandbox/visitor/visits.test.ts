// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { waitFor } from "../../../../lib/wait.ts";
import { Visits } from "./visits.ts";

test("once every URL has answered, each visit is answered or counted as lost, with why", async (t) => {
  let failing = true;
  let asked = 0;
  const server = http.createServer((_, response) => {
    asked++;
    response.writeHead(failing ? 502 : 200).end("catalog: ECONNREFUSED\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const visits = new Visits([`http://127.0.0.1:${port}/`], 100);
  const soon = { timeoutMs: 60_000, intervalMs: 10 };
  await waitFor("visits that fail", async () => asked >= 3, soon);
  assert.deepEqual([visits.results().sent, visits.results().counting], [0, false]);
  failing = false;
  await waitFor("visits that count", async () => visits.results().sent >= 5, soon);
  failing = true;
  await waitFor("a loss", async () => visits.results().lost > 0, soon);
  visits.stop();
  await waitFor("the last answers", async () => visits.results().final, soon);
  const { sent, lost, losses } = visits.results();
  assert.ok(lost < sent && sent < asked, `${lost} of ${sent} lost, ${asked} asked`);
  assert.match(losses[0]!.error, /^502: catalog: ECONNREFUSED$/);
});

test("URLs follow the nodes there are: a new one counts once it answers, one that went is not visited", async (t) => {
  const asked = new Map<string, number>();
  let failing = true;
  const server = http.createServer(({ url = "" }, response) => {
    asked.set(url, (asked.get(url) ?? 0) + 1);
    response.writeHead(url === "/new" && failing ? 502 : 200).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const urlOf = (name: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${name}`;
  const visits = new Visits([urlOf("old"), urlOf("stays")], 100);
  const soon = { timeoutMs: 60_000, intervalMs: 10 };
  await waitFor("visits that count", async () => visits.results().sent >= 5, soon);
  visits.follow([urlOf("stays"), urlOf("new")]);
  await waitFor("the new one to be tried", async () => (asked.get("/new") ?? 0) > 3, soon);
  const old = asked.get("/old")!;
  failing = false;
  const tried = asked.get("/new")!;
  await waitFor("the new one to be visited", async () => asked.get("/new")! > tried + 3, soon);
  failing = true;
  await waitFor("a loss there", async () => visits.results().lost > 0, soon);
  visits.stop();
  await waitFor("the last answers", async () => visits.results().final, soon);
  assert.ok(asked.get("/old")! <= old + 1, "what was under way at most");
  assert.ok(visits.results().losses.every(({ url }) => url === urlOf("new")));
});
