// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createLogger } from "../lib/log.ts";
import { run } from "../lib/run.ts";
import { Datapath } from "./datapath.ts";
import { natEntry, policyFlow, tuple } from "./datapath-layout.ts";
import { deviceIndex, inNetns } from "./libbpf.ts";
import { buildFile } from "./paths.ts";

const log = createLogger(() => undefined);
let folder: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "shunt-bpffs-"));
  await run("mount", ["-t", "bpf", "bpf", folder]);
});
after(async () => {
  await run("umount", [folder]);
  rmSync(folder, { recursive: true });
});

test("an agent with another layout takes over the flows of the one before, and then its place", () => {
  const open = (version: string) => {
    const made = new Datapath({ pinFolder: join(folder, version), objectFolder: buildFile("bpf"), log });
    made.load({});
    made.takeOverFlows();
    return made;
  };
  const older = open("v1");
  const end = { source: new Uint8Array(16).fill(1), destination: new Uint8Array(16).fill(2) };
  const key = tuple.encode({
    ...end,
    sourcePort: 1,
    destinationPort: 2,
    protocol: 6,
    reserved: new Uint8Array(3),
  });
  const to = { ...end, sourcePort: 3, destinationPort: 4, protocol: 6, reserved: new Uint8Array(3) };
  older.map("sh_nat").set(key, natEntry.encode({ to, lastSeenNs: 5n }));
  const words = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
  const judged = policyFlow.encode({ lastSeenNs: 7n, word: words(0x1202, 0), rule: words(3, 0), flags: 1 });
  older.map("sh_policy_flows").set(key, judged);
  const newer = open("v2");
  const flow = policyFlow.decode(newer.map("sh_policy_flows").get(key)!);
  assert.deepEqual([flow.lastSeenNs, flow.word, flow.flags], [7n, words(0xffffffff, 0), 1]);
  assert.equal(natEntry.decode(newer.map("sh_nat").get(key)!).to.sourcePort, 3);
  assert.ok(existsSync(join(folder, "v1")));
  newer.retireOlder();
  assert.deepEqual([existsSync(join(folder, "v1")), existsSync(join(folder, "v2"))], [false, true]);
  // Its own maps are found again, and nothing is copied over what is newer.
  newer.map("sh_nat").delete(key);
  assert.equal(open("v2").map("sh_nat").get(key), undefined);
});

test("the driver's program comes, is adopted by the next agent, and goes; what cannot run it says why", async () => {
  const name = `sd${process.pid % 100000}`;
  const lines = ["link add up0 type veth peer name up1", "link add switch0 type bridge", "link set up0 up"];
  await run("ip", ["netns", "add", name]);
  try {
    await run("ip", ["-n", name, "-batch", "-"], { input: `${lines.join("\n")}\n` });
    const hasProgram = async () => {
      const [link] = JSON.parse((await run("ip", ["-n", name, "-j", "link", "show", "dev", "up0"])).stdout);
      return link.xdp !== undefined;
    };
    const within = (work: () => void) => inNetns(`/run/netns/${name}`, work);
    const pinFolder = join(folder, "driver");
    const open = (withDriver: boolean) => {
      const made = new Datapath({ pinFolder, objectFolder: buildFile("bpf"), log, withDriver });
      made.load({});
      return made;
    };
    const first = open(true);
    within(() => first.attachDriver("up0", deviceIndex("up0")));
    assert.ok(await hasProgram());
    assert.deepEqual(first.attachments, [{ target: "up0 driver", program: "from_wire", kind: "xdp" }]);
    within(() =>
      assert.throws(() => first.attachDriver("switch0", deviceIndex("switch0")), /driver has no XDP/),
    );
    const next = open(true);
    within(() => next.attachDriver("up0", deviceIndex("up0")));
    next.keepDrivers(["up0"]);
    assert.ok(await hasProgram());
    // Another's program is left alone.
    const other = new Datapath({
      ...{ pinFolder: join(folder, "other"), objectFolder: buildFile("bpf"), log },
      withDriver: true,
    });
    other.load({});
    within(() => assert.throws(() => other.attachDriver("up0", deviceIndex("up0")), /another XDP program/));
    within(() => open(false).keepDrivers([]));
    assert.ok(!(await hasProgram()));
  } finally {
    await run("ip", ["netns", "delete", name]);
  }
});
