// SPDX-License-Identifier: Apache-2.0
import path from "node:path";
import type { Host } from "./host.ts";
import type { Owner } from "./owners.ts";

export const confFolder = "/etc/cni/net.d";

/** A CNI configuration file of a node. */
export interface ConfFile {
  path: string;
  name: string;
  types: string[];
  /** Bridge device that it names. */
  bridge: string | undefined;
  /** Folder where host-local keeps its leases, with one folder a network. */
  leases: string;
}

/** Reads the configuration files in the order in which a runtime takes them. Broken ones have no types. */
export function readConfFiles(host: Host): ConfFile[] {
  return host
    .list(confFolder)
    .filter((file) => /\.(conf|conflist|json)$/.test(file))
    .map((file) =>
      parseConf(path.posix.join(confFolder, file), host.read(path.posix.join(confFolder, file)) ?? ""),
    );
}

/** Reads one configuration. */
export function parseConf(file: string, text: string): ConfFile {
  let conf: any = {};
  try {
    conf = JSON.parse(text) ?? {};
  } catch {
    // Not for us to judge; it belongs to nobody then.
  }
  const plugins: any[] = Array.isArray(conf.plugins) ? conf.plugins : [conf];
  const first = plugins.find(
    (plugin) => plugin?.bridge !== undefined || plugin?.delegate?.bridge !== undefined,
  );
  const isBridged = plugins.some((plugin) => ["bridge", "flannel"].includes(plugin?.type));
  const dataDir = plugins.find((plugin) => plugin?.ipam?.dataDir !== undefined)?.ipam.dataDir;
  return {
    path: file,
    name: typeof conf.name === "string" ? conf.name : "",
    types: plugins.map((plugin) => plugin?.type).filter((type) => typeof type === "string"),
    bridge: first?.bridge ?? first?.delegate?.bridge ?? (isBridged ? "cni0" : undefined),
    leases: typeof dataDir === "string" ? dataDir : "/var/lib/cni/networks",
  };
}

/** Which configurations belong to an owner; ours never do. */
export function confFilesOf(files: readonly ConfFile[], owner: Owner): ConfFile[] {
  return files.filter(
    ({ path: file, types }) =>
      !types.some((type) => type.startsWith("shunt")) &&
      (types.some((type) => owner.pluginTypes.includes(type)) ||
        owner.confFiles?.test(path.posix.basename(file)) === true),
  );
}
