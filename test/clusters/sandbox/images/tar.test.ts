// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { it } from "node:test";
import { run } from "../../../../lib/run.ts";
import { FileSet, parseLdd } from "./file-set.ts";
import { TarWriter } from "./tar.ts";

function fileSet(): FileSet {
  const files = new FileSet();
  files.text("etc/passwd", "root:x:0:0::/:\n");
  files.text(`opt/${"deep/".repeat(30)}file`, "x".repeat(1000), 0o600);
  files.link("bin", "usr/bin");
  files.dir("tmp", 0o1777);
  return files;
}

it("writes archives that tar reads, equal for equal files", async () => {
  const dir = mkdtempSync(path.join(tmpdir(), "tar-"));
  try {
    const digests = ["a.tar", "b.tar"].map((name) => {
      const tar = new TarWriter(path.join(dir, name));
      for (const entry of fileSet().list()) tar.add(entry);
      return tar.finish();
    });
    assert.equal(digests[0], digests[1]);
    const listed = await run("tar", ["-tvf", path.join(dir, "a.tar")]);
    assert.match(listed.stdout, /lrwxrwxrwx .* bin -> usr\/bin/);
    assert.match(listed.stdout, /drwxrwxrwt .* tmp/);
    assert.match(listed.stdout, new RegExp(`-rw------- .* 1000 .*opt/${"deep/".repeat(30)}file`));
    assert.doesNotMatch(listed.stderr, /tar:/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

it("finds the libraries in what ldd prints", () => {
  const text = `\tlinux-vdso.so.1 (0x00007f6e908ca000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f6e90541000)
\tlibgone.so => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f6e908cc000)
`;
  assert.deepEqual(parseLdd(text), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
});
