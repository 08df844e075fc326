// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { it } from "node:test";
import { addSandboxNodes, removeSandboxNode } from "./change-nodes.ts";
import { parseOptions } from "./kubelet/options.ts";
import { kubeletConfiguration, nodeServices, parseTaint } from "./parts.ts";
import { createAuthority, openAuthority } from "./pki.ts";
import { planCluster, planNode } from "./plan.ts";

const { signal } = new AbortController();
const taint = "node.shunt.dev/agent-not-ready:NoSchedule";

it("gives a later node a number, name and address of its own", () => {
  const plan = planCluster({ name: "demo", workers: 2, env: {} }, "/tmp/kubeconfig");
  const later = planNode("demo", plan.ipFamily, plan.lastIndex + 1);
  assert.deepEqual([later.name, later.addresses, later.index], ["demo-worker3", ["172.30.0.5"], 3]);
  assert.ok(!plan.nodes.some(({ name }) => name === later.name));
});

it("registers a node with its taints, by the small kubelet and by the real one", () => {
  const plan = planCluster({ name: "demo", workers: 1, env: {} }, "/tmp/kubeconfig");
  const node = { ...planNode("demo", plan.ipFamily, 2), taints: [taint] };
  const flag = nodeServices(plan, node)
    .kubelet!.split(" ")
    .find((word) => word.startsWith("--register"));
  assert.equal(flag, "--register-node=true");
  assert.ok(nodeServices(plan, node).kubelet!.includes(`--register-with-taints=${taint}`));
  const { nodeTaints } = parseOptions([
    "--kubeconfig=x",
    "--node-ip=172.30.0.4",
    `--register-with-taints=${taint},a=b:NoExecute`,
  ]);
  assert.deepEqual(nodeTaints, [
    { key: "node.shunt.dev/agent-not-ready", effect: "NoSchedule" },
    { key: "a", value: "b", effect: "NoExecute" },
  ]);
  assert.match(
    kubeletConfiguration(plan, node),
    /registerWithTaints:\n\s+- key: node\.shunt\.dev\/agent-not-ready/,
  );
  assert.throws(() => parseTaint("a=b"), { exitCode: 2 });
});

it("issues certificates by a kept authority that verify like its first ones", async () => {
  const first = await createAuthority("kubernetes");
  const again = await openAuthority({ cert: first.cert, key: first.key });
  const { cert } = await again.issue({ commonName: "system:node:n", organizations: ["system:nodes"] });
  const { X509Certificate } = await import("node:crypto");
  assert.ok(new X509Certificate(cert).verify(new X509Certificate(first.cert).publicKey));
});

it("refuses what is no cluster, no group and no taint before anything is made", async () => {
  const ask = { name: "no-such-cluster", count: 1, taints: [], env: {}, signal, report: () => undefined };
  await assert.rejects(addSandboxNodes(ask), { code: "NotFound" });
  await assert.rejects(removeSandboxNode("no-such-cluster", "n", signal), { code: "NotFound" });
  await assert.rejects(addSandboxNodes({ ...ask, taints: ["x"] }), { exitCode: 2 });
  await assert.rejects(addSandboxNodes({ ...ask, group: "a/b" }), { exitCode: 2 });
  await assert.rejects(addSandboxNodes({ ...ask, name: "../x" }), { exitCode: 2 });
});
