// SPDX-License-Identifier: Apache-2.0
// What each kind of task does, inside the node.
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import type { NodeTaskKind, TriedConnection } from "../model/tools.ts";
import { readAgentEndpoints } from "./agent-endpoints.ts";
import { type ServiceDestinations, translatedBy, visitConnections } from "./conntrack.ts";
import { gatherNodeFacts } from "./facts.ts";
import type { Host } from "./host.ts";
import { holdConnections, releaseConnections, resetRouteLocalnet } from "./open-connections.ts";
import { isClean, removeResidue } from "./remove.ts";
import {
  findKubeProxyResidue,
  findNetworkResidue,
  type NetworkHint,
  type Residue,
  residueItems,
} from "./residue.ts";
import { restoreNetwork, saveNetwork } from "./saved-network.ts";
import { tryConnections } from "./try-connections.ts";

/** Arguments of all kinds; which kind takes which is in NodeTaskKind. */
export interface TaskArgs {
  network?: NetworkHint;
  /** Present, and not null: what kube-proxy left counts as residue too. */
  kubeProxy?: unknown;
  saved?: { gzip: string };
  mode?: string;
  healthPort?: number;
  uids?: string[];
  force?: boolean;
  connections?: TriedConnection[];
}

type Perform = (host: Host, args: TaskArgs, node: string) => Promise<object>;

/** Programs by kind. All are safe to run again. */
export const performers: Record<NodeTaskKind, Perform> = {
  facts: (host) => gatherNodeFacts(host),
  residue: async (host, { network, kubeProxy }, node) => {
    const found = network === undefined ? [] : await findNetworkResidue(host, network);
    if (kubeProxy !== undefined && kubeProxy !== null) found.push(await findKubeProxyResidue(host));
    return { items: found.flatMap((residue) => residueItems(residue, node)) };
  },
  "save-network": async (host, { network }) => {
    const saved = await saveNetwork(host, await findNetworkResidue(host, needed("network", network)));
    return { saved: { gzip: (await promisify(gzip)(JSON.stringify(saved))).toString("base64") } };
  },
  "remove-network": async (host, { network }, node) => {
    const hint = needed("network", network);
    await holdConnections(host);
    return await removeAll(host, () => findNetworkResidue(host, hint), node);
  },
  "restore-network": async (host, { saved }) => {
    const text = await promisify(gunzip)(Buffer.from(needed("saved", saved).gzip, "base64"));
    return { restored: await restoreNetwork(host, JSON.parse(text.toString())) };
  },
  "remove-kube-proxy-rules": async (host, _args, node) => {
    await holdConnections(host);
    return await removeAll(host, async () => [await findKubeProxyResidue(host)], node);
  },
  "release-connections": async (host, { force, mode }) => {
    const connections = await releaseConnections(host, force === true);
    if ((connections === 0 || force === true) && mode === "iptables") resetRouteLocalnet(host);
    return { connections };
  },
  "translated-connections": async (host, args) => {
    const isTranslated = translatedBy(args as ServiceDestinations);
    let connections = 0;
    await visitConnections(host, (connection) => {
      if (isTranslated(connection)) connections++;
    });
    return { connections };
  },
  "agent-endpoints": async (_host, { healthPort }) => ({
    uids: await readAgentEndpoints(needed("healthPort", healthPort)),
  }),
  "try-connections": async (host, { connections }) => ({
    outcomes: await tryConnections(host, needed("connections", connections)),
  }),
  "recreate-sandboxes": async (host, { uids }) => {
    // gRPC takes long to load, and no other kind needs it.
    const { recreateSandboxes } = await import("./sandboxes.ts");
    return { recreated: await recreateSandboxes(host, needed("uids", uids)) };
  },
};

function needed<T>(name: string, value: T | undefined): T {
  if (value === undefined) throw new UsageError(`The task needs the argument "${name}"`);
  return value;
}

/** Removes, looks again, and does not call it done while something is left. */
async function removeAll(
  host: Host,
  find: () => Promise<Residue[]>,
  node: string,
): Promise<{ removed: string[] }> {
  const removed: string[] = [];
  for (const residue of await find()) removed.push(...(await removeResidue(host, residue, node)));
  const left = (await find()).filter((residue) => !isClean(residue));
  if (left.length === 0) return { removed };
  const names = left
    .flatMap((residue) => residueItems(residue, node))
    .map(({ kind, name }) => `${kind} ${name}`);
  throw new ShuntError(`Removed, and there again or still: ${names.slice(0, 20).join(", ")}`, {
    code: "ResidueLeft",
    remedy: "Something on the node makes it anew: see that its DaemonSet, pod or service does not run there.",
  });
}
