// SPDX-License-Identifier: Apache-2.0

/** When a CronJob is due: sets of the five fields, in a time zone. */
export interface Schedule {
  minutes: Set<number>;
  hours: Set<number>;
  daysOfMonth: Set<number>;
  months: Set<number>;
  daysOfWeek: Set<number>;
  /** A day matches when either of two restricted day fields does, as cron has it. */
  isEitherDay: boolean;
  format: Intl.DateTimeFormat;
}

const macros: Record<string, string> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};
const monthNames = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

function parseField(text: string, min: number, max: number, names: string[] = []): Set<number> {
  const number = (word: string): number => {
    const named = names.indexOf(word.toLowerCase());
    const value = named >= 0 ? named + min : /^\d+$/.test(word) ? Number(word) : Number.NaN;
    if (!(value >= min && value <= max)) throw new Error(`"${word}" is not a number from ${min} to ${max}`);
    return value;
  };
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const [range = "", stepText] = part.split("/");
    const step = stepText === undefined ? 1 : Number(stepText);
    if (!(Number.isInteger(step) && step > 0)) throw new Error(`"${part}" has no valid step`);
    const isAll = range === "*" || range === "?";
    const [from, to] = range.split("-");
    const first = isAll ? min : number(from!);
    const last = isAll ? max : to !== undefined ? number(to) : stepText === undefined ? first : max;
    for (let value = first; value <= last; value += step) values.add(value);
  }
  return values;
}

/** Parses a cron line or a macro such as `@hourly`. Throws on anything else. */
export function parseSchedule(text: string, timeZone = "UTC"): Schedule {
  const fields = (macros[text.trim()] ?? text.trim()).split(/\s+/);
  if (fields.length !== 5) throw new Error(`schedule "${text}" has ${fields.length} fields, expected 5`);
  const [minute, hour, dayOfMonth, month, dayOfWeek] = fields as [string, string, string, string, string];
  const daysOfWeek = parseField(dayOfWeek.replace(/\b7\b/g, "0"), 0, 6, dayNames);
  const isAny = (field: string) => field.startsWith("*") || field.startsWith("?");
  return {
    minutes: parseField(minute, 0, 59),
    hours: parseField(hour, 0, 23),
    daysOfMonth: parseField(dayOfMonth, 1, 31),
    months: parseField(month, 1, 12, monthNames),
    daysOfWeek,
    isEitherDay: !isAny(dayOfMonth) && !isAny(dayOfWeek),
    format: new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      month: "numeric",
      day: "numeric",
      weekday: "short",
      hour: "numeric",
      minute: "numeric",
    }),
  };
}

function isDue(schedule: Schedule, atMs: number): boolean {
  const parts = Object.fromEntries(
    schedule.format.formatToParts(atMs).map(({ type, value }) => [type, value]),
  );
  const isDay = schedule.daysOfMonth.has(Number(parts.day));
  const isWeekday = schedule.daysOfWeek.has(dayNames.indexOf(parts.weekday!.toLowerCase()));
  return (
    schedule.minutes.has(Number(parts.minute)) &&
    schedule.hours.has(Number(parts.hour)) &&
    schedule.months.has(Number(parts.month)) &&
    (schedule.isEitherDay ? isDay || isWeekday : isDay && isWeekday)
  );
}

const minuteMs = 60_000;

/** The last due time after `afterMs` and not after `untilMs`; looks back a day at most. */
export function lastDue(schedule: Schedule, afterMs: number, untilMs: number): number | undefined {
  const floor = Math.max(afterMs, untilMs - 24 * 60 * minuteMs);
  for (let atMs = Math.floor(untilMs / minuteMs) * minuteMs; atMs > floor; atMs -= minuteMs)
    if (isDue(schedule, atMs)) return atMs;
  return undefined;
}
