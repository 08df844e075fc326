// SPDX-License-Identifier: Apache-2.0

/** Milliseconds since 1970 of an ISO date; undefined when it is none. */
export function timeOf(iso: string | undefined): number | undefined {
  const time = iso === undefined ? Number.NaN : Date.parse(iso);
  return Number.isNaN(time) ? undefined : time;
}

/** A whole number with its thousands apart. */
export const formatCount = (count: number): string => count.toLocaleString("en-US");

/** Length of time in words of people: 0.8 ms, 340 ms, 8.2 s, 3 min 20 s, 2 h 5 min. */
export function formatDuration(ms: number): string {
  if (ms > 0 && ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${(minutes / 1440).toFixed(1)} days`;
}

/** Time between two ISO dates; empty while one is missing. */
export function formatSpan(startedAt: string | undefined, endedAt: string | undefined): string {
  const start = timeOf(startedAt);
  const end = timeOf(endedAt);
  return start === undefined || end === undefined ? "" : formatDuration(Math.max(0, end - start));
}

/** Time of day, UTC. */
export function formatClock(iso: string | undefined, withMs = false): string {
  const time = timeOf(iso);
  return time === undefined ? "" : new Date(time).toISOString().slice(11, withMs ? 23 : 19);
}

/** Day and time of day, UTC. */
export function formatDate(iso: string | undefined): string {
  const time = timeOf(iso);
  return time === undefined ? "—" : `${new Date(time).toISOString().slice(0, 10)} ${formatClock(iso)} UTC`;
}
