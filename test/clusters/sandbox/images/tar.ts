// SPDX-License-Identifier: Apache-2.0
import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";

/** One member of a tar archive. */
export interface TarEntry {
  /** Path in the archive, without a leading slash. */
  path: string;
  type: "file" | "dir" | "link";
  mode: number;
  /** Content of a file: from a file of this machine, or as it is. */
  source?: string;
  data?: Uint8Array;
  /** Bytes of a file's content. */
  size?: number;
  /** What a symbolic link points to. */
  target?: string;
}

const block = 512;
const typeFlags = { file: "0", link: "2", dir: "5" };

/** Writes archives that are equal, byte for byte, for equal entries: owner root, time zero. */
export class TarWriter {
  #fd: number;
  #hash: Hash = createHash("sha256");

  constructor(file: string) {
    this.#fd = openSync(file, "w");
  }

  #write(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
  }

  #pad(size: number): void {
    if (size % block !== 0) this.#write(new Uint8Array(block - (size % block)));
  }

  add(entry: TarEntry): void {
    const size = entry.type === "file" ? (entry.data?.length ?? entry.size ?? 0) : 0;
    const long = extendedHeader(entry);
    if (long !== undefined) {
      this.#write(header("PaxHeader", "x", 0o644, long.length));
      this.#write(long);
      this.#pad(long.length);
    }
    this.#write(header(entry.path, typeFlags[entry.type], entry.mode, size, entry.target));
    if (entry.data !== undefined) this.#write(entry.data);
    else if (entry.source !== undefined) this.#copy(entry.source, size);
    this.#pad(size);
  }

  /** Copies exactly `size` bytes, so that a file that changes meanwhile cannot break the archive. */
  #copy(source: string, size: number): void {
    const from = openSync(source, "r");
    const buffer = new Uint8Array(Math.min(size, 4 * 1024 * 1024));
    try {
      for (let left = size; left > 0; ) {
        const count = readSync(from, buffer, 0, Math.min(left, buffer.length), null);
        if (count === 0) buffer.fill(0);
        const part = buffer.subarray(0, count === 0 ? Math.min(left, buffer.length) : count);
        this.#write(part);
        left -= part.length;
      }
    } finally {
      closeSync(from);
    }
  }

  /** Ends the archive. Returns its SHA-256, hex. */
  finish(): string {
    this.#write(new Uint8Array(block * 2));
    closeSync(this.#fd);
    return this.#hash.digest("hex");
  }
}

function header(name: string, type: string, mode: number, size: number, target = ""): Uint8Array {
  const bytes = Buffer.alloc(block);
  const octal = (value: number, at: number, length: number) =>
    bytes.write(value.toString(8).padStart(length - 1, "0"), at, length - 1, "latin1");
  bytes.write(name, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  bytes.fill(" ", 148, 156);
  bytes.write(type, 156);
  bytes.write(target, 157, 100);
  bytes.write("ustar\u000000", 257, "latin1");
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return bytes;
}

/** Names that the old header has no room for (POSIX.1-2001 pax records). */
function extendedHeader(entry: TarEntry): Uint8Array | undefined {
  const records: string[] = [];
  for (const [key, value] of [
    ["path", entry.path],
    ["linkpath", entry.target ?? ""],
  ] as const) {
    if (Buffer.byteLength(value) <= 99) continue;
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + String(rest).length;
    if (String(length).length !== String(rest).length) length = rest + String(length).length;
    records.push(`${length} ${key}=${value}\n`);
  }
  return records.length === 0 ? undefined : Buffer.from(records.join(""));
}
