// SPDX-License-Identifier: Apache-2.0
import type { NodeGroupProvider } from "../model/tools.ts";
import { aksProvider } from "./aks.ts";
import { clusterApiProvider } from "./cluster-api.ts";
import { eksProvider } from "./eks.ts";
import { gkeProvider } from "./gke.ts";
import { karpenterProvider } from "./karpenter.ts";
import { manualProvider } from "./manual.ts";
import { sandboxProvider } from "./sandbox.ts";
import type { ProviderSetup } from "./setup.ts";

export { type ProviderSetup, parseProviderOptions, type SandboxNodes } from "./setup.ts";

const providers = {
  manual: manualProvider,
  "cluster-api": clusterApiProvider,
  karpenter: karpenterProvider,
  eks: eksProvider,
  gke: gkeProvider,
  aks: aksProvider,
  sandbox: sandboxProvider,
} satisfies Record<string, (setup: ProviderSetup) => NodeGroupProvider>;

/** Names of all providers. */
export const providerNames = Object.keys(providers) as (keyof typeof providers)[];

/** The provider of this name; undefined when there is none. */
export function createProvider(name: string, setup: ProviderSetup): NodeGroupProvider | undefined {
  return Object.hasOwn(providers, name) ? providers[name as keyof typeof providers](setup) : undefined;
}
