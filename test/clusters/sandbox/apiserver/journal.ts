// SPDX-License-Identifier: Apache-2.0
// Keeps the store on disk: a snapshot, and behind it one line for every change since.
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { ShuntError } from "../../../../lib/errors.ts";
import type { KubeObject } from "./resources/index.ts";
import type { Journal, Store, StoreEvent } from "./store.ts";

const SNAPSHOT_AFTER_BYTES = 64 * 1024 * 1024;

interface Line {
  group: string;
  plural: string;
  object: KubeObject;
  deleted?: boolean;
}

/** Restores a store from a folder and writes every further change there. */
export class FileJournal implements Journal {
  readonly #store: Store;
  readonly #path: string;
  #fd = -1;
  #bytes = 0;

  constructor(store: Store, folder: string) {
    this.#store = store;
    this.#path = join(folder, "objects.jsonl");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (existsSync(this.#path)) this.#restore();
    store.restored();
    this.#snapshot();
    store.journal = this;
  }

  #restore(): void {
    const lines = readFileSync(this.#path, "utf8").split("\n");
    lines.forEach((line, index) => {
      if (line === "") return;
      try {
        const { group, plural, object, deleted } = JSON.parse(line) as Line;
        if (object.kind === "Revision")
          this.#store.revision = Math.max(this.#store.revision, object.revision);
        else this.#store.restore(group, plural, object, deleted === true);
      } catch (cause) {
        // A crash can cut off the last line; its change was not answered yet.
        if (index >= lines.length - 2) return;
        throw new ShuntError(`${this.#path}:${index + 1} is not a journal line`, {
          code: "BrokenJournal",
          remedy: "Move the file away to start with an empty cluster.",
          cause,
        });
      }
    });
  }

  // Written aside and renamed, so that a crash leaves the old or the new one.
  #snapshot(): void {
    const aside = `${this.#path}.new`;
    const fd = openSync(aside, "w", 0o600);
    const head = { group: "", plural: "", object: { kind: "Revision", revision: this.#store.revision } };
    writeSync(fd, `${JSON.stringify(head)}\n`);
    for (const entry of this.#store.entries()) writeSync(fd, `${JSON.stringify(entry)}\n`);
    renameSync(aside, this.#path);
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = fd;
    this.#bytes = 0;
  }

  append(group: string, plural: string, event: StoreEvent): void {
    const deleted = event.type === "DELETED";
    const line = `${JSON.stringify({ group, plural, object: event.object, ...(deleted ? { deleted } : {}) })}\n`;
    this.#bytes += writeSync(this.#fd, line);
    if (this.#bytes > SNAPSHOT_AFTER_BYTES) queueMicrotask(() => this.#bytes > 0 && this.#snapshot());
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    this.#store.journal = undefined;
  }
}
