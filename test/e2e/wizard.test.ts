// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { nodeExec } from "../clusters/index.ts";
import { ClusterUnderTest, idlePod, shunt } from "./cluster-under-test.ts";
import { Terminal } from "./terminal.ts";

const start = "clear; ./shunt wizard; echo wizard ended with $?";
let cluster: ClusterUnderTest;
let terminal: Terminal;

beforeEach(async () => {
  terminal = await Terminal.open({ KUBECONFIG: cluster.kubeconfig });
});
afterEach(async () => terminal.close());

/** Runs the wizard where nobody can answer. */
const unattended = (words: string[] = []) =>
  shunt(["wizard", ...words], { env: { KUBECONFIG: cluster.kubeconfig }, allowFailure: true });

describe("the wizard on a cluster without a pod network", () => {
  before(async () => {
    cluster = await ClusterUnderTest.create("e2e-wizard", ["--workers", "1"]);
  });
  after(async () => cluster.delete());

  it("says without a terminal which command to use", async () => {
    const { exitCode, stderr } = await unattended();
    assert.equal(exitCode, 2);
    assert.match(stderr, /shunt install --context sandbox-e2e-wizard --yes/);
    const wrong = await unattended(["--path", "migrate", "--yes"]);
    assert.equal(wrong.exitCode, 2);
    assert.match(wrong.stderr, /no pod network to migrate from/);
  });

  it("changes nothing when it is left by Ctrl-C, at any question, or by no", async () => {
    for (const answers of [0, 1, 2]) {
      await terminal.type(start);
      await terminal.see(/\? What shall be done\?[\s\S]*Install the agent/);
      for (let index = 0; index < answers; index++) {
        await terminal.press("Enter");
        await terminal.see([/\? How do packets/, /\? Test the connectivity/][index]!);
      }
      await terminal.press("C-c");
      assert.match(
        await terminal.see(/wizard ended with \d+/),
        /Nothing was changed\.\s+wizard ended with 130/,
      );
    }
    await terminal.type(`${start.replace("wizard;", "wizard --path install --routing vxlan --no-test;")}`);
    await terminal.see(/\? Run it now\?/);
    await terminal.type("n");
    assert.match(await terminal.see(/wizard ended with \d+/), /Nothing was changed\.\s+wizard ended with 0/);
    assert.deepEqual((await cluster.get("daemonsets", "-n", "kube-system")).items, []);
  });

  it("looks, asks, shows the plan and the command, installs, and tests", async () => {
    await terminal.type(start);
    const asked = await terminal.see(/\? What shall be done\?[\s\S]*select/);
    assert.match(
      asked,
      /Cluster +sandbox-e2e-wizard at https:[\s\S]*Pod network +none[\s\S]*Shunt +not installed/,
    );
    assert.match(asked, /Migrate to the agent \(there is no pod network to migrate from\)/);
    await terminal.press("Enter");
    await terminal.see(/\? How do packets/);
    await terminal.press("Enter");
    await terminal.see(/\? Test the connectivity/);
    await terminal.press("Enter");
    const plan = await terminal.see(/\? Run it now\?/);
    assert.match(plan, /this would:[\s\S]*DaemonSet shunt-agent[\s\S]*Nothing was changed/);
    assert.match(
      plan,
      /shunt install --context sandbox-e2e-wizard --yes\n +shunt connectivity test --context/,
    );
    assert.deepEqual((await cluster.get("daemonsets", "-n", "kube-system")).items, []);
    await terminal.press("Enter");
    const end = await terminal.see(/wizard ended with \d+/, 400_000);
    assert.match(end, /✔ Verify every node's datapath/);
    assert.match(end, /wizard ended with 0/);
    await terminal.type(start);
    await terminal.see(/\? What shall be done\?[\s\S]*❯ Test the connectivity/);
    await terminal.press("C-c");
  });
});

const policy = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "server", namespace: "shop" },
  spec: {
    podSelector: { matchLabels: { app: "server" } },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: "friend" } } }] }],
  },
};

/** On each node: a line for each request that reached the server. */
const visitors = "/var/tmp/visitors";
/** Logs who comes. */
const serve = `import http from 'node:http'; import fs from 'node:fs';
http.createServer((q, r) => { fs.appendFileSync('/data/visitors', [q.url, new Date().toISOString(), q.socket.remoteAddress].join(' ') + '\\n'); r.end('ok'); }).listen(8080);`;
/** Asks the server all the time. */
const visit = (name: string) =>
  `for (;;) { await fetch('http://server:8080/${name}', { signal: AbortSignal.timeout(500) }).catch(() => 0);
  await new Promise((resolve) => setTimeout(resolve, 100)); }`;

function shopDeployment(name: string, program: string): any {
  const pod: any = idlePod(name, { command: ["/usr/local/bin/node", "--input-type=module", "-e", program] });
  const { spec } = pod;
  spec.containers[0].volumeMounts = [{ name: "data", mountPath: "/data" }];
  spec.volumes = [{ name: "data", hostPath: { path: visitors, type: "DirectoryOrCreate" } }];
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "shop" },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec },
    },
  };
}

describe("the wizard on a cluster with a pod network that enforces a policy", () => {
  before(async () => {
    const flags = ["--workers", "1", "--cni", "calico", "--kube-proxy", "iptables"];
    cluster = await ClusterUnderTest.create("e2e-wizard", flags);
    await cluster.kubectl(["create", "namespace", "shop"]);
    await cluster.apply(policy, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "server", namespace: "shop" },
      spec: { selector: { app: "server" }, ports: [{ port: 8080 }] },
    });
    // The policy is there before those that it is about.
    await cluster.apply(
      shopDeployment("server", serve),
      ...["friend", "stranger"].map((name) => shopDeployment(name, visit(name))),
    );
    await cluster.kubectl([
      ...["-n", "shop", "wait", "--for=condition=Available", "deployment", "--all", "--timeout=90s"],
    ]);
  });
  after(async () => cluster.delete());

  it("suggests to migrate, and has changed nothing until the plan is accepted", async () => {
    const file = join(cluster.folder, "plan.yaml");
    await terminal.type(start.replace("wizard;", `wizard --plan-file ${file};`));
    const asked = await terminal.see(/\? What shall be done\?[\s\S]*select/, 120_000);
    assert.match(asked, /Pod network +calico[\s\S]*kube-proxy +running/);
    assert.match(asked, /❯ Migrate to the agent/);
    assert.match(asked, /Install the agent \(the cluster runs calico\)/);
    await terminal.press("Enter");
    await terminal.see(/\? Which way\?[\s\S]*❯ node by node/);
    await terminal.press("Enter");
    await terminal.see(/\? Test the connectivity/);
    await terminal.press("Enter");
    const plan = await terminal.see(/\? Run it now\?|wizard ended/, 120_000);
    assert.match(plan, /\? Run it now\?/);
    assert.match(plan, /shunt migrate plan --context sandbox-e2e-wizard --strategy node-by-node/);
    assert.match(plan, /modes\.policy=enforce +calico enforces 1 policy/);
    assert.match(plan, /shunt migrate run --context sandbox-e2e-wizard --plan \S+plan\.yaml --yes/);
    assert.ok(existsSync(file));
    await terminal.press("C-c");
    assert.match(await terminal.see(/wizard ended with \d+/), /wizard ended with 130/);
    const sets = (await cluster.get("daemonsets", "-A")).items.map(({ metadata }: any) => metadata.name);
    assert.ok(!sets.includes("shunt-agent"), sets.join(" "));
  });

  it("migrates when the plan is accepted, and shows each step", async () => {
    const file = join(cluster.folder, "accepted.yaml");
    await terminal.type(
      start.replace(
        "wizard;",
        `wizard --path migrate --strategy node-by-node --no-test --plan-file ${file};`,
      ),
    );
    await terminal.see(/\? Run it now\?/, 120_000);
    await terminal.press("Enter");
    const end = await terminal.see(/wizard ended with \d+/, 900_000);
    assert.match(end, /The migration is complete[\s\S]*wizard ended with 0/);
    for (const { metadata, status } of (await cluster.get("nodes.shunt.dev")).items)
      assert.deepEqual(
        [status.layers.podNetwork.mode, status.layers.services.mode, status.layers.policy.mode],
        ["active", "on", "enforce"],
        metadata.name,
      );
    const [migration] = (await cluster.get("migrations.shunt.dev")).items;
    assert.equal(migration.status.phase, "Completed");
    const report = JSON.parse((await cluster.shunt(["migrate", "report", "-o", "json"])).stdout);
    for (const kind of ["compare-policies", "verify-policies"])
      assert.match(
        report.steps.find((one: any) => one.kind === kind).message,
        /does what policies say with [1-9]\d* connections, [1-9]\d* of them denied$/,
      );
  });

  it("leaves the policy in force, and it was at every moment", async () => {
    const inShop = (...args: string[]) => cluster.kubectl(["-n", "shop", ...args], { allowFailure: true });
    await inShop("wait", "--for=condition=Available", "deployment", "--all", "--timeout=90s");
    const ask = async (from: string, ...words: string[]): Promise<number> => {
      const curl = ["curl", "-sf", "--max-time", "2", ...words, "http://server:8080/"];
      return (await inShop("exec", `deploy/${from}`, "--", ...curl)).exitCode;
    };
    assert.equal(await ask("friend", "--retry", "5", "--retry-connrefused"), 0);
    assert.notEqual(await ask("stranger"), 0);
    const found = await Promise.all(
      ["control-plane", "worker"].map(async (node) => {
        const read = ["sh", "-c", `cat ${visitors}/visitors 2>/dev/null || true`];
        return (await nodeExec("e2e-wizard", `e2e-wizard-${node}`, read)).stdout.split("\n");
      }),
    );
    const requestsOf = (who: string) => found.flat().filter((line) => line.startsWith(who));
    assert.ok(requestsOf("/friend").length > 100, `${requestsOf("/friend").length} requests`);
    assert.deepEqual(requestsOf("/stranger"), []);
  });
});
