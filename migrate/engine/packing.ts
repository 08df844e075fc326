// SPDX-License-Identifier: Apache-2.0
import { gunzipSync, gzipSync } from "node:zlib";
import { ShuntError } from "../../lib/errors.ts";
import type { JournalEntry } from "../model/journal.ts";

/** Above this, what an entry remembers is compressed. */
const packAboveBytes = 4 * 1024;
/** The API server's store takes 1.5 MiB an object; the rest of the object needs room too. */
const mostBytes = 1024 * 1024;
const mostUnpackedBytes = 64 * 1024 * 1024;

/** An entry as it is stored: small, with what it remembers compressed when that is long. */
export type StoredEntry = Omit<JournalEntry, "before" | "notes"> &
  Partial<Pick<JournalEntry, "before" | "notes">> & { packed?: string };

/** Compresses any JSON value into text. */
export const pack = (value: unknown): string => gzipSync(JSON.stringify(value)).toString("base64");

/** What `pack` made of it. Throws for anything else, also when it would unpack to something huge. */
export const unpack = (packed: string): any =>
  JSON.parse(
    gunzipSync(Buffer.from(packed, "base64"), { maxOutputLength: mostUnpackedBytes }).toString("utf8"),
  );

/** The entry as the journal keeps it. Throws when it can never fit, before anything is written. */
export function store(entry: JournalEntry, step: string): StoredEntry {
  const { before, notes, message, ...rest } = entry;
  const short = message === undefined ? {} : { message: message.slice(0, 500) };
  const kept = { ...(before === undefined ? {} : { before }), ...(notes === undefined ? {} : { notes }) };
  if (JSON.stringify(kept).length <= packAboveBytes) return { ...rest, ...short, ...kept };
  const packed = pack(kept);
  if (packed.length > mostBytes)
    throw new ShuntError(
      `Step ${step} has ${packed.length} bytes to remember for its undo, and the journal takes ${mostBytes} of a step`,
      { code: "JournalFull", remedy: "The step was not begun. Please report what makes it so much." },
    );
  return { ...rest, ...short, packed };
}

/** The entry as the engine uses it. */
export function restore({ packed, ...rest }: StoredEntry): JournalEntry {
  return packed === undefined ? rest : { ...rest, ...unpack(packed) };
}
