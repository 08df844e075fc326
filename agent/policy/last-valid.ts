// SPDX-License-Identifier: Apache-2.0
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { errorMessage } from "../../lib/errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Logger } from "../../lib/log.ts";

/** Policy objects by uid. */
export type PolicyVersions = ReadonlyMap<string, KubeObject>;

/** Versions of policies that stay in force because what they say now cannot be used: the next agent finds them in a file. */
export class LastValid {
  readonly #file: string;
  readonly #log: Logger;
  #written: string | undefined;

  constructor(file: string, log: Logger) {
    this.#file = file;
    this.#log = log;
  }

  /** What the agent before has left; nothing when it is not to be read, which is told. */
  read(): PolicyVersions {
    let text: string;
    try {
      text = readFileSync(this.#file, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") this.#tell("not read", error);
      return new Map();
    }
    try {
      const found = new Map(Object.entries<KubeObject>(JSON.parse(text)));
      if ([...found.values()].some((one) => typeof one?.metadata?.name !== "string"))
        throw new Error("it holds something else");
      this.#written = text;
      return found;
    } catch (error) {
      this.#tell("not read", error);
      return new Map();
    }
  }

  /** Replaces what is in the file. A failure is told: what is in force now does not depend on it. */
  write(versions: PolicyVersions): void {
    const text = JSON.stringify(Object.fromEntries(versions));
    if (text === (this.#written ?? "{}")) return;
    try {
      writeFileSync(`${this.#file}.tmp`, text, { mode: 0o600 });
      renameSync(`${this.#file}.tmp`, this.#file);
      this.#written = text;
    } catch (error) {
      rmSync(`${this.#file}.tmp`, { force: true });
      this.#tell("not kept for the next agent", error);
    }
  }

  #tell(what: string, error: unknown): void {
    this.#log.warn(`earlier versions of policies ${what}`, { file: this.#file, error: errorMessage(error) });
  }
}
