// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { sleep } from "../../../../lib/wait.ts";
import { Visits } from "./visits.ts";

/**
 * A visitor in the internet: GETs URLs in turn at a constant rate, and keeps count in a file. The URLs are the lines of
 * the file named like that one with `.urls` at the end; it stops for good once one with `.stop` is there.
 */
export async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      rate: { type: "string", default: "20" },
      results: { type: "string" },
    },
  });
  const file = values.results!;
  const readUrls = () => readFileSync(`${file}.urls`, "utf8").split("\n").filter(Boolean);
  const visits = new Visits(readUrls(), Number(values.rate));
  for (;;) {
    visits.follow(readUrls());
    if (existsSync(`${file}.stop`)) visits.stop();
    writeFileSync(`${file}.tmp`, JSON.stringify(visits.results()));
    renameSync(`${file}.tmp`, file);
    await sleep(500);
  }
}
