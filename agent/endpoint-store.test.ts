// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Endpoint, EndpointStore } from "./endpoint-store.ts";

const folder = mkdtempSync(join(tmpdir(), "shunt-endpoints-"));
after(() => rmSync(folder, { recursive: true }));

const endpoint: Endpoint = {
  id: 7,
  containerId: "abc",
  ifName: "eth0",
  netns: "/run/netns/x",
  podNamespace: "default",
  podName: "web",
  podUid: "u",
  device: "shv0123456789",
  mac: "0a:00:00:00:00:01",
  hostMac: "0a:00:00:00:00:02",
  addresses: ["10.0.0.2"],
  gateways: ["10.0.0.1"],
  mtu: 1450,
  ready: true,
};

test("what one agent writes the next one reads, and broken files are put away", async () => {
  await new EndpointStore(folder).load(() => assert.fail());
  const store = new EndpointStore(folder);
  await store.load(() => assert.fail());
  await store.put(endpoint);
  writeFileSync(join(folder, "half.eth0.json"), '{"id":');
  writeFileSync(join(folder, "other.eth0.json"), JSON.stringify({ ...endpoint, containerId: "../x" }));
  writeFileSync(join(folder, "abc.eth0.json.tmp"), "");
  const broken: string[] = [];
  const next = new EndpointStore(folder);
  await next.load((file) => broken.push(file));
  assert.deepEqual(next.list(), [endpoint]);
  assert.equal(broken.length, 3);
  assert.deepEqual(readdirSync(folder), ["abc.eth0.json"]);
  await next.remove(endpoint);
  await next.remove(endpoint);
  assert.deepEqual(readdirSync(folder), []);
});

test("a folder that cannot be written is named with what to do", async () => {
  const store = new EndpointStore("/proc/nonexistent");
  await assert.rejects(store.put(endpoint), /Cannot write endpoint state \/proc\/nonexistent/);
});
