// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { parse, stringify } from "yaml";
import { ShuntError } from "../../../lib/errors.ts";
import { sleep } from "../../../lib/wait.ts";
import type { Credential } from "./pki.ts";
import { writeAtomically } from "./state.ts";

interface Named {
  name: string;
}

interface Kubeconfig {
  apiVersion: string;
  kind: string;
  preferences?: object;
  clusters: (Named & { cluster: object })[];
  users: (Named & { user: object })[];
  contexts: (Named & { context: object })[];
  "current-context"?: string;
}

/** Name of a cluster's context, cluster and user in kubeconfigs. */
export function contextName(cluster: string): string {
  return `sandbox-${cluster}`;
}

/** A kubeconfig with one context. */
export function makeKubeconfig(name: string, server: string, ca: string, client: Credential): Kubeconfig {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const user = {
    "client-certificate-data": base64(client.cert),
    "client-key-data": base64(client.key),
  };
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server, "certificate-authority-data": base64(ca) } }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  };
}

/** The kubeconfig file that kubectl would change: the first of $KUBECONFIG, or ~/.kube/config. */
export function defaultKubeconfigFile(env: Record<string, string | undefined>): string {
  const first = (env.KUBECONFIG ?? "").split(":").find((file) => file !== "");
  return path.resolve(first ?? path.join(env.HOME ?? os.homedir(), ".kube/config"));
}

/** Adds a kubeconfig's entries to a file, replacing those of the same name, and makes its context the current one. */
export async function mergeKubeconfig(file: string, added: Kubeconfig): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await changeKubeconfig(file, (config) => {
    for (const list of ["clusters", "users", "contexts"] as const)
      (config[list] as Named[]) = [...without(config[list], added[list][0]!.name), ...added[list]];
    config["current-context"] = added["current-context"];
    return config;
  });
}

/** Takes a cluster's entries out of the file that they were written to. A file that only held them is removed. */
export async function removeKubeconfig(
  cluster: string,
  recorded: string | undefined,
  env: Record<string, string | undefined>,
): Promise<void> {
  const file = recorded ?? defaultKubeconfigFile(env);
  const name = contextName(cluster);
  if (!existsSync(file)) return;
  await changeKubeconfig(file, (config) => {
    const had = config.contexts.some((context) => context.name === name);
    if (!had) return "keep";
    for (const list of ["clusters", "users", "contexts"] as const)
      (config[list] as Named[]) = without(config[list], name);
    if (config["current-context"] === name) config["current-context"] = config.contexts[0]?.name ?? "";
    return config.contexts.length + config.clusters.length + config.users.length === 0 ? "remove" : config;
  });
}

function without(list: readonly Named[], name: string): Named[] {
  return list.filter((entry) => entry.name !== name);
}

type Change = Kubeconfig | "keep" | "remove";

/** Reads, changes and writes the file, under the lock that kubectl and client-go use (FILE.lock). */
async function changeKubeconfig(file: string, change: (config: Kubeconfig) => Change): Promise<void> {
  const unlock = await lock(`${file}.lock`);
  try {
    const result = change(await read(file));
    if (result === "keep") return;
    if (result === "remove") await rm(file, { force: true });
    else await writeAtomically(file, stringify(result), 0o600);
  } finally {
    await unlock();
  }
}

async function read(file: string): Promise<Kubeconfig> {
  const empty: Kubeconfig = { apiVersion: "v1", kind: "Config", clusters: [], users: [], contexts: [] };
  if (!existsSync(file)) return empty;
  let parsed: unknown;
  try {
    parsed = parse(await readFile(file, "utf8")) ?? {};
  } catch (cause) {
    throw new ShuntError(`${file} is not valid YAML`, {
      remedy: "Repair it, or write elsewhere with --kubeconfig.",
      cause,
    });
  }
  if (typeof parsed !== "object" || Array.isArray(parsed))
    throw new ShuntError(`${file} is not a kubeconfig`, { remedy: "Write elsewhere with --kubeconfig." });
  const config = { ...empty, ...parsed } as Kubeconfig;
  for (const list of ["clusters", "users", "contexts"] as const) config[list] ??= [];
  return config;
}

async function lock(file: string): Promise<() => Promise<void>> {
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      const handle = await open(file, "wx");
      await handle.close();
      return () => rm(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      await sleep(100);
    }
  }
  throw new ShuntError(`The kubeconfig is locked: ${file} exists`, {
    remedy: "If no kubectl is changing it now, remove that file.",
  });
}
