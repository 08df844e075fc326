// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig, parseConfig } from "./config.ts";

test("an empty file is the default configuration", () => {
  const config = parseConfig(null, "test");
  assert.equal(config.tunnelPort, 8473);
  assert.equal(config.routing, "vxlan");
  assert.deepEqual([config.nodePortMin, config.nodePortMax], [30_000, 32_767]);
  assert.deepEqual(config.defaults, {
    podNetwork: "active",
    services: "on",
    policy: "off",
    security: "observe",
  });
});

const bad: [string, unknown, RegExp][] = [
  ["an unknown key", { routting: "vxlan" }, /routting/],
  ["an unknown routing", { routing: "ipip" }, /routing.*vxlan, direct/],
  ["a port out of range", { tunnelPort: 70_000 }, /tunnelPort/],
  ["a range upside down", { services: { nodePortRange: "32767-30000" } }, /32767-30000/],
  ["a CIDR that is none", { clusterPodCIDRs: ["10.0.0.0/33"] }, /10\.0\.0\.0\/33/],
  ["a list instead of an object", [], /object/],
];
for (const [what, content, message] of bad)
  test(`${what} is named`, () => {
    assert.throws(() => parseConfig(content, "test"), message);
  });

test("a missing file says where it was looked for", () => {
  assert.throws(() => loadConfig("/nonexistent/config.yaml"), /\/nonexistent\/config\.yaml/);
});
