// SPDX-License-Identifier: Apache-2.0
import { run } from "../../../../../lib/run.ts";

/** Gives Felix's sets these members, each at once. */
export async function ensureIpSets(sets: Record<string, readonly string[]>): Promise<void> {
  const lines = Object.entries(sets).flatMap(([name, members]) => {
    const next = `cali4t-${name}`.slice(0, 31);
    return [
      `create cali40${name} hash:net family inet maxelem 1048576 -exist`,
      `create ${next} hash:net family inet maxelem 1048576 -exist`,
      `flush ${next}`,
      ...members.map((member) => `add ${next} ${member} -exist`),
      `swap cali40${name} ${next}`,
      `destroy ${next}`,
    ];
  });
  await run("ipset", ["restore"], { input: `${lines.join("\n")}\n` });
}
