// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { parse } from "yaml";
import type { KubeClient } from "../lib/kube.ts";
import { waitForPodRanges } from "./facts.ts";
import { installManifests, requireNoBlocker } from "./install.ts";
import { checkRanges } from "./preflight.ts";
import { defaultValues, loadValues, parseSet } from "./values.ts";

const folder = mkdtempSync(join(tmpdir(), "shunt-values-"));
after(() => rmSync(folder, { recursive: true }));
const file = (content: string): string => {
  const path = join(folder, "values.yaml");
  writeFileSync(path, content);
  return path;
};

describe("values", () => {
  test("defaults, then files, then --set", async () => {
    const path = file("routing: direct\nmodes:\n  services: shadow\n");
    const values = await loadValues(
      [path],
      ["mtu=9000,modes.policy=audit", "clusterPodCIDRs={10.1.0.0/16,fd01::/56}"],
    );
    assert.equal(values.routing, "direct");
    assert.deepEqual(values.modes, { ...defaultValues.modes, services: "shadow", policy: "audit" });
    assert.equal(values.mtu, 9000);
    assert.deepEqual(values.clusterPodCIDRs, ["10.1.0.0/16", "fd01::/56"]);
  });
  test("--set words", () => {
    const plain = (value: unknown) => JSON.parse(JSON.stringify(value));
    assert.deepEqual(plain(parseSet("a.b=true,c=x=y")), { a: { b: true }, c: "x=y" });
    for (const wrong of ["", "=1", "novalue", "a..b=1", "__proto__.x=1"])
      assert.throws(() => parseSet(wrong), /expected key=value/, wrong);
  });
  for (const [what, content, message] of [
    ["an unknown key", "routting: direct", /unknown key "routting"/],
    ["a nested unknown key", "modes: {servics: on}", /unknown key "modes.servics"/],
    ["a wrong value", "routing: ipip", /routing must be .*vxlan, direct/],
    ["a wrong type", "tunnelPort: high", /tunnelPort must be integer/],
    ["a port out of range", "healthPort: 70000", /healthPort must be <= 65535/],
    ["a tiny MTU", "mtu: 500", /mtu must/],
    ["broken YAML", "a: [1", /Cannot read values file/],
    ["a list", "- a", /not a map/],
    ["YAML bombs", "a: &a [x]\nb: *a", /Cannot read|unknown key/],
    ["a bad CIDR", "clusterPodCIDRs: [10.0.0.0]", /not a CIDR/],
    ["two servers on one port", "healthPort: 9962", /must differ/],
  ] as const)
    test(`refuses ${what}`, async () => await assert.rejects(loadValues([file(content)], []), message));
  test("a file that is not there is named", async () =>
    await assert.rejects(loadValues(["/no/such/values.yaml"], []), /\/no\/such\/values.yaml/));
});

describe("preflight ranges", () => {
  const node = (name: string, cidrs: string[], address: string) => ({
    metadata: { name },
    spec: { podCIDRs: cidrs },
    status: { addresses: [{ type: "InternalIP", address }] },
  });
  const facts = {
    apiServerHost: "h",
    apiServerPort: 1,
    clusterPodCIDRs: ["10.244.0.0/16"],
    serviceCIDRs: ["10.96.0.0/16"],
    nodePortRange: "30000-32767",
    nodePortAddresses: [],
  };
  test("a clean cluster passes", () => {
    const nodes = [node("a", ["10.244.0.0/24"], "172.30.0.2"), node("b", ["10.244.1.0/24"], "172.30.0.3")];
    assert.deepEqual(
      checkRanges(nodes, facts).map(({ severity }) => severity),
      ["ok"],
    );
  });
  test("overlaps block, each with its object and remedy", () => {
    const nodes = [
      node("a", ["10.244.0.0/24"], "10.244.7.1"),
      node("b", ["10.244.0.128/25"], "172.30.0.3"),
      node("c", ["10.96.4.0/24"], "172.30.0.4"),
    ];
    const findings = checkRanges(nodes, facts);
    assert.ok(findings.every(({ severity, remedy }) => severity === "blocker" && remedy));
    const text = findings.map(({ object, message }) => `${object} ${message}`).join("\n");
    assert.match(text, /pod CIDR 10.244.0.0\/16 holds the address 10.244.7.1 of node a/);
    assert.match(text, /node\/a pod CIDR 10.244.0.0\/24 overlaps 10.244.0.128\/25 of node\/b/);
    assert.match(text, /node\/c pod CIDR 10.96.4.0\/24 overlaps Service CIDR 10.96.0.0\/16/);
    assert.throws(
      () => requireNoBlocker(findings),
      (error: any) => error.exitCode === 3 && /nothing was changed/.test(error.message),
    );
  });
});

describe("manifests", () => {
  const facts = {
    apiServerHost: "fd30::2",
    apiServerPort: 6443,
    clusterPodCIDRs: ["10.244.0.0/16"],
    serviceCIDRs: [],
    nodePortRange: "30000-32767",
    nodePortAddresses: [],
  };
  const manifests = installManifests(defaultValues, facts);
  const byKind = (kind: string) => manifests.find((object) => object.kind === kind)!;
  test("the agent talks to the API server directly", () => {
    const env = byKind("DaemonSet").spec.template.spec.containers[0].env;
    assert.deepEqual(
      env.find(({ name }: any) => name === "KUBERNETES_SERVICE_HOST"),
      { name: "KUBERNETES_SERVICE_HOST", value: "fd30::2" },
    );
  });
  test("the agent may not read Secrets, nor use wildcards", () => {
    const rules = byKind("ClusterRole").rules as { resources: string[]; verbs: string[] }[];
    assert.ok(
      rules.every(
        ({ resources, verbs }) => !resources.includes("secrets") && ![...resources, ...verbs].includes("*"),
      ),
    );
  });
  test("a changed configuration rolls the agent, an equal one does not", () => {
    const hash = (values: typeof defaultValues) =>
      installManifests(values, facts).find(({ kind }) => kind === "DaemonSet")!.spec.template.metadata
        .annotations["shunt.dev/config-hash"];
    assert.equal(hash(defaultValues), hash({ ...defaultValues }));
    assert.notEqual(hash(defaultValues), hash({ ...defaultValues, mtu: 1400 }));
    assert.equal(parse(byKind("ConfigMap").data["config.yaml"]).tunnelPort, 8473);
  });
});

describe("nodes that have just joined", () => {
  const cluster = (rangesAfter: number) => {
    let lists = 0;
    const list = async () => {
      lists += 1;
      const spec = lists > rangesAfter ? { podCIDRs: ["10.244.0.0/24"] } : {};
      return { metadata: {}, items: [{ metadata: { name: "a" }, spec }] };
    };
    return { kube: { list } as unknown as KubeClient, lists: () => lists };
  };
  test("are waited for until they have a pod range", async () => {
    const { kube, lists } = cluster(2);
    await waitForPodRanges(kube, { timeoutMs: 60_000, intervalMs: 1 });
    assert.equal(lists(), 3);
  });
  test("are left to the checks when they get none", async () => {
    const { kube, lists } = cluster(Number.POSITIVE_INFINITY);
    await waitForPodRanges(kube, { timeoutMs: 5, intervalMs: 1 });
    assert.ok(lists() > 0);
  });
});
