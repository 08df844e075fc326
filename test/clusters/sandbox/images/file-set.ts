// SPDX-License-Identifier: Apache-2.0
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { run } from "../../../../lib/run.ts";
import type { TarEntry } from "./tar.ts";

/** The files of one image layer, by their path in the image. Folders above them are made by themselves. */
export class FileSet {
  readonly #entries = new Map<string, TarEntry>();

  /** Entries in the order that an archive needs. */
  list(): TarEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  #put(entry: TarEntry): void {
    for (let at = entry.path.indexOf("/"); at > 0; at = entry.path.indexOf("/", at + 1)) {
      const folder = entry.path.slice(0, at);
      if (!this.#entries.has(folder)) this.#entries.set(folder, { path: folder, type: "dir", mode: 0o755 });
    }
    this.#entries.set(entry.path, entry);
  }

  dir(to: string, mode = 0o755): void {
    this.#put({ path: to, type: "dir", mode });
  }

  link(to: string, target: string): void {
    this.#put({ path: to, type: "link", mode: 0o777, target });
  }

  text(to: string, data: string, mode = 0o644): void {
    this.#put({ path: to, type: "file", mode, data: Buffer.from(data) });
  }

  file(to: string, source: string): void {
    const info = statSync(source);
    this.#put({ path: to, type: "file", mode: info.mode & 0o755, source, size: info.size });
  }

  /** Everything below a folder that `keep` lets through (paths relative to it). Links stay links. */
  tree(to: string, source: string, keep: (file: string) => boolean = () => true, below = ""): void {
    for (const entry of readdirSync(path.join(source, below), { withFileTypes: true })) {
      const relative = path.join(below, entry.name);
      const full = path.join(source, relative);
      if (!keep(relative)) continue;
      if (entry.isDirectory()) this.tree(to, source, keep, relative);
      else if (entry.isSymbolicLink()) this.link(path.join(to, relative), readlinkSync(full));
      else if (entry.isFile()) this.file(path.join(to, relative), full);
    }
  }

  /** A program at `to` with the shared libraries that it needs. */
  async program(to: string, source: string): Promise<void> {
    this.file(to, realpathSync(source));
    for (const library of await sharedLibraries(source)) this.file(imagePath(library), realpathSync(library));
  }
}

/** Where a library of this machine lies in an image, whose /lib, /bin… are links into /usr. */
export function imagePath(file: string): string {
  const bare = file.replace(/^\/+/, "");
  return /^(lib|lib64|bin|sbin)\//.test(bare) ? `usr/${bare}` : bare;
}

/** Paths of the shared libraries of a program, its loader included; none for a static one. */
export async function sharedLibraries(file: string): Promise<string[]> {
  return await librariesOf([file]);
}

/** The same of several files. */
export async function librariesOf(files: readonly string[]): Promise<string[]> {
  const { stdout, exitCode } = await run("ldd", files, { allowFailure: true });
  return exitCode === 0 ? parseLdd(stdout) : [];
}

/** Reads what ldd prints. */
export function parseLdd(text: string): string[] {
  return [...text.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map((match) => match[1]!);
}

/** A text that changes when a file of the set does: names, sizes and times, without reading the files. */
export function fingerprint(entries: readonly TarEntry[]): string {
  return entries
    .map((entry) => {
      const info = entry.source === undefined ? undefined : lstatSync(entry.source);
      const content = info === undefined ? (entry.data?.toString() ?? "") : `${info.size} ${info.mtimeMs}`;
      return `${entry.path} ${entry.mode} ${entry.target ?? ""} ${content}`;
    })
    .join("\n");
}

/** A text that changes when the content of a file of the set does; for sets small enough to read. */
export function contents(entries: readonly TarEntry[]): string {
  return entries
    .map((entry) => {
      const data = entry.source === undefined ? entry.data : readFileSync(entry.source);
      return `${entry.path} ${entry.mode} ${entry.target ?? ""} ${data?.toString("latin1") ?? ""}`;
    })
    .join("\n");
}
