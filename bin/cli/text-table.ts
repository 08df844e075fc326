// SPDX-License-Identifier: Apache-2.0
import { printable } from "./print.ts";

/** Lines of a table whose columns are as wide as what is in them; numbers stand to the right. */
export function textTable(heads: readonly string[], texts: readonly (readonly string[])[]): string[] {
  const rows = texts.map((row) => row.map(printable));
  const widths = heads.map((head, column) =>
    rows.reduce((width, row) => Math.max(width, row[column]!.length), head.length),
  );
  const isNumeric = heads.map((_, column) => rows.every((row) => /^[\d.]* ?%?$/.test(row[column]!)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        isNumeric[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join("  ")
      .trimEnd();
  return [heads, ...rows].map(line);
}
