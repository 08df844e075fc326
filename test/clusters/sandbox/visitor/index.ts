// SPDX-License-Identifier: Apache-2.0
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { sleep } from "../../../../lib/wait.ts";
import { Visits } from "./visits.ts";

/**
 * A visitor in the internet: GETs URLs in turn at a constant rate, and keeps count in a file. It stops for good once
 * a file named like that one with `.stop` at the end is there.
 */
export async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      url: { type: "string", multiple: true },
      rate: { type: "string", default: "20" },
      results: { type: "string" },
    },
  });
  const file = values.results!;
  const visits = new Visits(values.url ?? [], Number(values.rate));
  for (;;) {
    if (existsSync(`${file}.stop`)) visits.stop();
    writeFileSync(`${file}.tmp`, JSON.stringify(visits.results()));
    renameSync(`${file}.tmp`, file);
    await sleep(500);
  }
}
