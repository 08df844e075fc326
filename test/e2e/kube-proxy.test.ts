// SPDX-License-Identifier: Apache-2.0
// Services by kube-proxy, as clusters have them before a migration.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../lib/wait.ts";
import { nodeExec } from "../clusters/index.ts";
import { ClusterUnderTest } from "./cluster-under-test.ts";

for (const [mode, listing] of [
  ["iptables", ["iptables-save", "-t", "nat"]],
  ["nftables", ["nft", "list", "table", "ip", "kube-proxy"]],
] as const)
  describe(`kube-proxy ${mode}`, () => {
    let cluster: ClusterUnderTest;
    before(async () => {
      cluster = await ClusterUnderTest.create(`e2e-kp-${mode}`, [
        ...["--cni", "flannel", "--kube-proxy", mode, "--workers", "2"],
      ]);
    });
    after(() => cluster?.delete());

    test("runs on every node and says its mode", async () => {
      await cluster.kubectl(["-n", "kube-system", "rollout", "status", "ds/kube-proxy", "--timeout=120s"]);
      const node = `${cluster.name}-worker`;
      // The pod runs before its first rules are written.
      const sees = async (): Promise<boolean> => {
        const ask = (path: string) =>
          nodeExec(cluster.name, node, ["curl", "-fsS", `http://127.0.0.1:${path}`], { allowFailure: true });
        if ((await ask("10249/proxyMode")).stdout !== mode || (await ask("10256/healthz")).exitCode !== 0)
          return false;
        const { stdout } = await nodeExec(cluster.name, node, listing);
        return (mode === "iptables" ? /KUBE-SVC-NPX46M4PTMTKRN6Y/ : /map service-ips/).test(stdout);
      };
      await waitFor("its mode, its health and its rules", sees, { timeoutMs: 60_000, intervalMs: 500 });
    });

    test("Services work by every path, and follow their pods", async () => {
      const tests = ["services", "no-policies-from-outside", "dns", "life-cycle", "no-interrupted"];
      const { stdout } = await cluster.shunt(
        ["connectivity", "test", ...tests.flatMap((name) => ["--test", name])],
        { timeoutMs: 600_000, allowFailure: true },
      );
      assert.match(stdout, /PASSED: scenarios \d\d passed; /, stdout.slice(-4_000));
    });
  });
