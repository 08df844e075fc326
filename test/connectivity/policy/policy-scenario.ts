// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../lib/errors.ts";
import { waitFor } from "../../../lib/wait.ts";
import type { Addresses } from "../endpoint.ts";
import type { ScenarioRun } from "../scenario-run.ts";
import type { Scenario } from "../suite.ts";
import type { World } from "../world.ts";
import { type Connection, connectionsOf, type Flow, missingEnd, parseFlow } from "./connections.ts";
import { needsEnforcement, unenforced } from "./enforcement.ts";
import { look } from "./look.ts";
import { type PolicyKind, type PolicySpecs, policyObjects, policyPath } from "./objects.ts";

/** How long policies may take until they are in force, or gone. */
const settleMs = 20_000;

/** What policies may name that is not known before the run. */
export interface Place {
  namespace: string;
  /** Another one, with pods of the test. */
  otherNamespace: string;
  /** Prefixes of one address, one a family that there is. */
  prefixesOf(end: "client" | "client2" | "near" | "world" | "world2"): string[];
}

/** Policies that are the same everywhere, or depend on where they are tried. */
export type Specs = PolicySpecs | ((place: Place) => PolicySpecs);

/** Policies, and what they mean. Everything that is named passes without them, or nothing is proven. */
export interface PolicyCase {
  name: string;
  description: string;
  specs: Specs;
  /** Flows, as `parseFlow` reads them. */
  passes: readonly string[];
  denied: readonly string[];
}

/** A scenario that applies policies, looks what passes, and removes them. */
export function policyScenario(entry: PolicyCase): PolicyScenario {
  const specsAt = (place: Place): PolicySpecs =>
    typeof entry.specs === "function" ? entry.specs(place) : entry.specs;
  const passes = entry.passes.map(parseFlow);
  const denied = entry.denied.map(parseFlow);
  return {
    name: entry.name,
    description: entry.description,
    families: "once",
    specsAt,
    skip: (world) => {
      const kinds = Object.keys(specsAt(placeOf(world))) as PolicyKind[];
      const missing = [...passes, ...denied].map((flow) => missingEnd(flow, world));
      return unenforced(world, kinds) ?? missing.find((reason) => reason !== undefined);
    },
    run: async (t) => {
      await needsEnforcement(t);
      const specs = specsAt(placeOf(t.world));
      // What a NetworkPolicy means for ICMP is left to the network.
      const isMeant = ({ request }: Connection) => !("NetworkPolicy" in specs && request.protocol === "icmp");
      const all = (flows: readonly Flow[]): Connection[] =>
        flows.flatMap((flow) => connectionsOf(flow, t.world)).filter(isMeant);
      const toDeny = new Set(all(denied));
      const connections = [...all(passes), ...toDeny];
      if (!(await expectDenied(t, "without the policies", connections, new Set()))) return;
      const objects = policyObjects(entry.name, t.world.options.namespace, specs);
      const remove = () =>
        Promise.all(objects.map((object) => t.world.kube.deleteIfExists(policyPath(object))));
      t.finally("delete the policies", async () => void (await remove()));
      const count = Math.max(0, ...(await policyCounts(t)));
      await Promise.all(objects.map((object) => t.world.kube.apply(policyPath(object), object)));
      await waitForAgents(t, count + objects.length);
      await expectDenied(t, "with the policies", connections, toDeny);
      await remove();
      await waitForAgents(t, count);
      await expectDenied(t, "after the policies", connections, new Set());
    },
  };
}

/** With its policies, for a test that reads them. */
export interface PolicyScenario extends Scenario<World> {
  specsAt(place: Place): PolicySpecs;
}

/** Looks until exactly these are denied, and records what was seen last. Returns whether it was so. */
async function expectDenied(
  t: ScenarioRun<World>,
  when: string,
  connections: readonly Connection[],
  denied: ReadonlySet<Connection>,
): Promise<boolean> {
  let seen = new Map<Connection, string>();
  const isAsMeant = async (): Promise<boolean> => {
    seen = await look(t, connections);
    return connections.every((one) => (seen.get(one) !== "") === denied.has(one));
  };
  const options = { timeoutMs: settleMs, intervalMs: 100, signal: t.signal };
  const isSettled = await waitFor("exactly what is meant to be denied", isAsMeant, options).catch((error) => {
    t.signal.throwIfAborted();
    t.log(`  [.] ${when}: ${errorMessage(error)}`);
    return false;
  });
  const verdict = (isDenied: boolean): string => (isDenied ? "denied" : "passed");
  if (denied.size === 0)
    await t.action(
      `all of it, ${when}`,
      async (a) => {
        const failed = connections.filter((one) => seen.get(one) !== "").map(({ name }) => name);
        a.equal("the list of what does not pass", failed, []);
      },
      { retries: 0 },
    );
  else
    await t.each(
      connections.map((one) => ({ name: one.name, one })),
      async ({ one }, a) => {
        a.log(seen.get(one) || "an answer");
        a.equal("the connection", verdict(seen.get(one) !== ""), verdict(denied.has(one)));
      },
      { retries: 0 },
    );
  return isSettled;
}

/** How many policies each agent says that it knows; none where there is no agent. */
async function policyCounts(t: ScenarioRun<World>): Promise<number[]> {
  if (t.world.agent.pods.size === 0) return [];
  const { items } = await t.world.kube.list("/apis/shunt.dev/v1alpha1/nodes");
  return items.map(({ status }) => status?.layers?.policy?.policies ?? 0);
}

/** Waits until every agent says so. Somebody else's policies may come and go: then what passes decides alone. */
async function waitForAgents(t: ScenarioRun<World>, wanted: number): Promise<void> {
  const isTold = async () => (await policyCounts(t)).every((count) => count === wanted);
  await waitFor(`every agent to have ${wanted} policies`, isTold, {
    ...{ timeoutMs: settleMs, intervalMs: 100, signal: t.signal },
  }).catch((error) => {
    t.signal.throwIfAborted();
    t.log(`  [.] ${errorMessage(error)}`);
  });
}

function placeOf(world: World): Place {
  const { namespace } = world.options;
  const [client, client2] = world.clients;
  const addresses = {
    client: client!.addresses,
    client2: client2!.addresses,
    near: world.echoSameNode.addresses,
    world: firstOf(world, 0),
    world2: firstOf(world, 1),
  };
  const prefixesOf: Place["prefixesOf"] = (end) =>
    world.families.flatMap((family) => {
      const address = addresses[end][family];
      return address === undefined ? [] : [`${address}/${family === "ipv4" ? 32 : 128}`];
    });
  return { namespace, otherNamespace: world.hostPortPod.namespace, prefixesOf };
}

const firstOf = ({ outside }: World, index: number): Addresses => ({
  ipv4: outside.addresses.ipv4[index]!,
  ipv6: outside.addresses.ipv6[index]!,
});
