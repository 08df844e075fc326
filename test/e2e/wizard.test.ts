// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
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

describe("the wizard on a cluster with a pod network that enforces a policy", () => {
  before(async () => {
    const flags = ["--workers", "1", "--cni", "calico", "--kube-proxy", "iptables"];
    cluster = await ClusterUnderTest.create("e2e-wizard", flags);
    await cluster.kubectl(["create", "namespace", "shop"]);
    await cluster.apply(policy);
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
    const [report] = (await cluster.get("migrations.shunt.dev")).items;
    assert.equal(report.status.phase, "Completed");
  });

  it("leaves the policy in force", async () => {
    const serve = "import http from 'node:http'; http.createServer((q, r) => r.end('ok')).listen(8080)";
    const command = ["/usr/local/bin/node", "--input-type=module", "-e", serve];
    const pods = ["server", "friend", "stranger"].map((name): any => idlePod(name, { command }));
    for (const { metadata } of pods) metadata.namespace = "shop";
    await cluster.apply(...pods);
    const inShop = (...args: string[]) => cluster.kubectl(["-n", "shop", ...args], { allowFailure: true });
    await inShop("wait", "--for=condition=Ready", "pod", "--all", "--timeout=90s");
    const { status } = await cluster.get("-n", "shop", "pod", "server");
    const ask = async (from: string, ...words: string[]): Promise<number> => {
      const curl = ["curl", "-sf", "--max-time", "2", ...words, `http://${status.podIP}:8080/`];
      return (await inShop("exec", from, "--", ...curl)).exitCode;
    };
    assert.equal(await ask("friend", "--retry", "5", "--retry-connrefused"), 0);
    assert.notEqual(await ask("stranger"), 0);
  });
});
