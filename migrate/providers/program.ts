// SPDX-License-Identifier: Apache-2.0
// Clouds are asked through their own programs: each call is a list of arguments, each answer JSON of a known shape.
import { Ajv } from "ajv";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { RunError } from "../../lib/run.ts";
import type { ProviderSetup } from "./setup.ts";

const ajv = new Ajv({ strict: false });
const callTimeoutMs = 120_000;

/** A cloud's program. */
export interface Program {
  /** Runs it and checks what it answers against a JSON schema. Throws ShuntError. */
  ask<T>(args: readonly string[], schema: object, signal?: AbortSignal): Promise<T>;
  /** Runs it for what it does. `ignore`: a failure that says this is none. Slow ones may take `timeoutMs`. */
  tell(
    args: readonly string[],
    options?: { ignore?: RegExp; signal?: AbortSignal; timeoutMs?: number },
  ): Promise<void>;
}

/** Wraps a program; `remedy` says how one gets it. */
export function programOf({ run }: ProviderSetup, file: string, remedy: string): Program {
  const call = async (
    args: readonly string[],
    signal: AbortSignal | undefined,
    timeoutMs: number,
  ): Promise<string> => {
    try {
      return (await run(file, args, { timeoutMs, ...(signal === undefined ? {} : { signal }) })).stdout;
    } catch (cause) {
      signal?.throwIfAborted();
      const isMissing = /ENOENT/.test(errorMessage(cause)) || (cause as any)?.cause?.code === "ENOENT";
      if (isMissing)
        throw new ShuntError(`the program ${file} is not on this machine`, {
          code: "NoProgram",
          remedy,
          cause,
        });
      throw cause;
    }
  };
  return {
    async ask<T>(args: readonly string[], schema: object, signal?: AbortSignal): Promise<T> {
      const text = await call(args, signal, callTimeoutMs);
      const what = `${file} ${args.slice(0, 3).join(" ")}`;
      let answer: unknown;
      try {
        answer = JSON.parse(text);
      } catch (cause) {
        throw new ShuntError(`${what}: the answer is not JSON: ${text.slice(0, 200)}`, { cause });
      }
      const validate = ajv.compile(schema);
      if (validate(answer)) return answer as T;
      const [error] = validate.errors ?? [];
      throw new ShuntError(`${what}: unexpected answer: ${error?.instancePath || "it"} ${error?.message}`, {
        code: "UnexpectedAnswer",
        remedy: `See what this version of ${file} prints; with --provider manual you add and remove the nodes yourself.`,
      });
    },
    async tell(args, { ignore, signal, timeoutMs = callTimeoutMs } = {}) {
      try {
        await call(args, signal, timeoutMs);
      } catch (error) {
        const output = error instanceof RunError ? `${error.result.stderr}${error.result.stdout}` : "";
        if (ignore?.test(output) !== true) throw error;
      }
    },
  };
}

/** An option that has to be given. Throws. */
export function needOption({ options }: ProviderSetup, name: string): string {
  const value = options[name];
  if (value !== undefined) return value;
  throw new ShuntError(`it needs --provider-set ${name}=…`, { code: "Blocked" });
}

/** Old nodes by the group that a label of theirs names. Throws when one has no such label. */
export async function groupByLabel(
  kube: KubeClient,
  nodes: readonly string[],
  label: string,
): Promise<Map<string, KubeObject[]>> {
  const wanted = new Set(nodes);
  const { items } = await kube.list(resourcePath("v1", "nodes"));
  const found = items.filter(({ metadata }) => wanted.has(metadata.name!));
  const strange = found.find(({ metadata }) => metadata.labels?.[label] === undefined);
  if (strange !== undefined)
    throw new ShuntError(`node ${strange.metadata.name} has no label ${label}: it is of no group`, {
      code: "Blocked",
    });
  return Map.groupBy(found, ({ metadata }) => metadata.labels![label]!);
}

/** A node's object; undefined when it is gone. */
export const findNode = (kube: KubeClient, name: string): Promise<KubeObject | undefined> =>
  kube.find(resourcePath("v1", "nodes", undefined, name));

/** What `check` answers: the words of what is wrong. */
export async function reasonOf(work: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (!(error instanceof ShuntError)) throw error;
    return error.remedy === undefined ? error.message : `${error.message} (${error.remedy})`;
  }
}
