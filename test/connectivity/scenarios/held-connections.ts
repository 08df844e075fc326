// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../lib/errors.ts";
import { sleep } from "../../../lib/wait.ts";
import type { Scenario } from "../suite.ts";
import type { World } from "../world.ts";

interface HeldState {
  sent: number;
  received: number;
  errors: string[];
}

export const heldConnections: Scenario<World> = {
  name: "held-connections",
  description: "connections that were opened before the first test have carried data all the time",
  run: (t) =>
    t.each(
      t.world.baseline.held.filter((held) => held.family === t.family),
      async (held, a) => {
        if (held.error !== undefined) throw new ShuntError(`it could not be opened: ${held.error}`);
        const read = (): Promise<HeldState> =>
          t.world.probes.control<HeldState>(a, held.source, "/held", { id: held.id });
        const before = await read();
        await sleep(500, t.signal);
        const after = await read();
        a.equal("what went wrong on it", after.errors, []);
        a.ok(after.received > before.received, `nothing came back after ${before.received} bytes`);
        a.ok(after.sent - after.received <= 32, `${after.sent - after.received} bytes are missing`);
      },
      { retries: 0 },
    ),
};
