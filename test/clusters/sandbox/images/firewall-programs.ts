// SPDX-License-Identifier: Apache-2.0
import { globSync, realpathSync } from "node:fs";
import path from "node:path";
import { type FileSet, imagePath, librariesOf } from "./file-set.ts";

/** Programs that read and write a node's packet filter. */
export const firewallPrograms = ["xtables-nft-multi", "xtables-legacy-multi", "nft", "conntrack", "ipset"];

/** Adds iptables under all its names, with its extensions: shared objects that need libraries of their own. */
export async function addFirewallNames(files: FileSet): Promise<void> {
  for (const kind of ["iptables", "ip6tables"])
    for (const suffix of ["", "-save", "-restore"]) {
      files.link(`usr/sbin/${kind}${suffix}`, "xtables-nft-multi");
      files.link(`usr/sbin/${kind}-legacy${suffix}`, "xtables-legacy-multi");
      files.link(`usr/sbin/${kind}-nft${suffix}`, "xtables-nft-multi");
    }
  for (const folder of globSync("/usr/lib/*/xtables")) files.tree(path.relative("/", folder), folder);
  const extensions = globSync("/usr/lib/*/xtables/*.so");
  if (extensions.length === 0) return;
  for (const library of new Set(await librariesOf(extensions)))
    files.file(imagePath(library), realpathSync(library));
}
