// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { after, describe, it } from "node:test";
import { run } from "../../lib/run.ts";
import { nodeExec } from "../clusters/index.ts";
import { clusterDir, initPid } from "../clusters/sandbox/state.ts";
import { ClusterUnderTest, shunt } from "./cluster-under-test.ts";

const name = "e2e-cluster";

/** What of the machine belongs to the cluster: mounts, cgroups, processes; and the machine's own links. */
function traces(namespaces: ReadonlySet<string>): string[] {
  const found: string[] = [];
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n"))
    if (line.includes(`/${name}`)) found.push(`mount ${line}`);
  for (const mount of readdirSync("/sys/fs/cgroup")) {
    const dir = `/sys/fs/cgroup/${mount}/shunt/${name}`;
    if (existsSync(dir)) found.push(`cgroup ${dir}`);
  }
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const inCluster = readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/shunt/${name}/`);
      if (inCluster || namespaces.has(readlinkSync(`/proc/${pid}/ns/net`))) found.push(`process ${pid}`);
    } catch {
      // It ended while we looked.
    }
  }
  if (existsSync(clusterDir(name))) found.push(`folder ${clusterDir(name)}`);
  return found;
}

/** Network namespaces of the cluster's nodes. */
function nodeNamespaces(nodes: string[]): Set<string> {
  const pids = nodes.map((node) => initPid(name, node)).filter((pid) => pid !== undefined);
  return new Set(pids.map((pid) => readlinkSync(`/proc/${pid}/ns/net`)));
}

async function links(): Promise<string> {
  const { stdout } = await run("ip", ["-json", "link"]);
  return (JSON.parse(stdout) as { ifname: string }[]).map(({ ifname }) => ifname).join(" ");
}

describe("a sandbox cluster", () => {
  let cluster: ClusterUnderTest | undefined;
  after(async () => cluster?.delete());

  it("is created, reaches the internet, and leaves nothing when it is deleted", async () => {
    const linksBefore = await links();
    cluster = await ClusterUnderTest.create(name, ["--workers", "1"]);
    const nodes = await cluster.kubectl(["get", "nodes", "-o", "name"]);
    assert.deepEqual(nodes.stdout.trim().split("\n").sort(), [
      `node/${name}-control-plane`,
      `node/${name}-worker`,
    ]);
    const worker = `${name}-worker`;
    const page = await nodeExec(name, worker, [
      "curl",
      "-sS",
      "--max-time",
      "10",
      "http://world.example/hello",
    ]);
    assert.equal(JSON.parse(page.stdout).client, "172.30.0.3");
    const secure = await nodeExec(name, worker, [
      ...["curl", "-sS", "--max-time", "10", "--cacert", "/etc/kubernetes/pki/internet-ca.crt"],
      "https://api.example.com/",
    ]);
    assert.equal(JSON.parse(secure.stdout).site, "api.example.com");
    const again = await shunt(["cluster", "create", "--name", name, "--kubeconfig", cluster.kubeconfig], {
      allowFailure: true,
    });
    assert.equal(again.exitCode, 1);
    assert.match(again.stderr, /exists already/);

    const namespaces = nodeNamespaces(["switch", `${name}-control-plane`, worker]);
    assert.equal(namespaces.size, 3);
    assert.notEqual(traces(namespaces).length, 0);
    await cluster.shunt(["cluster", "delete", "--name", name]);
    assert.deepEqual(traces(namespaces), []);
    assert.equal(await links(), linksBefore);
    assert.equal(existsSync(cluster.kubeconfig), false, "the kubeconfig held nothing else");
    const second = await cluster.shunt(["cluster", "delete", "--name", name]);
    assert.match(second.stdout, /nothing to do/);
  });

  it("interrupted while it is created leaves nothing", async () => {
    const interrupt = new AbortController();
    setTimeout(() => interrupt.abort(), 2_500);
    const created = shunt(["cluster", "create", "--name", name, "--kubeconfig", `/tmp/${name}.kubeconfig`], {
      signal: interrupt.signal,
      timeoutMs: 120_000,
      killAfterMs: 60_000,
    });
    await assert.rejects(created);
    assert.deepEqual(traces(new Set()), []);
  });
});
