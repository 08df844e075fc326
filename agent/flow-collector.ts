// SPDX-License-Identifier: Apache-2.0
import { flowStats, flowTimeouts, natEntry, natFlags } from "./datapath-layout.ts";
import type { BpfMap } from "./libbpf.ts";

const tcp = 6;
const second = 1_000_000_000n;
type Flow = Pick<ReturnType<typeof natEntry.decode>, "to" | "flags" | "lastSeenNs">;

/** Seconds without a packet after which a flow is given up; as is_stale() of bpf/lib/nat.h. */
function timeoutOf({ to, flags }: Flow): number {
  if ((flags & natFlags.NAT_ENDED) !== 0) return flowTimeouts.FLOW_TIMEOUT_ENDED;
  const isUnreplied = (flags & natFlags.NAT_REVERSE) !== 0 && (flags & natFlags.NAT_REPLIED) === 0;
  if (isUnreplied) return flowTimeouts.FLOW_TIMEOUT_UNREPLIED;
  if (to.protocol !== tcp) return flowTimeouts.FLOW_TIMEOUT_OTHER;
  return (flags & natFlags.NAT_CLOSING) !== 0
    ? flowTimeouts.FLOW_TIMEOUT_TCP_CLOSING
    : flowTimeouts.FLOW_TIMEOUT_TCP;
}

/** Whether a flow's entry is of no more use. `nowNs`: bpf_ktime_get_ns, the monotonic clock. */
export const isStale = (flow: Flow, nowNs: bigint): boolean =>
  nowNs - flow.lastSeenNs > BigInt(timeoutOf(flow)) * second;

/** How full the flow table is, and what became of its entries since it was made. */
export interface FlowFigures {
  entries: number;
  /** Entries that programs made. */
  made: number;
  /** Entries that the agent removed because they were stale or led nowhere. */
  collected: number;
  /** Entries that the kernel took, the least recently used first, because the map was full. */
  evicted: number;
}

/**
 * Removes stale flows, some thousand at a time with pauses, so that neither traffic (which never waits for it) nor the
 * agent is held up. Returns how the table stands.
 */
export async function collectFlows(
  nat: Pick<BpfMap, "batches" | "deleteMany">,
  stats: FlowStats,
  nowNs: () => bigint = () => process.hrtime.bigint(),
): Promise<FlowFigures> {
  let entries = 0;
  for (const batch of nat.batches()) {
    if (batch === undefined) break;
    const now = nowNs();
    const stale = batch.filter(([, value]) => isStale(natEntry.decode(value), now)).map(([key]) => key);
    nat.deleteMany(stale);
    stats.addCollected(stale.length);
    entries += batch.length - stale.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { made, removed, collected } = stats.read();
  return { entries, made, collected, evicted: Math.max(0, made - removed - collected - entries) };
}

/** The counters of flows, in the kernel so that they outlive the agent. */
export class FlowStats {
  readonly #map: BpfMap;

  constructor(map: BpfMap) {
    this.#map = map;
  }

  read(): { made: number; removed: number; collected: number } {
    const { FLOW_MADE, FLOW_REMOVED, FLOW_COLLECTED } = flowStats;
    const sum = (which: number): number =>
      (this.#map.getPerCpu(keyOf(which)) ?? []).reduce(
        (total, value) => total + Number(Buffer.from(value).readBigUInt64LE()),
        0,
      );
    return { made: sum(FLOW_MADE), removed: sum(FLOW_REMOVED), collected: sum(FLOW_COLLECTED) };
  }

  /** Only the agent writes this counter. */
  addCollected(count: number): void {
    if (count === 0) return;
    const key = keyOf(flowStats.FLOW_COLLECTED);
    const all = Buffer.from(this.#map.get(key)!);
    all.writeBigUInt64LE(all.readBigUInt64LE() + BigInt(count));
    this.#map.set(key, all);
  }
}

const keyOf = (which: number): Uint8Array => new Uint8Array(Uint32Array.of(which).buffer);
