// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { echoesOf, type World } from "../world.ts";

export const fullMtu: Scenario<World> = {
  name: "full-mtu",
  description: "packets as large as the route says arrive whole with Don't Fragment set: the MTU is true",
  run: (t) =>
    t.pairs(
      t.world.clients,
      echoesOf(t.world),
      async (client, echo, a) => {
        const address = echo.address(t.family);
        const device = await t.world.probes.run(a, client, "cat /sys/class/net/eth0/mtu");
        const route = await t.world.probes.run(a, client, `ip -o route get ${address}`);
        const mtu = Number(/ mtu (?:lock )?(\d+)/.exec(route.stdout)?.[1] ?? device.stdout);
        a.ok(mtu >= 1280 && mtu <= 65_535, `the MTU cannot be read: ${device.stdout} ${route.stdout}`);
        // An echo of this size fits exactly; Linux sets Don't Fragment on what fits.
        const headers = t.family === "ipv4" ? 28 : 48;
        a.ok(await t.world.probes.ping(a, client, address, mtu - headers), `no reply to ${mtu} bytes`);
        const after = await t.world.probes.run(a, client, `ip -o route get ${address}`);
        const learnt = /cached.* mtu (\d+)/s.exec(after.stdout)?.[1];
        a.ok(
          learnt === undefined || Number(learnt) >= mtu,
          `the path carries only ${learnt} of ${mtu} bytes`,
        );
      },
      { retries: 0 },
    ),
};
