// SPDX-License-Identifier: Apache-2.0
import type { Selector } from "./model.ts";
import { anyPod, exists } from "./selector.ts";

/** Identities that every cluster has, with the numbers by which Hubble knows them. */
export const reservedIdentities = {
  unknown: 0,
  host: 1,
  world: 2,
  unmanaged: 3,
  health: 4,
  init: 5,
  "remote-node": 6,
  "kube-apiserver": 7,
  ingress: 8,
  "world-ipv4": 9,
  "world-ipv6": 10,
} as const;

export type ReservedName = keyof typeof reservedIdentities;

const reserved = (name: ReservedName): Selector => [exists(`reserved:${name}`)];

/** Entities of Cilium's policies as selectors, one of which must select; undefined is everybody. */
const entities: Record<string, readonly Selector[] | undefined> = {
  all: undefined,
  // Whatever is outside has this label, also where a CIDR or a family tells it apart.
  world: [reserved("world")],
  "world-ipv4": [reserved("world-ipv4")],
  "world-ipv6": [reserved("world-ipv6")],
  host: [reserved("host")],
  "remote-node": [reserved("remote-node")],
  "kube-apiserver": [reserved("kube-apiserver")],
  health: [reserved("health")],
  init: [reserved("init")],
  unmanaged: [reserved("unmanaged")],
  ingress: [reserved("ingress")],
  cluster: [
    [anyPod],
    ...(["host", "remote-node", "health", "init", "unmanaged", "ingress", "kube-apiserver"] as const).map(
      reserved,
    ),
  ],
  none: [],
};

export const entityNames = Object.keys(entities);
export const isEntity = (name: string): boolean => Object.hasOwn(entities, name);
export const selectorsOfEntity = (name: string): readonly Selector[] | undefined => entities[name];
