// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { sleep } from "../../../lib/wait.ts";
import { SkipScenario } from "../scenario-run.ts";
import type { Scenario } from "../suite.ts";
import { echoesOf, needsOurInterface, type World } from "../world.ts";

export const spoofedSource: Scenario<World> = {
  name: "spoofed-source",
  description: "a pod's packets with another pod's address as their source reach nobody, its own do",
  skip: (world) => needsOurInterface(world, world.spoofer),
  run: async (t) => {
    const { spoofer, probes } = t.world;
    const stolen = t.world.clients[1]!.address(t.family);
    const suffix = t.family === "ipv4" ? "/32 dev lo" : "/128 dev lo";
    const options = { timeoutMs: 10_000, signal: t.signal };
    const added = await spoofer.runner.run(`ip addr add ${stolen}${suffix}`, options);
    if (added.exitCode !== 0)
      throw new SkipScenario(`the pod may not set an address: ${added.stderr.trim().slice(0, 200)}`);
    t.finally("give the address back", async (signal) => {
      await spoofer.runner.run(`ip addr del ${stolen}${suffix}`, {
        timeoutMs: 10_000,
        signal,
      });
    });
    await t.each(echoesOf(t.world), async (echo, a) => {
      const token = `token-${randomBytes(8).toString("hex")}`;
      const target = { protocol: "udp", host: echo.address(t.family), port: echo.port("udp") } as const;
      const own = await probes.dial(a, spoofer, { ...target, token: `${token}00.` });
      a.equal("the source of its own packets", own.peer, spoofer.address(t.family));
      await probes.dial(a, spoofer, { ...target, token: `${token}11.`, from: stolen }).catch((error) => {
        t.signal.throwIfAborted();
        a.log(`as expected: ${error.message}`);
      });
      await sleep(100, t.signal);
      const seen = await probes.control<{ peers: string[] }>(a, echo, "/seen", { token: `${token}11` });
      a.equal("the senders of what should have been dropped", seen.peers, []);
    });
  },
};
