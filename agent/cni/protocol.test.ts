// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Endpoint } from "../endpoint-store.ts";
import { addResult, CniError, parseRequest, validAttachments } from "./protocol.ts";

const env = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "abc123",
  CNI_IFNAME: "eth0",
  CNI_NETNS: "/var/run/netns/cni-1",
  CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
};
const request = (changes: Record<string, string>, config: unknown = { cniVersion: "1.0.0" }) =>
  JSON.stringify({ env: { ...env, ...changes }, stdin: JSON.stringify(config) });

test("a request of containerd is read", () => {
  const parsed = parseRequest(request({}));
  assert.equal(parsed.containerId, "abc123");
  assert.equal(parsed.args.K8S_POD_NAME, "web");
});

const bad: [string, string, number][] = [
  ["no JSON", "{", 6],
  ["an unknown command", request({ CNI_COMMAND: "EXPLODE" }), 4],
  ["a command of Object.prototype", request({ CNI_COMMAND: "constructor" }), 4],
  ["a container id that is a path", request({ CNI_CONTAINERID: "../../etc/passwd" }), 4],
  ["no container id", request({ CNI_CONTAINERID: "" }), 4],
  ["an interface name with a line break", request({ CNI_IFNAME: "eth0\nlink" }), 4],
  ["an interface name that is too long", request({ CNI_IFNAME: "e".repeat(16) }), 4],
  ["a namespace with a blank", request({ CNI_NETNS: "/run/netns/x type dummy" }), 4],
  ["a version from the future", request({}, { cniVersion: "9.0.0" }), 1],
  ["a configuration that is a list", request({}, []), 6],
];
for (const [what, text, code] of bad)
  test(`${what} is refused with code ${code}`, () => {
    assert.throws(
      () => parseRequest(text),
      (error) => error instanceof CniError && error.cniCode === code,
    );
  });

test("DEL needs no namespace", () => {
  assert.equal(parseRequest(request({ CNI_COMMAND: "DEL", CNI_NETNS: "" })).command, "DEL");
});

const endpoint = {
  device: "shv1",
  ifName: "eth0",
  mac: "0a:00:00:00:00:01",
  hostMac: "0a:00:00:00:00:02",
  netns: "/run/netns/x",
  addresses: ["10.0.0.2", "fd00::2"],
  gateways: ["10.0.0.1", "fd00::1"],
  mtu: 1450,
} as Endpoint;

test("the result has the form of the version", () => {
  const old = addResult(endpoint, "0.3.1") as any;
  assert.deepEqual(
    old.ips.map((ip: any) => ip.version),
    ["4", "6"],
  );
  const now = addResult(endpoint, "1.0.0") as any;
  assert.deepEqual(now.ips[0], { interface: 1, address: "10.0.0.2/32", gateway: "10.0.0.1" });
  assert.equal(now.interfaces[1].sandbox, "/run/netns/x");
  assert.equal(now.interfaces[1].mtu, undefined);
  assert.equal((addResult(endpoint, "1.1.0") as any).interfaces[1].mtu, 1450);
  assert.deepEqual(now.routes[1], { dst: "::/0", gw: "fd00::1" });
});

test("GC without its list removes nothing", () => {
  assert.throws(() => validAttachments(parseRequest(request({ CNI_COMMAND: "GC" }))), /valid-attachments/);
  const list = [{ containerID: "a", ifname: "eth0" }];
  const config = { cniVersion: "1.1.0", "cni.dev/valid-attachments": list };
  const valid = validAttachments(parseRequest(request({ CNI_COMMAND: "GC" }, config)));
  assert.deepEqual([...valid], ["a.eth0"]);
});
