// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { endProcess, pinned, type ServiceClient, steadyLoad } from "./service-samples.ts";

/** One connection of the load. Times are nanoseconds of the clock that `nowNs` reads. */
export interface Connection {
  startNs: number;
  connectedNs: number;
  endNs: number;
  /** Last byte of the backend's address, or -errno of a connection that failed. */
  backend: number;
  /** The client's. */
  port: number;
}

/** The machine's monotonic clock, the same for every process. */
export const nowNs = (): number => Number(process.hrtime.bigint());

/** Connections to a service at a steady rate, told one by one as they end. It stops by itself after `mostMs`. */
export class SteadyLoad {
  readonly #child: ChildProcess;
  #stopped = false;
  #ended: Error | undefined;

  constructor(
    client: ServiceClient,
    options: { perSecond: number; mostMs: number; onConnection: (connection: Connection) => void },
  ) {
    const { address, port } = client;
    const words = [steadyLoad, "client", address, String(port), String(options.perSecond)];
    const [file, args] = client.command(pinned(0, [...words, String(Math.ceil(options.mostMs))]));
    this.#child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#child.on("error", (error) => {
      this.#ended = error;
    });
    this.#child.on("exit", (code, signal) => {
      if (!this.#stopped)
        this.#ended = new Error(`the load ended by itself: ${signal ?? `exit code ${code}`}`);
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      const [startNs, connectedNs, endNs, backend, port] = line.split(" ").map(Number) as [
        number,
        ...number[],
      ];
      if (port !== undefined)
        options.onConnection({ startNs, connectedNs: connectedNs!, endNs: endNs!, backend: backend!, port });
    });
  }

  /** Throws when the load is over although nobody stopped it. */
  check(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await endProcess(this.#child);
  }
}
