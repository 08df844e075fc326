// SPDX-License-Identifier: Apache-2.0

/**
 * The order of a merged list: the wanted keys in their order; each key only the live list has stays before the
 * next wanted key that followed it there.
 */
export function mergeOrder(live: readonly string[], wanted: readonly string[]): string[] {
  const wantedKeys = new Set(wanted);
  const livePosition = new Map(live.map((key, index) => [key, index]));
  const liveOnly = live.filter((key) => !wantedKeys.has(key));
  const merged: string[] = [];
  let next = 0;
  for (const key of wanted) {
    const position = livePosition.get(key);
    while (position !== undefined && next < liveOnly.length && livePosition.get(liveOnly[next]!)! < position)
      merged.push(liveOnly[next++]!);
    merged.push(key);
  }
  return [...merged, ...liveOnly.slice(next)];
}
