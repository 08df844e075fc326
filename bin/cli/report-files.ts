// SPDX-License-Identifier: Apache-2.0
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { Report } from "../../migrate/model/report.ts";
import type { CliEnv } from "./env.ts";
import { readReport } from "./migrate-status.ts";

const readTimeoutMs = 60_000;

/** Writes texts by file name into a folder, which is made when it is missing. */
export async function writeFiles(dir: string, files: Record<string, string>): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  } catch (cause) {
    throw new ShuntError(`Cannot write into ${dir}: ${errorMessage(cause)}`, { cause });
  }
}

/** The report as a page, and as a machine reads it. */
export async function reportFiles(report: Report): Promise<Record<string, string>> {
  const { reportHtml } = await import("../../migrate/report/index.ts");
  return { "report.html": reportHtml(report), "report.json": `${JSON.stringify(report, null, 2)}\n` };
}

/** Writes the report of a migration, also after Ctrl-C. What goes wrong is told and changes no outcome. */
export async function writeReports(
  env: CliEnv,
  kube: KubeClient,
  dir: string,
  name: string | undefined,
): Promise<void> {
  try {
    const report = await readReport(kube, AbortSignal.timeout(readTimeoutMs), name);
    await writeFiles(dir, await reportFiles(report));
    env.stderr.write(`The report is in ${join(dir, "report.html")}\n`);
  } catch (error) {
    env.stderr.write(`No report was written: ${errorMessage(error)}\n`);
  }
}
