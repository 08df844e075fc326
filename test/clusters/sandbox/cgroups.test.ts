// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { it } from "node:test";
import { cgroupDirs, parseHierarchies, unifiedDir } from "./cgroups.ts";

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate`;

it("finds version 1 and version 2 hierarchies", () => {
  const found = parseHierarchies(hybrid);
  assert.deepEqual(
    found.map(({ version, mountPoint }) => [version, mountPoint]),
    [
      [1, "/sys/fs/cgroup/cpu,cpuacct"],
      [1, "/sys/fs/cgroup/systemd"],
      [2, "/sys/fs/cgroup/unified"],
    ],
  );
  assert.deepEqual(found[0]!.controllers, ["cpu", "cpuacct"]);
  assert.equal(unifiedDir(found, "a/b"), "/sys/fs/cgroup/unified/shunt/a/b");
});

it("works where there is only version 2", () => {
  const found = parseHierarchies("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate");
  assert.deepEqual(cgroupDirs(found, "a"), ["/sys/fs/cgroup/shunt/a"]);
});
