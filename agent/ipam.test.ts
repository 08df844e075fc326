// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { addressBytes, parseCidr } from "../lib/addresses.ts";
import { run } from "../lib/run.ts";
import { ForeignPods } from "./foreign-pods.ts";
import { AddressPool } from "./ipam.ts";

test("the gateway, the network and the broadcast address are never given to a pod", () => {
  const pool = new AddressPool(parseCidr("10.0.0.0/29"));
  assert.equal(pool.gateway, "10.0.0.1");
  const all = Array.from({ length: 5 }, () => pool.allocate());
  assert.deepEqual(all, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
  assert.throws(() => pool.allocate(), /No free address in pod CIDR 10\.0\.0\.0\/29: all 5 are taken/);
});

test("a freed address is used again as late as possible", () => {
  const pool = new AddressPool(parseCidr("10.0.0.0/29"));
  const first = pool.allocate();
  pool.release(first);
  const next = Array.from({ length: 4 }, () => pool.allocate());
  assert.ok(!next.includes(first));
  assert.equal(pool.allocate(), first);
});

test("it goes on after the address that an earlier agent gave last, around what is taken", () => {
  const pool = new AddressPool(parseCidr("10.0.0.0/29"), "10.0.0.5");
  pool.take("10.0.0.6", addressBytes("10.0.0.6"));
  pool.take("10.9.9.9", addressBytes("10.9.9.9"));
  assert.equal(pool.usage.taken, 1);
  assert.equal(pool.allocate(), "10.0.0.2");
});

test("addresses of pods that another network serves are left out", () => {
  const pool = new AddressPool(parseCidr("10.0.0.0/29"));
  const others = new Set(["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.9.9.9"]);
  assert.deepEqual([pool.allocate(others), pool.allocate(others)], ["10.0.0.3", "10.0.0.6"]);
  assert.throws(() => pool.allocate(others), /all 5 are taken, some by pods of another network/);
  assert.equal(pool.allocate(), "10.0.0.2");
});

test("beside pods of another network it begins half a range after theirs, and goes on from there", () => {
  const pool = new AddressPool(parseCidr("10.0.0.0/24"));
  const others = new Set(["10.0.0.2", "10.0.0.21", "10.0.0.9", "10.9.9.9", "fd00::9"]);
  assert.equal(pool.allocate(others), "10.0.0.148");
  pool.release("10.0.0.148");
  assert.equal(pool.allocate(others), "10.0.0.149");
  const later = new AddressPool(parseCidr("10.0.0.0/24"), "10.0.0.7");
  assert.equal(later.allocate(others), "10.0.0.8");
  const end = new AddressPool(parseCidr("10.0.0.0/24"));
  assert.equal(end.allocate(new Set(["10.0.0.250"])), "10.0.0.124");
  const alone = new AddressPool(parseCidr("10.0.0.0/24"));
  assert.equal(alone.allocate(new Set(["10.9.9.9"])), "10.0.0.2");
  const ipv6 = new AddressPool(parseCidr("fd00:0:0:1::/64"));
  assert.equal(ipv6.allocate(new Set(["fd00:0:0:1::5"])), "fd00:0:0:1::8006");
});

test("such pods are found by their network namespaces, from when they have addresses until they end", async (t) => {
  const names = ["a", "b", "c"].map((one) => `shf${process.pid}${one}`) as [string, string, string];
  const ip = (...args: string[]) => run("ip", args);
  t.after(() => Promise.all(names.map((name) => run("ip", ["netns", "del", name], { allowFailure: true }))));
  const found = async (pods: ForeignPods, ...own: string[]): Promise<string[]> =>
    [...(await pods.addresses(new Set(own)))].filter((one) => /^(10\.99\.|fd99:)/.test(one)).sort();
  const pods = new ForeignPods();
  for (const name of names) await ip("netns", "add", name);
  assert.deepEqual(await found(pods), []);
  for (const [index, name] of names.entries())
    for (const address of [`10.99.0.${index}/24`, `fd99:0:0::${index + 1}/64`])
      await ip("-n", name, "addr", "add", address, "dev", "lo");
  assert.deepEqual(await found(pods, names[0]), ["10.99.0.1", "10.99.0.2", "fd99::2", "fd99::3"]);
  assert.deepEqual(await found(new ForeignPods("/run/shunt-no-such-folder")), []);
  await ip("netns", "del", names[1]);
  assert.deepEqual(await found(pods, names[0]), ["10.99.0.2", "fd99::3"]);
});

test("an IPv6 range hands out canonical addresses", () => {
  const pool = new AddressPool(parseCidr("fd00:0:0:1::/64"));
  assert.equal(pool.gateway, "fd00:0:0:1::1");
  assert.equal(pool.allocate(), "fd00:0:0:1::2");
});
