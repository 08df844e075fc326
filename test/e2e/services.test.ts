// SPDX-License-Identifier: Apache-2.0
// Everything that kube-proxy does, with packets: by the agent, and beside it by the sandbox's kube-proxy. The table in
// docs/services.md is what was seen; SHUNT_WRITE_DOCS=1 writes it anew.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { ClusterUnderTest } from "./cluster-under-test.ts";
import { rows, vantages } from "./service-rows.ts";
import { type Findings, ServiceWorld } from "./service-world.ts";

const name = "e2e-svc";
const shape = ["--workers", "2", "--ip-family", "dual"];
const docsFile = new URL("../../docs/services.md", import.meta.url).pathname;

/** A column of the table: where it works. */
function column(findings: Findings, feature: string): string {
  const found = [...findings.get(feature)!];
  const bad = found.filter(([, problem]) => problem !== "").map(([vantage]) => vantage);
  if (bad.length === 0) return "yes";
  return bad.length === found.length ? "no" : `not from: ${bad.join(", ")}`;
}

const marks = /(?<=<!-- features -->\n)[\s\S]*(?=<!-- end -->)/;

function table(agent: Findings, proxyColumn: (feature: string) => string): string {
  const lines = rows.map(({ feature, from }) => {
    const where = from === undefined ? "everywhere" : from.join(", ");
    return `| ${feature} | ${where} | ${column(agent, feature)} | ${proxyColumn(feature)} |`;
  });
  return ["| feature | seen from | Shunt | kube-proxy |", "|---|---|---|---|", ...lines, ""].join("\n");
}

describe("what kube-proxy does", () => {
  let cluster: ClusterUnderTest | undefined;
  let agent: Findings;
  after(async () => await cluster?.delete());

  /** Walks through all rows on a new cluster. */
  async function walkOn(flags: string[], install: boolean): Promise<Findings> {
    await cluster?.delete();
    cluster = await ClusterUnderTest.create(name, [...shape, ...flags]);
    if (install) await cluster.shunt(["install"]);
    const world = new ServiceWorld(cluster);
    await world.deploy();
    return await world.walk();
  }

  before(async () => {
    agent = await walkOn(["--cni", "none", "--kube-proxy", "none"], true);
  });

  for (const { feature, from } of rows)
    for (const vantage of from ?? vantages)
      test(`${feature}, from ${vantage === "outside" ? vantage : `the ${vantage}`}`, () =>
        assert.equal(agent.get(feature)!.get(vantage), ""));

  test("with direct server return, pods see their clients, whatever node these ask", async () => {
    const wanted = ["services.forwarding=dsr", "services.acceleration=native"];
    await cluster!.shunt(["upgrade", ...wanted.flatMap((value) => ["--set", value])]);
    // The sandbox's nodes have no driver that can: what is asked for and not there is said, and all goes on.
    const { stdout } = await cluster!.shunt(["status"], { allowFailure: true });
    assert.match(stdout, /services are not accelerated on eth0/);
    const world = new ServiceWorld(cluster!);
    await world.read();
    for (const family of ["ipv4", "ipv6"] as const)
      for (const node of ["node", "other node"] as const)
        for (const protocol of ["tcp", "udp"] as const) {
          const port = world.nodePort("plain", protocol);
          const host = world.nodeAddress(node, family);
          const replies = await world.ask("outside", [{ kind: "dial", protocol, host, port, times: 8 }]);
          const seen = [...new Set(replies.map(({ peer, error }) => peer ?? error))];
          assert.deepEqual(seen, [world.outsideAddress(family)], `${protocol} to ${host}`);
          assert.deepEqual(new Set(replies.map(({ from }) => from)), new Set([host]));
          // Both servers, one of which is on another node than the one that was asked.
          assert.equal(new Set(replies.map(({ pod }) => pod)).size, 2);
        }
  });

  test("the table in the docs says what was seen", async (t) => {
    const text = readFileSync(docsFile, "utf8");
    if (process.env.SHUNT_WRITE_DOCS !== "1") {
      const written = new Map(
        [...marks.exec(text)![0].matchAll(/^\| (.*?) \|.*\| (.*?) \|$/gm)].map(([, feature, last]) => [
          feature!,
          last!,
        ]),
      );
      assert.equal(
        text,
        text.replace(marks, () => table(agent, (feature) => written.get(feature) ?? "")),
      );
      return;
    }
    const proxy = await walkOn(["--cni", "flannel", "--kube-proxy", "iptables"], false);
    for (const [feature, found] of proxy)
      for (const [vantage, problem] of found)
        if (problem !== "") t.diagnostic(`kube-proxy: ${feature}, ${vantage}: ${problem}`);
    writeFileSync(
      docsFile,
      text.replace(marks, () => table(agent, (feature) => column(proxy, feature))),
    );
  });
});
