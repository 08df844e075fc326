// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { probeFeatures } from "./libbpf.ts";

test("this kernel has what the datapath needs, and probing leaves no namespace entered", () => {
  const home = fs.readlinkSync("/proc/thread-self/ns/net");
  const missing = probeFeatures().filter((probe) => probe.required && !probe.available);
  assert.deepEqual(missing, []);
  assert.equal(fs.readlinkSync("/proc/thread-self/ns/net"), home);
});
