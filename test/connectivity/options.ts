// SPDX-License-Identifier: Apache-2.0
import { addressBytes, addressFamily, cidrContains, type Family, parseCidr } from "../../lib/addresses.ts";
import { UsageError } from "../../lib/errors.ts";

/** A taint that the test's pods put up with. */
export interface Toleration {
  key?: string;
  operator: "Exists" | "Equal";
  value?: string;
  effect?: string;
}

/** How a run is to be done; every field has a default in the command's flags. */
export interface ConnectivityOptions {
  /** Patterns of `--test`. */
  tests: string[];
  namespace: string;
  image: string | undefined;
  /** Families to test; undefined means all that the cluster has. */
  families: Family[] | undefined;
  singleNode: boolean;
  /** These nodes, the clients' first, even if they are cordoned; empty: the first that are fit. */
  nodes: string[];
  nodeSelector: Record<string, string>;
  tolerations: Toleration[];
  testConcurrency: number;
  timeoutMs: number;
  connectTimeoutMs: number;
  requestTimeoutMs: number;
  retries: number;
  /** Pods that have interfaces of another pod network may be seen under their node's address by other nodes. */
  otherNetworkMayMasquerade: boolean;
  externalTarget: string;
  /** Addresses outside that serve HTTP, two a family. */
  externalAddresses: Record<Family, readonly string[]>;
  /** Words before a command that run it beyond the nodes; empty when there is no such place. */
  externalClientCommand: string[];
  keep: boolean;
  forceDeploy: boolean;
  verbose: boolean;
  pauseOnFail: boolean;
}

/** The options when nothing is said; documentation addresses (RFC 5737, RFC 3849) stand for the outside. */
export function defaultOptions(): ConnectivityOptions {
  return {
    tests: [],
    namespace: "shunt-test",
    image: undefined,
    families: undefined,
    singleNode: false,
    nodes: [],
    nodeSelector: {},
    tolerations: [],
    testConcurrency: 3,
    timeoutMs: 600_000,
    connectTimeoutMs: 2_000,
    requestTimeoutMs: 10_000,
    retries: 2,
    otherNetworkMayMasquerade: false,
    externalTarget: "world.example",
    externalAddresses: { ipv4: ["192.0.2.10", "192.0.2.20"], ipv6: ["2001:db8::10", "2001:db8::20"] },
    externalClientCommand: [],
    keep: false,
    forceDeploy: false,
    verbose: false,
    pauseOnFail: false,
  };
}

/** `a=b,c=d` as labels. */
export function parseSelector(text: string): Record<string, string> {
  const entries = text.split(",").map((part) => {
    const [key, value, ...rest] = part.split("=");
    if (!key || value === undefined || rest.length > 0)
      throw new UsageError(`--node-selector "${text}" is not of the form key=value,key=value`);
    return [key.trim(), value.trim()] as const;
  });
  return Object.fromEntries(entries);
}

/** `key`, `key:Effect` or `key=value:Effect`, as kubectl writes taints. */
export function parseToleration(text: string): Toleration {
  const match = /^([\w./-]+)(?:=([\w.-]*))?(?::(NoSchedule|PreferNoSchedule|NoExecute))?$/.exec(text);
  if (match === null)
    throw new UsageError(
      `--tolerations "${text}" is not a taint`,
      "Write key, key:NoSchedule or key=value:NoSchedule.",
    );
  const [, key, value, effect] = match;
  return {
    key: key!,
    ...(value === undefined ? { operator: "Exists" as const } : { operator: "Equal" as const, value }),
    ...(effect === undefined ? {} : { effect }),
  };
}

/**
 * Sorts the addresses outside that the user named into families. A CIDR of one host counts as an address; a
 * wider one must hold an address that is named, because nothing says who answers in it.
 */
export function parseExternal(
  addresses: readonly string[],
  cidrs: readonly string[],
): Record<Family, readonly string[]> {
  const named: Record<Family, string[]> = { ipv4: [], ipv6: [] };
  for (const address of addresses) named[addressFamily(address)].push(address);
  const wide = cidrs.map(parseCidr).filter((cidr) => {
    if (cidr.prefix < (cidr.family === "ipv4" ? 32 : 128)) return true;
    named[cidr.family].push(cidr.text.slice(0, cidr.text.indexOf("/")));
    return false;
  });
  const { externalAddresses } = defaultOptions();
  const result = {
    ipv4: named.ipv4.length > 0 ? named.ipv4 : externalAddresses.ipv4,
    ipv6: named.ipv6.length > 0 ? named.ipv6 : externalAddresses.ipv6,
  };
  for (const cidr of wide)
    if (!result[cidr.family].some((address) => cidrContains(cidr, addressBytes(address))))
      throw new UsageError(
        `--external-cidr ${cidr.text} holds none of ${result[cidr.family].join(", ")}`,
        "Name a host in it that serves HTTP with --external-ip.",
      );
  return result;
}
