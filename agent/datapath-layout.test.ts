// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { run } from "../lib/run.ts";
import { enums, structs } from "./datapath-layout.ts";

interface BtfType {
  kind: string;
  name: string;
  size?: number;
  members?: { name: string; bits_offset: number }[];
  values?: { name: string; val: number }[];
}

const object = path.join(import.meta.dirname, "../build/bpf/layout.bpf.o");

async function btfTypes(): Promise<BtfType[]> {
  const dump = await run("bpftool", ["-j", "btf", "dump", "file", object]);
  return JSON.parse(dump.stdout).types;
}

const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

test("every struct of bpf/shunt.h has the same fields, offsets and size in TypeScript", async () => {
  const inC = (await btfTypes())
    .filter((type) => type.kind === "STRUCT")
    .map((type) => ({
      name: type.name,
      size: type.size,
      fields: type.members!.map((member) => [member.name, member.bits_offset / 8]),
    }));
  const inTypeScript = structs.map((layout) => ({
    name: layout.name,
    size: layout.size,
    fields: Object.entries(layout.offsets).map(([name, offset]) => [snakeCase(name), offset]),
  }));
  const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name);
  assert.ok(inC.length >= 18);
  assert.deepEqual(inTypeScript.sort(byName), inC.sort(byName));
});

test("every enum of bpf/shunt.h has the same values in TypeScript", async () => {
  const inC = Object.fromEntries(
    (await btfTypes())
      .filter((type) => type.kind === "ENUM" && type.name !== "(anon)")
      .map((type) => [type.name, Object.fromEntries(type.values!.map(({ name, val }) => [name, val]))]),
  );
  assert.deepEqual({ ...enums }, inC);
});
