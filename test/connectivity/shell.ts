// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { type ExecStream, type ExecTarget, openExec } from "./exec.ts";

export interface CommandResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs POSIX shell commands somewhere: in a pod, or on the machine that stands for the outside. */
export interface CommandRunner {
  /** Throws when the command could not be run or did not end in time; a non-zero exit is a result. */
  run(command: string, options: { timeoutMs: number; signal: AbortSignal }): Promise<CommandResult>;
}

interface Pending {
  marker: string;
  stdout: string;
  stderr: string;
  settle(result: CommandResult | Error): void;
}

/**
 * One shell in a container, kept open: starting a process by exec costs the node some 100 ms, a line to a shell
 * that is there already costs nothing. It runs one command at a time.
 */
class Shell {
  #stream: ExecStream | undefined;
  #pending: Pending | undefined;
  #count = 0;
  #dead = false;

  get dead(): boolean {
    return this.#dead;
  }

  async open(kube: KubeClient, target: ExecTarget, timeoutMs: number): Promise<void> {
    this.#stream = await openExec(
      kube,
      target,
      ["sh"],
      {
        onStdout: (chunk) => this.#received("stdout", chunk),
        onStderr: (chunk) => this.#received("stderr", chunk),
        onEnd: (error) => this.#ended(error),
      },
      timeoutMs,
    );
  }

  async run(command: string, timeoutMs: number, signal: AbortSignal): Promise<CommandResult> {
    signal.throwIfAborted();
    const marker = `--shunt-${process.pid}-${++this.#count}--`;
    let cleanUp = (): void => undefined;
    const result = await new Promise<CommandResult | Error>((resolve) => {
      const late = setTimeout(
        () => resolve(new ShuntError(`no end after ${timeoutMs / 1000} s: ${command}`, { code: "Timeout" })),
        timeoutMs,
      );
      const abort = (): void => resolve(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      cleanUp = () => {
        clearTimeout(late);
        signal.removeEventListener("abort", abort);
      };
      this.#pending = { marker, stdout: "", stderr: "", settle: resolve };
      const done = `printf '\\n%s %d\\n' '${marker}' $?; printf '\\n%s\\n' '${marker}' >&2`;
      this.#stream!.write(`{ ${command}\n} </dev/null; ${done}\n`);
    });
    cleanUp();
    this.#pending = undefined;
    if (!(result instanceof Error)) return result;
    this.close(); // What the command still prints must not reach the next one.
    throw result;
  }

  close(): void {
    this.#dead = true;
    this.#stream?.close();
  }

  #received(name: "stdout" | "stderr", chunk: Buffer): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    pending[name] += chunk.toString("utf8");
    const out = pending.stdout.indexOf(`\n${pending.marker} `);
    const err = pending.stderr.indexOf(`\n${pending.marker}\n`);
    const code =
      out < 0 ? undefined : /^ (\d+)\n/.exec(pending.stdout.slice(out + 1 + pending.marker.length));
    if (err < 0 || code === undefined || code === null) return;
    pending.settle({
      exitCode: Number(code[1]),
      stdout: pending.stdout.slice(0, out),
      stderr: pending.stderr.slice(0, err),
    });
  }

  #ended(error: Error | undefined): void {
    this.#dead = true;
    const why = error === undefined ? "the shell ended" : errorMessage(error);
    this.#pending?.settle(new ShuntError(`the shell in the pod is gone: ${why}`, { code: "Exec" }));
  }
}

/** The shells of one container: an idle one is used again, and no more than a few are open at once. */
export class PodShells implements CommandRunner {
  readonly #kube: KubeClient;
  readonly #target: ExecTarget;
  readonly #limit: number;
  readonly #idle: Shell[] = [];
  readonly #all = new Set<Shell>();
  readonly #waiting: ((shell: Shell | undefined) => void)[] = [];
  #busy = 0;

  constructor(kube: KubeClient, target: ExecTarget, limit = 3) {
    this.#kube = kube;
    this.#target = target;
    this.#limit = limit;
  }

  async run(command: string, options: { timeoutMs: number; signal: AbortSignal }): Promise<CommandResult> {
    const shell = await this.#take(options.signal);
    try {
      if (!this.#all.has(shell)) {
        this.#all.add(shell);
        await shell.open(this.#kube, this.#target, 15_000);
      }
      return await shell.run(command, options.timeoutMs, options.signal);
    } catch (error) {
      shell.close();
      throw error;
    } finally {
      this.#give(shell);
    }
  }

  /** Cuts all connections; a later command opens a new one. */
  close(): void {
    for (const shell of this.#all) shell.close();
    this.#all.clear();
    this.#idle.length = 0;
  }

  async #take(signal: AbortSignal): Promise<Shell> {
    const idle = this.#idle.pop();
    if (idle !== undefined && !idle.dead) {
      this.#busy++;
      return idle;
    }
    if (this.#busy < this.#limit) {
      this.#busy++;
      return new Shell();
    }
    const handed = await new Promise<Shell | undefined>((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1);
        reject(signal.reason);
      };
      const take = (shell: Shell | undefined): void => {
        signal.removeEventListener("abort", abort);
        resolve(shell);
      };
      this.#waiting.push(take);
      signal.addEventListener("abort", abort, { once: true });
    });
    return handed ?? new Shell();
  }

  #give(shell: Shell): void {
    if (shell.dead) this.#all.delete(shell);
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next(shell.dead ? undefined : shell);
      return;
    }
    this.#busy--;
    if (!shell.dead) this.#idle.push(shell);
  }
}
