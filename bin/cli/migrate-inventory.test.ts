// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { Command } from "commander";
import { parse } from "yaml";
import { ShuntError } from "../../lib/errors.ts";
import { ApiError } from "../../lib/kube-errors.ts";
import { fakeCluster } from "../../migrate/inventory/testing.ts";
import { flannelConf, healthy, pod } from "../../migrate/preflight/testing.ts";
import type { CliEnv } from "./env.ts";
import { inventoryCommand, preflightCommand } from "./migrate-inventory.ts";

const folder = mkdtempSync(join(tmpdir(), "shunt-inventory-"));
const asked: string[] = [];
let server: http.Server;
let objects = healthy();

before(async () => {
  server = http.createServer(async (request, response) => {
    asked.push(request.method ?? "");
    const url = new URL(request.url ?? "/", "http://localhost");
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    try {
      const query = Object.fromEntries(url.searchParams);
      answer(200, await fakeCluster({ objects }).get(url.pathname, { query }));
    } catch (error) {
      answer(error instanceof ApiError ? error.status : 500, { kind: "Status", message: String(error) });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  writeFileSync(
    join(folder, "config"),
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        { name: "c", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } },
      ],
      users: [{ name: "u", user: {} }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
});
after(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

const onOurPort = () => flannelConf({ Type: "vxlan", Port: 8473 });

/** Runs one of the commands; returns what it printed and its exit code. */
async function run(...args: string[]): Promise<{ out: string; exitCode: number }> {
  let out = "";
  const stdout = new Writable({
    write(chunk, _, done) {
      out += chunk;
      done();
    },
  });
  const env = { stdin: process.stdin, stdout, stderr: stdout, env: {}, signal: new AbortController().signal };
  const root = new Command("migrate").exitOverride();
  root.addCommand(inventoryCommand(env as CliEnv)).addCommand(preflightCommand(env as CliEnv));
  try {
    await root.parseAsync([...args, "--kubeconfig", join(folder, "config")], { from: "user" });
    return { out, exitCode: 0 };
  } catch (error) {
    if (error instanceof ShuntError) return { out, exitCode: error.exitCode };
    throw error;
  }
}

describe("shunt migrate inventory", () => {
  test("tells the network in a table, and only reads", async () => {
    asked.length = 0;
    const { out, exitCode } = await run("inventory");
    assert.equal(exitCode, 0);
    assert.match(out, /Pod network +flannel \(vxlan/);
    assert.match(out, /kube-proxy +daemonset, mode iptables/);
    assert.deepEqual([...new Set(asked)], ["GET"]);
  });
  test("prints the same as json and yaml", async () => {
    const json = JSON.parse((await run("inventory", "-o", "json")).out);
    const yaml = parse((await run("inventory", "-o", "yaml")).out);
    assert.equal(json.network.kind, "flannel");
    assert.equal(json.clusterUid, "cluster-uid");
    assert.deepEqual({ ...yaml, takenAt: "" }, { ...json, takenAt: "" });
  });
  test("refuses an unknown format", async () => {
    assert.equal((await run("inventory", "-o", "xml")).exitCode, 2);
  });
});

describe("shunt migrate preflight", () => {
  test("ends with 0 when nothing blocks", async () => {
    objects = healthy();
    const { out, exitCode } = await run("preflight");
    assert.equal(exitCode, 0);
    assert.match(out, /0 block, 0 warnings, 6 notes/);
  });
  test("ends with 3 when something blocks, and says what to do", async () => {
    objects = [...healthy(), pod("lonely", { owner: null })];
    const { out, exitCode } = await run("preflight");
    assert.equal(exitCode, 3);
    assert.match(out, /BLOCKS +Pod default\/lonely: .*\n(?:.*\n)*.*--force.*\[drain-unmanaged\]/);
  });
  test("ends with 0 when what blocks is accepted or allowed", async () => {
    assert.equal((await run("preflight", "--force")).exitCode, 0);
    assert.equal((await run("preflight", "--accept", "drain-unmanaged")).exitCode, 0);
  });
  test("judges with the agent's values: chosen ones, and those of --set", async () => {
    objects = [...healthy().filter(({ metadata }) => metadata.name !== "kube-flannel-cfg"), onOurPort()];
    assert.doesNotMatch((await run("preflight")).out, /tunnel-port-taken/);
    const { out, exitCode } = await run("preflight", "--set", "tunnelPort=8473");
    assert.equal(exitCode, 3);
    assert.match(out, /UDP port 8473.*\n(?:.*\n)*.*\[tunnel-port-taken\]/);
    assert.equal((await run("preflight", "--set", "tunelPort=1")).exitCode, 2);
    objects = [...healthy(), pod("lonely", { owner: null })];
  });
  test("prints json with every field of a finding", async () => {
    const { out, exitCode } = await run("preflight", "-o", "json");
    const { blocked, findings } = JSON.parse(out);
    assert.equal(exitCode, 3);
    assert.equal(blocked, true);
    assert.deepEqual(Object.keys(findings[0]).sort(), ["id", "object", "problem", "remedy", "severity"]);
  });
  test("prints a page that loads nothing and holds no markup of the cluster's", async () => {
    objects = [...healthy(), pod("x", { owner: null, namespace: "<script>alert(1)</script>" })];
    const { out } = await run("preflight", "-o", "html");
    assert.match(out, /^<!doctype html>/);
    assert.doesNotMatch(out, /<script|https?:\/\/(?!127\.0\.0\.1)|src=/);
    assert.match(out, /&lt;script&gt;/);
  });
});
