// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { run } from "../../lib/run.ts";
import { iptablesRules, type RuleSettings } from "../clusters/sandbox/kube-proxy/iptables-rules.ts";
import { nftRules } from "../clusters/sandbox/kube-proxy/nft-rules.ts";
import { planPorts } from "../clusters/sandbox/kube-proxy/port-plan.ts";
import { BackendHistory } from "./backend-history.ts";
import { quantile } from "./bench.ts";
import { FedInformer } from "./fed-informer.ts";
import { nftTransactions } from "./kube-proxy-side.ts";
import { makeServices } from "./made-services.ts";
import { TurningTarget } from "./service-changes.ts";
import { servicePicture } from "./service-picture.ts";
import { growth } from "./service-soak.ts";
import { fastest } from "./service-summary.ts";

const settings: RuleSettings = {
  family: "ipv4",
  node: { name: "n1", zone: "", addresses: ["172.29.0.1"] },
  clusterCidr: "10.9.0.0/16",
  masqueradeAll: false,
  masqueradeBit: 14,
  localhostNodePorts: true,
};
const backends = ["10.9.2.100", "10.9.2.101", "10.9.2.102", "10.9.2.103", "10.9.2.104"];
const plansOf = (count: number) => {
  const { services, slices } = makeServices(count, backends);
  return planPorts(services, slices, "ipv4", settings.node);
};

test("the picture has a line for each way that was measured, and a dot for each number of services", () => {
  const medians = {
    shunt_10_setup_p50_us: 40,
    shunt_100_setup_p50_us: 41,
    nftables_10_setup_p50_us: 60,
    nftables_100_setup_p50_us: 61,
    shunt_10_program_ms: 2,
    noService_10_gbit_per_second: 7,
  };
  const picture = servicePicture(medians);
  assert.equal(picture.match(/<circle /g)?.length, 5);
  assert.doesNotMatch(picture, /NaN|Infinity|undefined/);
  // Higher up is more: the first of Shunt is below the first of nftables.
  const heights = [...picture.matchAll(/cy="([\d.]+)"/g)].map(([, y]) => Number(y));
  assert.ok(heights[0]! > heights[2]!, String(heights));
});

describe("made services", () => {
  test("kube-proxy's rules ask for the target last, and give it all its endpoints", () => {
    const { nat } = iptablesRules(plansOf(30), settings);
    const asked = nat.rules.filter((rule) => /^-A KUBE-SERVICES .*cluster IP/.test(rule));
    const { target, throughput } = makeServices(30, backends);
    assert.equal(asked.length, 30);
    assert.ok(asked.at(-1)!.includes(` ${target}/32 `) && asked.at(-2)!.includes(` ${throughput}/32 `));
    for (const address of backends) assert.ok(nat.rules.some((rule) => rule.includes(`${address}:9000`)));
  });

  test("no two have an address or an endpoint in common", () => {
    const { services, slices } = makeServices(20_000, backends);
    assert.equal(new Set(services.map(({ spec }) => spec.clusterIP)).size, services.length);
    const endpoints = slices
      .slice(0, -2)
      .flatMap((slice) => slice.endpoints.map((one: any) => one.addresses[0]));
    assert.equal(new Set(endpoints).size, 5 * (services.length - 2));
  });
});

describe("nftables in several transactions", () => {
  const netns = `shnb${process.pid}`;
  before(() => run("ip", ["netns", "add", netns]));
  after(() => run("ip", ["netns", "delete", netns]));

  test("makes the table that one transaction makes", async () => {
    const plans = plansOf(11);
    const inNetns = async (args: string[], input?: string) =>
      (await run("ip", ["netns", "exec", netns, "nft", ...args], input === undefined ? {} : { input }))
        .stdout;
    const tableOf = async (inputs: string[]): Promise<string[]> => {
      for (const input of inputs) await inNetns(["-f", "-"], input);
      const listed = await inNetns(["list", "table", "ip", "kube-proxy"]);
      return listed
        .split(/[\n,]/)
        .map((line) => line.trim())
        .filter((line) => line !== "")
        .toSorted();
    };
    const whole = nftTransactions(plans, settings, plans.length);
    const parts = nftTransactions(plans, settings, 3);
    assert.deepEqual([whole.length, parts.length], [1, 4]);
    const expected = await tableOf(whole);
    assert.deepEqual(await tableOf(parts), expected);
    assert.ok(expected.length > nftRules(plans, settings).chains.size);
  });
});

describe("the fate of connections", () => {
  const connection = (startNs: number, connectedNs: number, backend = 1) => ({
    startNs,
    connectedNs,
    endNs: connectedNs + 10,
    backend,
    port: 40_000,
  });
  const history = new BackendHistory([1, 2], [1]);
  history.changed({ added: [2], removed: [1] }, 100, 110);
  history.changed({ added: [1], removed: [2] }, 200, 210);

  const cases: [string, ReturnType<typeof connection>, string][] = [
    ["before its backend goes", connection(50, 60), "served"],
    ["on its way while its backend goes", connection(105, 115), "late"],
    ["begun when the write had returned", connection(111, 115), "dead"],
    ["on its way while its backend comes back", connection(190, 205), "late"],
    ["after its backend has come back", connection(211, 220), "served"],
    ["to a backend that is not there yet", connection(10, 20, 2), "dead"],
    ["to a backend that nobody knows", connection(10, 20, 7), "dead"],
    ["refused", connection(10, 20, -111), "dropped"],
  ];
  for (const [title, one, fate] of cases) test(title, () => assert.equal(history.judge(one), fate));
});

test("the target's endpoints turn through the whole pool, five at a time", () => {
  const slices = new FedInformer();
  const target = new TurningTarget(
    slices,
    3,
    Array.from({ length: 12 }, (_, index) => `10.0.0.${index}`),
  );
  assert.deepEqual(target.numbers.present, [0, 1, 2, 3, 4]);
  assert.deepEqual(target.turn(1), { added: [5], removed: [0] });
  assert.deepEqual(target.turn(5), { added: [6, 7, 8, 9, 10], removed: [1, 2, 3, 4, 5] });
  const [slice] = slices.list();
  assert.deepEqual(
    slice!.endpoints.map((one: any) => one.addresses[0]),
    [6, 7, 8, 9, 10].map((last) => `10.0.0.${last}`),
  );
});

test("quantiles, the fastest of each round, and growth without the warm-up", () => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  assert.deepEqual([quantile(hundred, 0.5), quantile(hundred, 0.99), quantile([7], 0.99)], [51, 100, 7]);
  assert.deepEqual(fastest([[3, 1], [], [2, 4]]), [2, 1]);
  const sample = (heapMiB: number) => ({ seconds: 0, heapMiB, rssMiB: 0, mapsMiB: 0 });
  assert.equal(growth([50, 90, 100, 100, 101, 102, 104, 106].map(sample), "heapMiB"), 5);
  assert.equal(growth([], "heapMiB"), 0);
});
