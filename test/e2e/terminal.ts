// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../lib/run.ts";
import { waitFor } from "../../lib/wait.ts";

const root = new URL("../../", import.meta.url).pathname;

/** A terminal with somebody in front of it: a tmux server of its own, with one window. */
export class Terminal {
  readonly #folder = mkdtempSync(join(tmpdir(), "shunt-terminal-"));

  private constructor() {}

  /** Opens a shell in the repository's folder, with these environment variables. */
  static async open(env: Record<string, string>): Promise<Terminal> {
    const terminal = new Terminal();
    const shell = ["env", "-u", "CI", "TERM=screen", "PS1=$ ", ...toWords(env), "sh"];
    await terminal.#tmux(
      "-f",
      "/dev/null",
      "new-session",
      "-d",
      "-x",
      "120",
      "-y",
      "200",
      "-c",
      root,
      ...shell,
    );
    return terminal;
  }

  async #tmux(...words: string[]): Promise<string> {
    const { stdout } = await run("tmux", ["-S", join(this.#folder, "socket"), ...words], {
      timeoutMs: 30_000,
    });
    return stdout;
  }

  /** Types a line. */
  async type(line: string): Promise<void> {
    await this.#tmux("send-keys", "-l", line);
    await this.press("Enter");
  }

  /** Presses keys by tmux's names: Enter, Down, C-c. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux("send-keys", ...keys);
  }

  /** What can be seen now. */
  async screen(): Promise<string> {
    return (await this.#tmux("capture-pane", "-p")).replace(/\n{3,}/g, "\n\n").trimEnd();
  }

  /** Waits until the text can be seen, and returns the whole screen. */
  async see(text: RegExp, timeoutMs = 60_000): Promise<string> {
    return await waitFor(
      `${text} on the screen`,
      async () => {
        const screen = await this.screen();
        if (text.test(screen)) return screen;
        throw new Error(`the screen shows:\n${screen}`);
      },
      { timeoutMs, intervalMs: 200 },
    );
  }

  async close(): Promise<void> {
    await this.#tmux("kill-server").catch(() => undefined);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const toWords = (env: Record<string, string>): string[] =>
  Object.entries(env).map(([name, value]) => `${name}=${value}`);
