// SPDX-License-Identifier: Apache-2.0
import { readFile } from "node:fs/promises";
import { tailOfLog } from "./container-log.ts";
import { allContainers, type Pod } from "./pod.ts";
import type { PodRuntime } from "./pod-runtime.ts";

const LIMIT_BYTES = 4096;

/** Reads, once, what each ended container of a pod left in its termination message file. */
export class LastWords {
  readonly #messages = new Map<string, string>();

  async collect(pod: Pod, runtime: PodRuntime): Promise<void> {
    for (const container of runtime.containers) {
      if (container.state !== "exited" || this.#messages.has(container.id)) continue;
      let text = await readFile(container.messageFile, "utf8").catch(() => "");
      const spec = allContainers(pod).find((entry) => entry.name === container.name);
      const wantsLog = spec?.terminationMessagePolicy === "FallbackToLogsOnError" && container.exitCode !== 0;
      if (text === "" && wantsLog) text = await tailOfLog(container.logPath, 80, 2048).catch(() => "");
      this.#messages.set(container.id, text.slice(0, LIMIT_BYTES));
    }
  }

  of(id: string): string {
    return this.#messages.get(id) ?? "";
  }
}
