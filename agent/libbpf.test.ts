// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { ShuntError } from "../lib/errors.ts";
import { run } from "../lib/run.ts";
import { addressKey, endpoint, maps } from "./datapath-layout.ts";
import {
  attachTc,
  type BpfObject,
  detachTc,
  deviceIndex,
  inNetns,
  loadObject,
  openPinnedMap,
  RingBufferReader,
  testRun,
} from "./libbpf.ts";

const objects = path.join(import.meta.dirname, "../build/bpf");
const pod = path.join(objects, "pod.bpf.o");
const netns = `shlb${process.pid}`;

describe("libbpf binding", () => {
  let bpffs: string;
  let object: BpfObject;

  before(async () => {
    bpffs = fs.mkdtempSync(path.join(os.tmpdir(), "shunt-bpffs-"));
    await run("mount", ["-t", "bpf", "bpf", bpffs]);
    await run("ip", ["netns", "add", netns]);
    await run("ip", ["-n", netns, "link", "add", "one", "type", "veth", "peer", "name", "two"]);
    object = loadObject(pod, { pinFolder: path.join(bpffs, "maps") });
  });
  after(async () => {
    object.close();
    await run("ip", ["netns", "delete", netns]);
    await run("umount", [bpffs]);
    fs.rmdirSync(bpffs);
  });

  const attach = (device: string, clsact = false) =>
    inNetns(`/run/netns/${netns}`, () =>
      attachTc({
        ifindex: deviceIndex(device),
        direction: "ingress",
        programFd: object.programFd("from_pod"),
        pinPath: path.join(bpffs, "links", "tc"),
        clsact,
      }),
    );

  test("a second load finds the pinned maps with what is in them", () => {
    const key = addressKey.encode({ word: new Uint8Array(16).fill(9) });
    object.map(maps.endpoints).set(key, endpoint.encode({ ifindex: 42 }));
    const again = loadObject(pod, { pinFolder: path.join(bpffs, "maps") });
    assert.equal(endpoint.decode(again.map(maps.endpoints).get(key)!).ifindex, 42);
    again.close();
    const pinned = openPinnedMap(path.join(bpffs, "maps", maps.endpoints));
    assert.equal(pinned.delete(key), true);
    assert.equal(pinned.delete(key), false);
    pinned.close();
  });

  test("a pinned map keeps its size, whatever is asked for", () => {
    const pinFolder = path.join(bpffs, "maps");
    const sized = loadObject(pod, { pinFolder, mapSizes: { [maps.endpoints]: 99, [maps.nat]: 131_072 } });
    assert.deepEqual([...sized.keptSizes], [[maps.endpoints, 16_384]]);
    assert.equal(sized.map(maps.endpoints).capacity, 16_384);
    sized.close();
    const fresh = path.join(bpffs, "fresh");
    const small = loadObject(pod, { pinFolder: fresh, mapSizes: { [maps.endpoints]: 99 } });
    assert.deepEqual([small.map(maps.endpoints).capacity, small.keptSizes.size], [99, 0]);
    small.close();
    fs.rmSync(fresh, { recursive: true });
  });

  test("pinned maps of another layout are named with a remedy, and nothing stays loaded", () => {
    const pinFolder = path.join(bpffs, "wrong");
    fs.mkdirSync(pinFolder);
    fs.renameSync(path.join(bpffs, "maps", maps.services), path.join(pinFolder, maps.endpoints));
    assert.throws(
      () => loadObject(pod, { pinFolder, mapSizes: { [maps.endpoints]: 99 } }),
      (error) => error instanceof ShuntError && /another layout/.test(error.remedy ?? ""),
    );
    fs.renameSync(path.join(pinFolder, maps.endpoints), path.join(bpffs, "maps", maps.services));
    assert.deepEqual(fs.readdirSync(pinFolder), []);
  });

  test("a missing object says how to compile it", () => {
    assert.throws(() => loadObject("/nowhere.bpf.o"), { code: "BpfObject" });
  });

  test("a pinned link is adopted, and made anew when its device was replaced", async () => {
    assert.equal(attach("one").adopted, false);
    assert.equal(attach("one").adopted, true);
    await run("ip", ["-n", netns, "link", "delete", "one"]);
    await run("ip", ["-n", netns, "link", "add", "one", "type", "veth", "peer", "name", "two"]);
    assert.equal(attach("one").adopted, false);
    inNetns(`/run/netns/${netns}`, () =>
      detachTc({
        ifindex: deviceIndex("one"),
        direction: "ingress",
        pinPath: path.join(bpffs, "links", "tc"),
      }),
    );
    assert.deepEqual(fs.readdirSync(path.join(bpffs, "links")), []);
  });

  test("clsact takes the program too, twice, and gives it back", async () => {
    assert.equal(attach("two", true).kind, "clsact");
    assert.equal(attach("two", true).adopted, true);
    const filters = async () =>
      (await run("tc", ["-n", netns, "filter", "show", "dev", "two", "ingress"])).stdout;
    assert.equal((await filters()).match(/handle 0x5348/g)?.length, 1);
    inNetns(`/run/netns/${netns}`, () =>
      detachTc({ ifindex: deviceIndex("two"), direction: "ingress", pinPath: path.join(bpffs, "none") }),
    );
    assert.doesNotMatch(await filters(), /from_pod/);
  });

  test("ten thousand entries are written, listed and deleted", () => {
    const map = object.map(maps.endpoints);
    const entries = Array.from({ length: 10_000 }, (_, id) => {
      const word = new Uint8Array(16);
      new DataView(word.buffer).setUint32(12, id);
      return [addressKey.encode({ word }), endpoint.encode({ id })] as const;
    });
    map.setMany(entries);
    const ids = map.entries().map(([, value]) => endpoint.decode(value).id);
    assert.deepEqual(
      ids.toSorted((a, b) => a - b),
      entries.map((_, id) => id),
    );
    assert.deepEqual([...map.each()], map.entries());
    map.deleteMany(entries.map(([key]) => key));
    assert.deepEqual([map.entries(), [...map.each()]], [[], []]);
  });

  test("the ring buffer gives every record once and in order, many times around", () => {
    const source = loadObject(path.join(objects, "ring-test.bpf.o"));
    const reader = new RingBufferReader(source.map("test_ring"));
    const seen: number[] = [];
    for (let turn = 0; turn < 20; turn++) {
      testRun(source.programFd("write_record"), new Uint8Array(64), { repeat: 1000 });
      reader.drain((record) => seen.push(Buffer.from(record).readUInt32LE()));
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 20_000 }, (_, number) => number),
    );
    reader.close();
    source.close();
  });
});
