// SPDX-License-Identifier: Apache-2.0
import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** Puts a CNI configuration in place at once, where it differs; says whether it did. */
export function writeConfiguration(file: string, configuration: object): boolean {
  const text = `${JSON.stringify(configuration, null, 2)}\n`;
  try {
    if (readFileSync(file, "utf8") === text) return false;
  } catch {
    // Not there yet.
  }
  // containerd takes no notice of this ending.
  writeFileSync(`${file}.temp`, text, { mode: 0o644 });
  renameSync(`${file}.temp`, file);
  return true;
}
