// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { layoutVersion, serviceKey } from "../../agent/datapath-layout.ts";
import { addressBytes } from "../../lib/addresses.ts";
import { waitFor } from "../../lib/wait.ts";
import { nodeExec } from "../clusters/index.ts";
import type { Report } from "../connectivity/index.ts";
import { ClusterUnderTest } from "./cluster-under-test.ts";

const name = "e2e-breakage";
/** Carries client, client2 and echo-same-node; the other worker carries client3 and echo-other-node. */
const broken = `${name}-worker`;
const other = `${name}-worker2`;
const pins = `/sys/fs/bpf/shunt/${layoutVersion}`;
const chosen = [
  "^no-policies/pod-to-pod$",
  "^no-policies/pod-to-pod-udp$",
  "^no-policies/pod-to-host$",
  "^services/pod-to-service$",
  "^services/pod-to-service-udp$",
];
let cluster: ClusterUnderTest;

async function onBrokenNode(...command: string[]): Promise<string> {
  return (await nodeExec(name, broken, command)).stdout;
}

/** Runs the chosen scenarios and returns `scenario: action` of each action that failed. */
async function failures(): Promise<{ exitCode: number; failed: string[] }> {
  const flags = [
    "--keep",
    "--retry",
    "0",
    "--connect-timeout",
    "1s",
    "--request-timeout",
    "3s",
    "-o",
    "json",
  ];
  const { exitCode, stdout, stderr } = await cluster.shunt(
    ["connectivity", "test", ...flags, ...chosen.flatMap((pattern) => ["--test", pattern])],
    { allowFailure: true, timeoutMs: 200_000 },
  );
  assert.notEqual(stdout, "", stderr);
  const report = JSON.parse(stdout) as Report;
  const failed = report.tests
    .flatMap((entry) => entry.cases)
    .flatMap((entry) =>
      entry.actions
        .filter((action) => action.outcome === "failed")
        .map((action) => `${entry.scenario}: ${action.name}`),
    );
  return { exitCode, failed: failed.toSorted() };
}

const acrossNodes = (scenario: string): string[] =>
  ["client -> echo-other-node", "client2 -> echo-other-node", "client3 -> echo-same-node"].map(
    (action) => `${scenario}: ${action}`,
  );

/** All that needs the path between the two workers, and nothing else. */
const everythingAcross = ["pod-to-pod", "pod-to-pod-udp", "pod-to-service", "pod-to-service-udp"]
  .flatMap(acrossNodes)
  .toSorted();

describe("breaking the datapath on purpose", () => {
  before(async () => {
    cluster = await ClusterUnderTest.create(name, ["--workers", "2"]);
    await cluster.shunt(["install", "--yes"]);
    assert.deepEqual(await failures(), { exitCode: 0, failed: [] });
  });
  after(async () => await cluster?.delete());

  test("without the other node's pod range in the map, what crosses to it fails, and nothing else", async () => {
    const node = await cluster.get("node", other);
    const [network, prefix] = (node.spec.podCIDR as string).split("/") as [string, string];
    const hex = (bytes: Iterable<number>): string[] =>
      [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));
    const key = hex([Number(prefix) + 96, 0, 0, 0, ...addressBytes(network)]);
    const map = ["map", "lookup", "pinned", `${pins}/maps/sh_ipcache`, "key", "hex", ...key];
    const { value } = JSON.parse(await onBrokenNode("bpftool", "-j", ...map)) as { value: string[] };
    const bytes = value.map((byte) => byte.replace("0x", ""));
    await withoutAgent(async () => {
      await onBrokenNode("bpftool", ...map.with(1, "delete"));
      assert.deepEqual(await failures(), { exitCode: 1, failed: everythingAcross });
      await onBrokenNode("bpftool", ...map.with(1, "update"), "value", "hex", ...bytes);
    });
    assert.deepEqual(await failures(), { exitCode: 0, failed: [] });
  });

  test("without a Service in the map, that node's TCP to it fails, and nothing else", async () => {
    const { spec } = await cluster.get("service", "echo-other-node", "-n", "shunt-test");
    const { port } = spec.ports.find(({ protocol }: any) => protocol === "TCP");
    const key = serviceKey.encode({ address: addressBytes(spec.clusterIP), port, protocol: 6 });
    const expected = ["client", "client2"].map((client) => `pod-to-service: ${client} -> echo-other-node`);
    await withoutAgent(async () => {
      const map = ["map", "delete", "pinned", `${pins}/maps/sh_services`, "key", "hex"];
      await onBrokenNode("bpftool", ...map, ...[...key].map((byte) => byte.toString(16).padStart(2, "0")));
      assert.deepEqual(await failures(), { exitCode: 1, failed: expected.toSorted() });
    });
    await waitFor("the agent to mend the map", async () => (await failures()).exitCode === 0, {
      timeoutMs: 90_000,
    });
  });

  test("without the program at connect, packets are translated instead, and the agent attaches it again", async () => {
    const link = `${pins}/links/cgroup-connect4`;
    await withoutAgent(async () => {
      await onBrokenNode("bpftool", "link", "detach", "pinned", link);
      assert.deepEqual(await failures(), { exitCode: 0, failed: [] });
    });
    const isAttached = async () => {
      const { cgroup_id } = JSON.parse(await onBrokenNode("bpftool", "-j", "link", "show", "pinned", link));
      return cgroup_id !== 0;
    };
    await waitFor("the agent to attach the program again", isAttached, { timeoutMs: 90_000 });
  });

  test("with the tunnel device down, what crosses between nodes fails, and nothing else", async () => {
    await withoutAgent(async () => {
      await onBrokenNode("ip", "link", "set", "shunt_vxlan", "down");
      assert.deepEqual(await failures(), { exitCode: 1, failed: everythingAcross });
    });
  });
});

/** Stops the node's agent meanwhile: it would mend what the test breaks. */
async function withoutAgent(run: () => Promise<void>): Promise<void> {
  const pids = (await onBrokenNode("pgrep", "-f", "/opt/shunt/bin/agent.ts")).trim().split("\n");
  await onBrokenNode("kill", "-STOP", ...pids);
  try {
    await run();
  } finally {
    await onBrokenNode("kill", "-CONT", ...pids);
  }
}
