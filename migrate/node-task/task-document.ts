// SPDX-License-Identifier: Apache-2.0
// How arguments get into the pod of a task, and its result out.
import { gunzipSync, gzipSync } from "node:zlib";
import { ShuntError } from "../../lib/errors.ts";
import type { Json } from "../model/journal.ts";

/** The one line that a task prints. */
export type TaskDocument = { shuntNodeTask: 1 } & (
  | { ok: true; result: Json }
  | { ok: false; error: { message: string; code: string; remedy?: string } }
);

const prefix = "SHUNT_NODE_TASK_ARGS_";
/** The kernel takes 128 KiB a variable. */
const chunkLength = 96 * 1024;

/** The environment that carries these arguments. */
export function splitArgs(args: Json): { name: string; value: string }[] {
  const text = gzipSync(JSON.stringify(args ?? {})).toString("base64");
  const chunks = text.match(new RegExp(`.{1,${chunkLength}}`, "g")) ?? [];
  return chunks.map((value, index) => ({ name: `${prefix}${index}`, value }));
}

/** The arguments that the environment carries; none is an empty object. */
export function joinArgs(env: Record<string, string | undefined>): any {
  let text = "";
  for (let index = 0; env[`${prefix}${index}`] !== undefined; index++) text += env[`${prefix}${index}`];
  return text === "" ? {} : JSON.parse(gunzipSync(Buffer.from(text, "base64")).toString());
}

/** The result in a task's log. Throws what the task failed with, and when there is no document. */
export function readTaskDocument(log: string, what: string): Json {
  const line = log.split("\n").findLast((text) => text.startsWith('{"shuntNodeTask":'));
  let document: TaskDocument | undefined;
  try {
    document = line === undefined ? undefined : JSON.parse(line);
  } catch {
    // Cut off: as good as none.
  }
  if (document === undefined) {
    const last = log.trim().split("\n").slice(-5).join("\n");
    throw new ShuntError(`${what} ended without a result${last === "" ? "" : `:\n${last}`}`, {
      code: "NodeTaskFailed",
      remedy: "See that the image is the agent's of this version.",
    });
  }
  if (document.ok) return document.result;
  const { message, code, remedy } = document.error;
  throw new ShuntError(`${what} failed: ${message}`, { code, ...(remedy === undefined ? {} : { remedy }) });
}
