// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type VolumeFile, writeVolume } from "./atomic-writer.ts";
import { cgroupMounts } from "./cgroups.ts";
import { parseLogLine, tailOfLog } from "./container-log.ts";
import { volumeMounts } from "./container-mounts.ts";
import { logRecords, tailOffset } from "./log-reader.ts";

const folder = await mkdtemp(join(tmpdir(), "shunt-kubelet-"));
after(() => rm(folder, { recursive: true, force: true }));

const file = (text: string, mode = 0o644): VolumeFile => ({ data: Buffer.from(text), mode });

test("a volume changes all at once and loses what is gone", async () => {
  const volume = join(folder, "volume");
  const first = new Map([
    ["a", file("1")],
    ["deep/b", file("2", 0o400)],
  ]);
  assert.equal(await writeVolume(volume, first), true);
  assert.equal(await readFile(join(volume, "deep/b"), "utf8"), "2");
  assert.equal((await stat(join(volume, "deep/b"))).mode & 0o777, 0o400);
  const before = await readlink(join(volume, "..data"));
  assert.equal(await writeVolume(volume, first), false);
  assert.equal(await readlink(join(volume, "..data")), before);
  assert.equal(await writeVolume(volume, new Map([["a", file("3")]])), true);
  assert.equal(await readFile(join(volume, "a"), "utf8"), "3");
  const left = (await readdir(volume)).filter((name) => !name.startsWith("..2"));
  assert.deepEqual(left.sort(), ["..data", "a"]);
  assert.equal((await readdir(volume)).length, 3);
});

test("a volume's file cannot leave the volume", async () => {
  for (const path of ["../x", "/etc/x", "a/../../x", "..data", ""])
    await assert.rejects(writeVolume(join(folder, "evil"), new Map([[path, file("")]])), /not a path inside/);
});

test("a subPath stays in its volume, links included", async () => {
  const volume = join(folder, "sub");
  await mkdir(volume);
  await symlink("/etc", join(volume, "out"));
  const mounts = (subPath: string) =>
    volumeMounts(
      { name: "c", volumeMounts: [{ name: "v", mountPath: "/m", subPath }] },
      new Map([["v", volume]]),
      new Map(),
    );
  for (const path of ["out", "out/passwd", "../x", "/etc"])
    await assert.rejects(mounts(path), /leaves its volume/);
  const [mount] = await mounts("new/dir");
  assert.equal(mount?.host_path, join(volume, "new/dir"));
  assert.ok((await stat(join(volume, "new/dir"))).isDirectory());
});

const line = (text: string, tag = "F") => `2026-01-02T03:04:05.678901234Z stdout ${tag} ${text}\n`;

test("lines of a container's log", () => {
  assert.deepEqual(parseLogLine(line("a b ").trimEnd()), {
    time: "2026-01-02T03:04:05.678901234Z",
    stream: "stdout",
    partial: false,
    text: "a b",
  });
  assert.equal(parseLogLine(line("x", "P").trimEnd())?.partial, true);
  assert.equal(parseLogLine("garbage"), undefined);
});

test("the tail of a log, and what comes after it", async () => {
  const path = join(folder, "0.log");
  await writeFile(path, line("one") + line("two") + line("three"));
  const read = async (lines: number, follow: () => Promise<boolean>) => {
    const texts: string[] = [];
    const offset = await tailOffset(path, lines);
    for await (const record of logRecords(path, offset, follow, AbortSignal.timeout(10_000)))
      texts.push(record.text);
    return texts;
  };
  assert.deepEqual(await read(2, async () => false), ["two", "three"]);
  assert.deepEqual(await read(0, async () => false), []);
  assert.deepEqual(await read(9, async () => false), ["one", "two", "three"]);
  let rounds = 0;
  const grow = async () => {
    if (rounds++ === 0) await appendFile(path, line("four"));
    return rounds < 2;
  };
  assert.deepEqual(await read(1, grow), ["three", "four"]);
  assert.equal(await tailOfLog(path, 2, 100), "three\nfour\n");
});

test("cgroup hierarchies that can be written", async () => {
  const table = [
    "30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory",
    "31 25 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
    "32 25 0:28 / /sys/fs/cgroup/cpu ro,relatime - cgroup cgroup rw,cpu",
    "33 25 0:29 / /tmp rw - tmpfs tmpfs rw",
  ].join("\n");
  assert.deepEqual(await cgroupMounts(table), ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"]);
});
