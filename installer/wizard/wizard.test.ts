// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Ask, presets } from "./ask.ts";
import { askPath, askPlan, type ClusterLook, formatLook, type WizardFlags } from "./index.ts";

const bare: ClusterLook = {
  context: "prod",
  server: "https://203.0.113.1:6443",
  version: "v1.33.1",
  nodes: 4,
  readyNodes: 0,
  networks: [],
  kubeProxy: "running",
};
const flannel: ClusterLook = { ...bare, readyNodes: 4, networks: ["flannel"] };
const done: ClusterLook = {
  ...bare,
  ...{ readyNodes: 4, kubeProxy: "disabled", shunt: { version: "0.1.0", podNetwork: "active" } },
};

/** Answers by the question's beginning; a question that no answer is for fails the test. */
function answering(answers: Record<string, string | boolean>): Ask & { asked: string[] } {
  const asked: string[] = [];
  const answer = async (message: string): Promise<any> => {
    asked.push(message);
    const key = Object.keys(answers).find((beginning) => message.startsWith(beginning));
    if (key === undefined) throw new Error(`was asked: ${message}`);
    return answers[key];
  };
  return {
    asked,
    select: ({ message, choices, preset }) => {
      assert.ok(
        choices.some(({ value, disabled }) => value === preset && disabled === undefined),
        `${message}: the preset ${preset} can be picked`,
      );
      return answer(message);
    },
    input: async ({ message, check }) => {
      const text = await answer(message);
      assert.equal(check(text), undefined);
      return text;
    },
    confirm: ({ message }) => answer(message),
  };
}

const planOf = async (flags: WizardFlags, look: ClusterLook | undefined, ask: Ask = presets) =>
  await askPlan(ask, flags, await askPath(ask, flags, look), look);
const lines = (commands: string[][]): string[] => commands.map((words) => words.join(" "));

test("what is there decides what is suggested", async () => {
  assert.equal(await askPath(presets, {}, undefined), "test-cluster");
  assert.equal(await askPath(presets, {}, bare), "install");
  assert.equal(await askPath(presets, {}, flannel), "migrate");
  assert.equal(await askPath(presets, {}, { ...flannel, networks: ["unknown"] }), "migrate");
  assert.equal(await askPath(presets, {}, done), "connectivity");
});

test("a path that does not fit is refused with the one that does", async () => {
  const refused = (path: WizardFlags["path"], look: ClusterLook | undefined, reason: RegExp) =>
    assert.rejects(askPath(presets, { path: path! }, look), reason);
  await refused("install", flannel, /the cluster runs flannel/);
  await refused("migrate", bare, /no pod network to migrate from/);
  await refused("migrate", done, /Shunt is the pod network/);
  await refused("connectivity", bare, /no node is ready/);
  await refused("install", undefined, /no cluster answers/);
});

test("installing by presets is shunt install --yes, and the test", async () => {
  const plan = await planOf({ kubeconfig: "/k" }, bare);
  assert.deepEqual(lines(plan.show), ["install --kubeconfig /k --context prod --dry-run"]);
  assert.deepEqual(lines(plan.run), [
    "install --kubeconfig /k --context prod --yes",
    "connectivity test --kubeconfig /k --context prod",
  ]);
});

test("installing asks only what cannot be known", async () => {
  const answers = {
    "How do packets": "direct",
    Image: "registry.example/shunt:1",
    "Replace kube-proxy": false,
  };
  const ask = answering({ ...answers, "What shall": "install", "Test the": false });
  const plan = await planOf({}, bare, ask);
  assert.deepEqual(lines(plan.run), [
    "install --context prod --set routing=direct --set image=registry.example/shunt:1 --set kubeProxyReplacement=false --yes",
  ]);
  const less = answering({ "How do packets": "vxlan", "Test the": false });
  const sandbox = { ...bare, context: "sandbox-dev", kubeProxy: "absent" as const };
  await planOf({ path: "install" }, sandbox, less);
  assert.deepEqual(less.asked, [
    "How do packets get from node to node?",
    "Test the connectivity at the end?",
  ]);
  const all = { path: "install", routing: "vxlan", image: "x", keepKubeProxy: false, test: false } as const;
  await planOf(all, bare, answering({}));
});

test("an installation that is there is upgraded", async () => {
  const plan = await planOf({ path: "install" }, { ...done, context: "sandbox-dev" });
  assert.equal(plan.run[0]?.join(" "), "upgrade --context sandbox-dev --yes");
});

test("a migration: the plan is shown before it is run", async () => {
  const answers = { "Which way": "node-by-node", "How many": "2", File: "p.yaml", "Test the": true };
  const plan = await planOf({ path: "migrate" }, flannel, answering(answers));
  assert.deepEqual(lines(plan.show), [
    "migrate preflight --context prod --strategy node-by-node",
    "migrate plan --context prod --strategy node-by-node --max-unavailable 2 --out p.yaml",
  ]);
  assert.equal(plan.run[0]?.join(" "), "migrate run --context prod --plan p.yaml --yes");
  assert.equal(plan.run[1]?.join(" "), "connectivity test --context prod");
});

test("what only the pods' owner can allow is asked when there are such pods", async () => {
  const look = { ...flannel, blockers: ["drain-unmanaged", "drain-empty-dir", "other"] };
  const flags = {
    path: "migrate",
    strategy: "node-by-node",
    maxUnavailable: "1",
    planFile: "p",
    test: false,
  } as const;
  const ask = answering({ "Some pods have no controller": false, "Some pods keep data": true });
  const plan = await planOf(flags, look, ask);
  assert.match(plan.show[0]!.join(" "), /--strategy node-by-node --delete-emptydir-data$/);
  const given = { ...flags, force: true, deleteEmptydirData: false, accept: ["other"] };
  const words = await planOf(given, look, answering({}));
  assert.match(
    words.show[1]!.join(" "),
    /--strategy node-by-node --accept other --force --max-unavailable 1/,
  );
  const careful = await planOf(flags, look);
  assert.doesNotMatch(careful.show[1]!.join(" "), /--force|--delete-emptydir-data/);
});

test("a test cluster gets the agent, or a network to migrate from", async () => {
  const plan = await planOf({ path: "test-cluster" }, undefined);
  assert.deepEqual(lines(plan.run), [
    "cluster create --name dev --workers 2 --ip-family ipv4 --cni none",
    "install --context sandbox-dev --yes",
  ]);
  const flags = {
    path: "test-cluster",
    name: "old",
    workers: "3",
    ipFamily: "dual",
    cni: "flannel",
  } as const;
  const old = await planOf(flags, undefined, answering({ "kube-proxy": "nftables" }));
  assert.deepEqual(lines(old.run), [
    "cluster create --name old --workers 3 --ip-family dual --cni flannel --kube-proxy nftables",
  ]);
});

test("the look names what is there", () => {
  const text = formatLook(flannel);
  for (const part of [
    "prod at https://203.0.113.1:6443",
    "4, of which 4",
    "flannel",
    "running",
    "not installed",
  ])
    assert.ok(text.includes(part), part);
});
