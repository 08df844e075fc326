// SPDX-License-Identifier: Apache-2.0

/** The command in a form that a person can paste into a POSIX shell. */
export function formatCommand(file: string, args: readonly string[]): string {
  return [file, ...args]
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(" ");
}
