// SPDX-License-Identifier: Apache-2.0
// An API server with the kinds of a provider, and small controllers that make its machines and nodes appear.
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { connectKube } from "../../lib/kube-connect.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep, waitFor } from "../../lib/wait.ts";
import { readinessTaint } from "../model/tools.ts";
import type { ProviderSetup } from "./setup.ts";

export const nodePath = (name?: string): string => resourcePath("v1", "nodes", undefined, name);

/** A cluster with these kinds in which a controller works until `stop`. */
export interface ProviderWorld {
  kube: KubeClient;
  setup: ProviderSetup;
  nodes(): Promise<KubeObject[]>;
  stop(): Promise<void>;
}

/** An API server of the test's own, such as `startTestApiServer` starts. */
interface Server {
  kubeconfig: string;
  stop(): Promise<void>;
}

/** @param reconcile one round of the controller; it is asked again and again */
export async function startWorld(
  server: Server,
  definitions: KubeObject[],
  reconcile: (kube: KubeClient) => Promise<void>,
): Promise<ProviderWorld> {
  const kube = await connectKube({ kubeconfig: server.kubeconfig });
  const stop = new AbortController();
  for (const crd of definitions)
    await kube.create(resourcePath("apiextensions.k8s.io/v1", "customresourcedefinitions"), crd);
  for (const { spec } of definitions) {
    const path = resourcePath(`${spec.group}/${spec.versions[0].name}`, spec.names.plural);
    await waitFor(`${path} to be served`, async () => (await kube.find(path)) !== undefined, {
      timeoutMs: 20_000,
      intervalMs: 20,
    });
  }
  const failures: unknown[] = [];
  const work = (async () => {
    while (!stop.signal.aborted) {
      // Its writes may cross the provider's, as those of real controllers do.
      await reconcile(kube).catch((error: unknown) => failures.push(error));
      await sleep(20, stop.signal).catch(() => undefined);
    }
  })();
  const run = async (): Promise<never> => {
    throw new Error("this provider runs no program");
  };
  return {
    kube,
    setup: { kube, options: {}, say: () => undefined, run },
    nodes: async () => (await kube.list(nodePath())).items,
    async stop() {
      stop.abort();
      await work;
      kube.close();
      await server.stop();
    },
  };
}

/** A node as its kubelet registers it. */
export async function createNode(
  kube: KubeClient,
  name: string,
  { labels = {}, annotations = {}, taints = [] as object[] } = {},
): Promise<void> {
  await kube.create(nodePath(), {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels, annotations },
    spec: { taints },
  });
}

/** Whether the node registered with the readiness taint. */
export async function keepsPodsAway(kube: KubeClient, name: string): Promise<boolean> {
  const taints: { key: string; effect: string }[] = (await kube.get(nodePath(name))).spec?.taints ?? [];
  return taints.some(({ key, effect }) => key === readinessTaint.key && effect === readinessTaint.effect);
}
