// SPDX-License-Identifier: Apache-2.0
import type { Store } from "./store.ts";

const EVENT_TTL_MS = 60 * 60 * 1000;
const SWEEP_INTERVAL_MS = 60 * 1000;

/** Removes Events an hour after their last change; returns how to stop that. */
export function expireEvents(store: Store, now: () => number = Date.now): () => void {
  const sweep = (): void => {
    for (const event of store.list("", "events")) {
      const last = event.series?.lastObservedTime ?? event.lastTimestamp ?? event.metadata.creationTimestamp;
      if (now() - Date.parse(last ?? event.metadata.creationTimestamp) > EVENT_TTL_MS)
        store.remove("", "events", event);
    }
  };
  const timer = setInterval(sweep, SWEEP_INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
