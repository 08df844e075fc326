// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../lib/errors.ts";
import { resourcePath } from "../../../lib/kube.ts";
import { agentPods, readDrops, restartsOf } from "../agent-facts.ts";
import type { Scenario } from "../suite.ts";
import { needsAgent, type World } from "../world.ts";

export const agentHealth: Scenario<World> = {
  name: "agent-health",
  description: "an agent runs on every node and says that it is well",
  families: "once",
  skip: needsAgent,
  run: (t) =>
    t.each(t.world.hosts, async (host, a) => {
      a.ok(t.world.agent.pods.has(host.node), `no agent pod on ${host.node}`);
      const result = await t.world.probes.http(
        a,
        host,
        `http://127.0.0.1:${t.world.agent.healthPort}/healthz`,
      );
      a.equal(`the status of /healthz (${result.error || result.body.slice(0, 200)})`, result.status, 200);
    }),
};

export const agentRestarts: Scenario<World> = {
  name: "no-agent-restarts",
  description: "no agent was restarted or replaced while the tests ran",
  families: "once",
  skip: needsAgent,
  run: async (t) => {
    await t.action("agent pods", async (a) => {
      const now = restartsOf(await agentPods(t.world.kube));
      a.equal(
        "the restarts of each agent",
        Object.fromEntries(now),
        Object.fromEntries(t.world.baseline.restarts),
      );
    });
  },
};

/** The tests themselves provoke these: spoofed sources, Services without pods, pods that were just deleted, policies. */
const provoked = /source|backend|unknown.?target|policy/i;

export const unexpectedDrops: Scenario<World> = {
  name: "no-unexpected-drops",
  description: "the agents dropped no packet but those that the tests meant to be dropped",
  families: "once",
  skip: needsAgent,
  run: (t) =>
    t.each(t.world.hosts, async (host, a) => {
      const before = t.world.baseline.drops.get(host.node);
      if (before === undefined) throw new ShuntError("its counters could not be read when the run began");
      const now = await readDrops(a, t.world.probes, host, t.world.agent);
      const grown = [...now]
        .filter(([reason, count]) => count > (before.get(reason) ?? 0) && !provoked.test(reason))
        .map(([reason, count]) => `${reason}: ${count - (before.get(reason) ?? 0)}`);
      a.equal("the list of unexpected drops", grown, []);
    }),
};

export const agentLogErrors: Scenario<World> = {
  name: "check-log-errors",
  description: "no agent has logged an error since the tests began",
  families: "once",
  skip: needsAgent,
  run: (t) =>
    t.each(
      [...t.world.agent.pods].map(([node, pod]) => ({ name: `agent on ${node}`, pod })),
      async (agent, a) => {
        const path = `${resourcePath("v1", "pods", t.world.agent.namespace, agent.pod)}/log`;
        const query = { container: "agent", sinceTime: t.world.baseline.startedAt };
        const text = String(await t.world.kube.request("GET", path, { query, accept: "*/*" }));
        a.equal("the list of errors in its log", errorLines(text, t.world.baseline.startedAt), []);
      },
    ),
};

/** Lines of a JSON log that are errors and not older than `since`; crashes print lines that are not JSON. */
export function errorLines(text: string, since: string): string[] {
  return text.split("\n").filter((line) => {
    if (!line.startsWith("{")) return /uncaught|unhandled|panic|fatal|segmentation fault/i.test(line);
    try {
      const record = JSON.parse(line) as { level?: string; time?: string };
      return (record.level === "error" || record.level === "fatal") && (record.time ?? since) >= since;
    } catch {
      return false;
    }
  });
}
