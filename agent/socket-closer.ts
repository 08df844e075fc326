// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { Coalesced } from "./coalesce.ts";
import { inNetns } from "./libbpf.ts";
import { destroySockets } from "./libbpf-sock-diag.ts";
import { type FlowMap, type LedSocket, tcpSocketsTo } from "./service-flows.ts";
import type { GoneSockets } from "./service-table.ts";

/**
 * Milliseconds from a change to the look at the sockets. An endpoint that moves from one EndpointSlice to another may be
 * in none for a moment.
 */
const delayMs = 1_000;

/**
 * Ends sockets that a Service led to a backend which has gone: their processes learn it at once and connect again,
 * instead of waiting for an answer from nobody. A socket is told by its cookie, so that no other is touched.
 */
export class SocketCloser {
  readonly #sockets: () => FlowMap | undefined;
  readonly #known: (names: ReadonlySet<string>) => ReadonlySet<string>;
  readonly #namespaces: () => readonly string[];
  readonly #log: Logger;
  readonly #work: Coalesced;
  #tcp = new Set<string>();
  #udp: LedSocket[] = [];
  #isRefused = false;

  constructor(options: {
    /** Map sh_socket_nat; undefined while nothing is loaded. */
    sockets: () => FlowMap | undefined;
    /** Those of these endpoints that are there again. */
    known: (names: ReadonlySet<string>) => ReadonlySet<string>;
    /** Paths of the pods' network namespaces. */
    namespaces: () => readonly string[];
    log: Logger;
    delayMs?: number;
  }) {
    this.#sockets = options.sockets;
    this.#known = options.known;
    this.#namespaces = options.namespaces;
    this.#log = options.log;
    this.#work = new Coalesced("sockets of backends that are gone", () => this.#end(), {
      log: options.log,
      delayMs: options.delayMs ?? delayMs,
    });
  }

  /** Sockets to these end soon. */
  gone({ tcp, udp }: GoneSockets): void {
    for (const name of tcp) this.#tcp.add(name);
    this.#udp.push(...udp);
    this.#work.trigger();
  }

  stop(): Promise<void> {
    return this.#work.stop();
  }

  async #end(): Promise<void> {
    const map = this.#sockets();
    if (map === undefined || this.#isRefused) return;
    const [names, udp] = [this.#tcp, this.#udp];
    [this.#tcp, this.#udp] = [new Set(), []];
    for (const name of this.#known(names)) names.delete(name);
    const tcp = names.size === 0 ? [] : tcpSocketsTo(map, names);
    const wanted = [
      ...byPort(tcp).map(([port, cookies]) => ["tcp", port, cookies] as const),
      ...byPort(udp).map(([port, cookies]) => ["udp", port, cookies] as const),
    ];
    if (wanted.length === 0) return;
    let ended = 0;
    const endHere = (): void => {
      for (const [protocol, port, cookies] of wanted) ended += destroySockets(protocol, port, cookies);
    };
    for (const path of [undefined, ...this.#namespaces()])
      try {
        if (path === undefined) endHere();
        else inNetns(path, endHere);
        await new Promise((resolve) => setImmediate(resolve));
      } catch (error) {
        const isGone = errorMessage(error).includes("ENOENT");
        if (isGone) continue; // the pod has ended
        // Without CONFIG_INET_DIAG_DESTROY no other namespace would do it either.
        this.#isRefused = true;
        this.#log.warn("sockets to backends that are gone are left to themselves", {
          error: errorMessage(error),
        });
        return;
      }
    if (ended > 0) this.#log.info("sockets ended: their backends are gone", { ended });
  }
}

function byPort(sockets: readonly LedSocket[]): [number, Set<bigint>][] {
  const found = new Map<number, Set<bigint>>();
  for (const { port, cookie } of sockets) {
    const cookies = found.get(port) ?? new Set();
    cookies.add(cookie);
    found.set(port, cookies);
  }
  return [...found];
}
