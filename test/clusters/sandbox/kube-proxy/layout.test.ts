// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import type { Family } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { run } from "../../../../lib/run.ts";
import { applyIptables, type Runner } from "./iptables.ts";
import { iptablesRules, type RuleSettings } from "./iptables-rules.ts";
import { applyNft } from "./nft.ts";
import { nftRules } from "./nft-rules.ts";
import { type ProxyNode, planPorts } from "./port-plan.ts";

// What kube-proxy 1.36 writes for these objects on this node, sorted, without counters and nfacct.
const data = (name: string) => readFileSync(new URL(`testdata/${name}`, import.meta.url), "utf8");
const objects = data("objects.jsonl")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as KubeObject);
const node: ProxyNode = { name: "worker", zone: "zone-a", addresses: ["172.30.0.3", "fd30::3"] };
const netns = `shkp${process.pid}`;
const inside: Runner = (file, args, options) => run("ip", ["netns", "exec", netns, file, ...args], options);

before(() => run("ip", ["netns", "add", netns]));
after(() => run("ip", ["netns", "del", netns]));

function settingsOf(family: Family): RuleSettings {
  const clusterCidr = family === "ipv4" ? "10.244.0.0/16" : "fd10:244::/56";
  const masquerade = { masqueradeAll: false, masqueradeBit: 14 };
  return { family, node, clusterCidr, ...masquerade, localhostNodePorts: true };
}

function plansOf(list: KubeObject[], family: Family) {
  const of = (kind: string) => list.filter((object) => object.kind === kind);
  return planPorts(of("Service"), of("EndpointSlice"), family, node);
}

const anAddress = ({ addressType }: KubeObject) => (addressType === "IPv4" ? "10.244.9.9" : "fd10:244::99");

/** Half of the Services, with other endpoints: what rules are rewritten from. */
const other = objects
  .filter(({ metadata }) => !/^(np|term)/.test(metadata.name!))
  .map((object) =>
    object.kind === "EndpointSlice"
      ? { ...object, endpoints: [...object.endpoints.slice(1), { addresses: [anAddress(object)] }] }
      : object,
  );

function savedRules(text: string): string[] {
  let table = "";
  return text
    .split("\n")
    .filter((line) => line !== "" && !/^#|KUBELET-CANARY/.test(line))
    .map((line) => {
      if (line.startsWith("*")) table = line;
      return `${table} ${line.replace(/ \[\d+:\d+\]$/, "")}`;
    })
    .sort();
}

function listedRules(text: string): string[] {
  const lines: string[] = [];
  let current = "";
  for (const line of text
    .replaceAll(/,\s*\n\s*/g, ", ")
    .split("\n")
    .map((one) => one.trim())) {
    if (/^(table|set|map|chain) .* \{$/.test(line)) {
      current = line;
      lines.push(line);
    } else if (line.startsWith("elements = {"))
      for (const element of line.slice("elements = {".length, -1).split(", "))
        lines.push(`${current} E ${element.trim()}`);
    else if (line !== "" && line !== "}") lines.push(`${current} ${line}`);
  }
  return lines.sort();
}

const sorted = (text: string) => text.trim().split("\n").sort();

for (const [family, program] of [
  ["ipv4", "iptables"],
  ["ipv6", "ip6tables"],
] as const)
  test(`${program}: the chains, rules and names of kube-proxy, whatever was there before`, async () => {
    for (const list of [objects, other, objects]) {
      await applyIptables(family, iptablesRules(plansOf(list, family), settingsOf(family)), inside);
      const { stdout } = await inside(`${program}-save`, []);
      const isSame = JSON.stringify(savedRules(stdout)) === JSON.stringify(sorted(data(`${program}.txt`)));
      if (list === other) assert.equal(isSame, false, "the other Services should have changed something");
      else assert.deepEqual(savedRules(stdout), sorted(data(`${program}.txt`)));
    }
  });

for (const [family, name] of [
  ["ipv4", "ip"],
  ["ipv6", "ip6"],
] as const)
  test(`nftables, ${name}: the table of kube-proxy, whatever was there before`, async () => {
    let names: Awaited<ReturnType<typeof applyNft>> | undefined;
    for (const list of [objects, other, objects]) {
      names = await applyNft(nftRules(plansOf(list, family), settingsOf(family)), names, inside);
      const { stdout } = await inside("nft", ["list", "table", name, "kube-proxy"]);
      if (list === other) assert.notDeepEqual(listedRules(stdout), sorted(data(`nft-${name}.txt`)));
      else assert.deepEqual(listedRules(stdout), sorted(data(`nft-${name}.txt`)));
    }
  });

test("iptables: rules of others stay, and so does the order of a balanced chain", async () => {
  await inside("iptables", ["-A", "FORWARD", "-s", "10.244.0.0/16", "-j", "ACCEPT"]);
  await applyIptables("ipv4", iptablesRules(plansOf(objects, "ipv4"), settingsOf("ipv4")), inside);
  const { stdout } = await inside("iptables-save", []);
  assert.match(stdout, /-A FORWARD -s 10\.244\.0\.0\/16 -j ACCEPT/);
  const chain = stdout.split("\n").filter((line) => line.startsWith("-A KUBE-SVC-TFRVXLUDQ7DE7SWI"));
  assert.deepEqual(
    chain.map((line) => /MARK-MASQ|0\.\d{5}/.exec(line)?.[0] ?? "rest"),
    ["MARK-MASQ", "0.33333", "0.50000", "rest"],
  );
});
