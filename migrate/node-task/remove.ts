// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import { ShuntError } from "../../lib/errors.ts";
import { removeFirewallPart } from "./firewall.ts";
import type { Host } from "./host.ts";
import { routeWords } from "./links.ts";
import { type Residue, residueItems } from "./residue.ts";

/**
 * Removes exactly what was found, and says what. Rules first, so that nothing points to what goes; the CNI
 * configuration last, as by it a removal that was cut short is found again.
 */
export async function removeResidue(host: Host, residue: Residue, node: string): Promise<string[]> {
  checkUnused(residue);
  for (const part of residue.firewall) await removeFirewallPart(host, part);
  for (const { family, name } of residue.nftTables)
    await attempt(host, "nft", ["delete", "table", family, name], /No such file/);
  for (const name of residue.ipsets) await attempt(host, "ipset", ["destroy", name], /does not exist/);
  for (const { family, route } of residue.routes)
    await attempt(
      host,
      "ip",
      [
        family === "ipv4" ? "-4" : "-6",
        "route",
        "del",
        ...routeWords(route).filter((word) => word !== "onlink"),
      ],
      /No such process/,
    );
  for (const link of residue.links) {
    if (link.ifname === "tunl0") {
      await attempt(host, "ip", ["address", "flush", "dev", link.ifname], /does not exist/);
      await attempt(host, "ip", ["link", "set", link.ifname, "down"], /does not exist|Cannot find device/);
    } else await attempt(host, "ip", ["link", "del", link.ifname], /does not exist|Cannot find device/);
  }
  const files = [...residue.paths, ...residue.binaries, ...residue.confs.map((conf) => conf.path)];
  for (const file of files) rmSync(host.path(file), { recursive: true, force: true });
  return residueItems(residue, node).map(({ kind, name }) => `${kind} ${name}`);
}

/** Runs a removal; what is gone already is as wanted. */
async function attempt(host: Host, program: string, args: string[], gone: RegExp): Promise<void> {
  const result = await host.run(program, args, { allowFailure: true });
  if (result.exitCode !== 0 && !gone.test(result.stderr)) {
    throw new ShuntError(`Cannot remove from the node: ${result.command}: ${result.stderr.trim()}`, {
      code: "RemovalFailed",
      remedy: "See what holds it (for an ipset: a rule that names it), and run it again.",
    });
  }
}

/** Pods that are still attached would lose their network: then nothing is removed. */
function checkUnused({ owner, links, ipvsServers }: Residue): void {
  const ports = links.filter((link) => link.master !== undefined && link.linkinfo?.info_kind === "veth");
  if (ports.length > 0)
    throw new ShuntError(
      `Pods still use the network of ${owner.name}: ${ports.map(({ ifname, master }) => `${ifname} on ${master}`).join(", ")}`,
      {
        code: "NetworkInUse",
        remedy: "Delete the pods of this node that were made before the switch, and run it again.",
      },
    );
  if (ipvsServers > 0)
    throw new ShuntError(`kube-proxy left ${ipvsServers} virtual servers of IPVS`, {
      code: "IpvsInUse",
      remedy: "Run kube-proxy --cleanup on the node (as a pod of its own image), and run it again.",
    });
}

/** Whether nothing is left of it. */
export function isClean(residue: Residue): boolean {
  return residueItems(residue, "").length === 0;
}
