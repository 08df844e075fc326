// SPDX-License-Identifier: Apache-2.0
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { ShuntError } from "../../lib/errors.ts";
import { type RunResult, run } from "../../lib/run.ts";

const programFolders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/**
 * The node that a task works on. Its network is this process's own; its files are below `root`, which a pod with
 * hostPID sees as /proc/1/root. Programs that the image lacks are the node's.
 */
export class Host {
  readonly root: string;
  readonly #prefixes = new Map<string, string[] | undefined>();

  constructor(root: string) {
    this.root = root.replace(/\/$/, "");
  }

  /**
   * Where a path of the node is found from here. Links in its folders lead to where they do on the node, never out
   * of it; a link at its end stays one.
   */
  path(file: string): string {
    return resolveBelow(this.root, file, false);
  }

  /** Text of a file of the node; undefined when it cannot be read. */
  read(file: string): string | undefined {
    try {
      return readFileSync(resolveBelow(this.root, file, true), "utf8");
    } catch {
      return undefined;
    }
  }

  /** Names in a folder of the node, sorted; none when there is no such folder. */
  list(folder: string): string[] {
    try {
      return readdirSync(resolveBelow(this.root, folder, true)).toSorted();
    } catch {
      return [];
    }
  }

  /** Whether a program can be run. */
  has(program: string): boolean {
    return this.#prefix(program) !== undefined;
  }

  /** Runs a program on the node's network. Throws RunError, and ShuntError when there is no such program. */
  async run(
    program: string,
    args: readonly string[],
    options: { input?: string; allowFailure?: boolean } = {},
  ): Promise<RunResult> {
    const prefix = this.#prefix(program);
    if (prefix === undefined)
      throw new ShuntError(`Neither the image nor the node has the program "${program}"`, {
        code: "ProgramMissing",
        remedy: `Install ${program} on the node for the time of the migration.`,
      });
    const [file = program, ...rest] = [...prefix, program, ...args];
    return await run(file, rest, { timeoutMs: 300_000, ...options });
  }

  #prefix(program: string): string[] | undefined {
    if (!this.#prefixes.has(program)) this.#prefixes.set(program, this.#findPrefix(program));
    return this.#prefixes.get(program);
  }

  #findPrefix(program: string): string[] | undefined {
    if (programFolders.some((folder) => existsSync(path.join(folder, program)))) return [];
    if (this.root === "") return undefined;
    // existsSync would follow links inside the node out of it: ask for the name in the folder.
    const isThere = programFolders.some((folder) => this.list(folder).includes(program));
    return isThere ? ["nsenter", "--mount=/proc/1/ns/mnt", "--"] : undefined;
  }
}

const mostLinks = 40;

/** Resolves a path as if `root` were the root. */
export function resolveBelow(root: string, file: string, followLast: boolean): string {
  const todo = file.split("/");
  let done: string[] = [];
  let links = 0;
  for (let word = todo.shift(); word !== undefined; word = todo.shift()) {
    if (word === "" || word === ".") continue;
    if (word === "..") {
      done.pop();
      continue;
    }
    done.push(word);
    if (todo.every((rest) => rest === "") && !followLast) break;
    const here = `${root}/${done.join("/")}`;
    if (lstatSync(here, { throwIfNoEntry: false })?.isSymbolicLink() !== true) continue;
    if (++links > mostLinks) throw new ShuntError(`Too many symbolic links: ${file}`);
    const target = readlinkSync(here);
    if (target.startsWith("/")) done = [];
    else done.pop();
    todo.unshift(...target.split("/"));
  }
  return `${root}/${done.join("/")}`;
}
