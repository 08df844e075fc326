// SPDX-License-Identifier: Apache-2.0
import type { Path, PortMatch, Problem } from "./model.ts";

export const lastPort = 65_535;
/** RFC 6335, 5.1: letters, digits and single hyphens, with at least one letter. */
const serviceName = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/;

export const isPortName = (text: string): boolean => serviceName.test(text);

/**
 * A port by number or name, with the last one of a range. `first` may be 0 for all ports where the kind of object says
 * so. What is wrong goes to `problems`, and then there is no match.
 */
export function readPort(
  raw: { port: string | number; endPort?: number | undefined; isZeroAll?: boolean },
  matched: readonly number[],
  path: Path,
  problems: Problem[],
): PortMatch[] {
  const { port, endPort } = raw;
  const say = (message: string, key = "port"): [] => {
    problems.push({ path: [...path, key], message });
    return [];
  };
  const number = typeof port === "number" ? port : /^\d{1,5}$/.test(port) ? Number(port) : undefined;
  if (number === undefined) {
    const name = String(port).toLowerCase();
    if (!isPortName(name)) return say(`"${port}" is neither a port (1–65535) nor a port's name`);
    if (endPort !== undefined && endPort !== 0) return say("a named port has no range", "endPort");
    return matched.map((protocol) => ({ protocol, name }));
  }
  if (number === 0 && raw.isZeroAll === true)
    return matched.map((protocol) => ({ protocol, first: 0, last: lastPort }));
  if (!Number.isInteger(number) || number < 1 || number > lastPort)
    return say(`${port} is no port (1–65535)`);
  const last = endPort === undefined || endPort === 0 ? number : endPort;
  if (!Number.isInteger(last) || last < number || last > lastPort)
    return say(`${endPort} is no end of a range that begins at ${number}`, "endPort");
  return matched.map((protocol) => ({ protocol, first: number, last }));
}
