// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Family } from "../lib/addresses.ts";
import { service as serviceLayout } from "./datapath-layout.ts";
import type { ServiceGroup } from "./service-model.ts";
import {
  type Entry,
  type Identity,
  type MapOf,
  readEntries,
  ServiceReader,
  type ServiceView,
} from "./service-reader.ts";
import type { ServiceProblem } from "./service-table.ts";

/** What the agent knows of the entries that it wrote. */
interface KnownServices {
  readonly groups: readonly { id: number; group: ServiceGroup }[];
  readonly problems: readonly ServiceProblem[];
}

/** Which ones to show; what is left out fits all. */
export interface ServiceFilter {
  namespace?: string | undefined;
  name?: string | undefined;
}

const protocolNames: Record<number, string> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

/**
 * Reads services as the programs would find them, with how often each backend was chosen, and names them as the agent
 * knows them. Nothing is changed. Each service is read in one go, so that what is read belongs together, as the agent
 * is the maps' only writer; between services, every `pauseMs`, the agent's other work has its turn.
 */
export async function viewServices(
  mapOf: MapOf,
  known: KnownServices,
  filter: ServiceFilter = {},
  pauseMs = 20,
): Promise<ServiceView[]> {
  const isWanted = ({ namespace, name }: Identity): boolean =>
    (filter.namespace ?? namespace) === namespace && (filter.name ?? name) === name;
  const isFiltered = filter.namespace !== undefined || filter.name !== undefined;
  const groups = new Map(known.groups.map(({ id, group }) => [id, group]));
  const problems = Map.groupBy(known.problems, ({ group }) => group);
  const told = (key: string): string[] => problems.get(key)?.map(({ message }) => message) ?? [];
  const identities = new Map([...groups].map(([id, { key }]) => [id, readKey(key)]));
  const wanted = new Set([...groups.keys()].filter((id) => isWanted(identities.get(id)!)));
  const keys = new Map<number, Uint8Array[]>();
  for (const [key, value] of mapOf("sh_services").entries()) {
    const { id } = serviceLayout.decode(value);
    if (!wanted.has(id) && (isFiltered || groups.has(id))) continue;
    wanted.add(id);
    keys.set(id, [...(keys.get(id) ?? []), key]);
  }
  const reader = new ServiceReader(mapOf);
  const views: ServiceView[] = [];
  let pauseAt = performance.now() + pauseMs;
  for (const id of wanted) {
    if (performance.now() >= pauseAt) {
      await nextTurn();
      pauseAt = performance.now() + pauseMs;
    }
    const group = groups.get(id);
    const entries = readEntries(mapOf, id, keys.get(id) ?? []);
    // Gone since the entries were listed.
    if (entries.length === 0 && keys.has(id)) continue;
    const identity = identities.get(id) ?? identityOf(entries[0]!);
    views.push(reader.read(id, identity, entries, group, told(group?.key ?? "")));
  }
  const written = new Set([...groups.values()].map(({ key }) => key));
  for (const key of problems.keys())
    if (!written.has(key) && isWanted(readKey(key)))
      views.push(reader.read(0, readKey(key), [], undefined, told(key)));
  const order = ({ namespace, name, portName, protocol, family }: ServiceView): string =>
    [namespace, name, portName, protocol, family].join("\0");
  return views.toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** Reads what service-model.ts calls a group: `default/web:http/TCP/ipv4` or `pod default/web-0:0.0.0.0:80/TCP/ipv4`. */
function readKey(key: string): Identity {
  const match = /^(pod )?([^/]+)\/([^:]+):(.*)\/([^/]+)\/(ipv[46])$/.exec(key);
  const [, pod, namespace = "", name = key, port = "", protocol = "", family = "ipv4"] = match ?? [];
  const isPod = pod !== undefined;
  return {
    kind: isPod ? "Pod" : "Service",
    ...{ namespace, name, portName: isPod ? "" : port, protocol, family: family as Family },
  };
}

const identityOf = ({ key: { address, protocol } }: Entry): Identity => ({
  kind: "unknown",
  ...{ namespace: "", name: "", portName: "" },
  protocol: protocolNames[protocol] ?? String(protocol),
  family: address.includes(":") ? "ipv6" : "ipv4",
});
