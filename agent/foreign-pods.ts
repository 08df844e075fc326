// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { addressBytes, addressText } from "../lib/addresses.ts";
import { RunError } from "../lib/run.ts";
import { ipJson } from "./ip-command.ts";

/** Namespaces that are looked into at the same time. */
const atOnce = 8;

/**
 * Pods of this node that another network serves. On a node that has just been switched, their addresses are of the
 * same range as ours, and stay theirs until they end. They are found by their network namespaces, which runtimes keep
 * in one folder: the API server may not have heard yet of a pod that started a moment ago.
 */
export class ForeignPods {
  readonly #folder: string;
  /** What was found, by name; a namespace without addresses is looked into again. */
  readonly #known = new Map<string, { inode: number; addresses: string[] }>();

  constructor(folder = "/run/netns") {
    this.#folder = folder;
  }

  /** Their addresses, but for those of namespaces (by name) that are ours. */
  async addresses(own: ReadonlySet<string>): Promise<Set<string>> {
    const names = existsSync(this.#folder) ? readdirSync(this.#folder).filter((name) => !own.has(name)) : [];
    for (const name of this.#known.keys()) if (!names.includes(name)) this.#known.delete(name);
    const unknown = names.flatMap((name) => {
      const inode = statSync(path.join(this.#folder, name), { throwIfNoEntry: false })?.ino;
      const known = this.#known.get(name);
      return inode === undefined || (known?.inode === inode && known.addresses.length > 0)
        ? []
        : [{ name, inode }];
    });
    for (let at = 0; at < unknown.length; at += atOnce)
      await Promise.all(
        unknown.slice(at, at + atOnce).map(async ({ name, inode }) => {
          this.#known.set(name, { inode, addresses: await addressesIn(path.join(this.#folder, name)) });
        }),
      );
    return new Set([...this.#known.values()].flatMap(({ addresses }) => addresses));
  }
}

async function addressesIn(netns: string): Promise<string[]> {
  try {
    const links = await ipJson(["address", "show", "scope", "global"], netns);
    // Of links that have none, it prints an empty object.
    const all: string[] = links.flatMap(({ addr_info = [] }) =>
      addr_info.flatMap(({ local }: any) => local ?? []),
    );
    return all.map((one) => addressText(addressBytes(one)));
  } catch (error) {
    // It has gone meanwhile, or is no namespace at all.
    if (error instanceof RunError) return [];
    throw error;
  }
}
