// SPDX-License-Identifier: Apache-2.0
import { resourcePath } from "../../../lib/kube.ts";
import { isNotFound } from "../../../lib/kube-errors.ts";
import { waitFor } from "../../../lib/wait.ts";
import { hostnameOf, podEndpoint } from "../deploy.ts";
import type { PodEndpoint } from "../endpoint.ts";
import { readyPodManifest } from "../manifests.ts";
import { isReady } from "../pod-state.ts";
import { podPortBase } from "../ports.ts";
import type { ScenarioRun } from "../scenario-run.ts";
import type { Scenario } from "../suite.ts";
import { hostOf, type World } from "../world.ts";

export const newPod: Scenario<World> = {
  name: "new-pod",
  description:
    "a new pod is reachable from every node and client with the first packet after it says it is ready",
  families: "once",
  run: async (t) => {
    const pod = await startPod(t);
    const sources = [...t.world.clients, ...t.world.hosts];
    for (const family of t.world.families)
      await t.pairs(
        sources,
        [{ name: `${pod.name} [${family}]` }],
        async (source, _, a) => {
          const answer = await t.world.probes.echo(a, source, pod.url(family));
          a.equal("the pod that answered", answer.pod, pod.pod);
        },
        { retries: 0 },
      );
    await t.pairs([pod], [hostOf(t.world, pod.node)], async (from, host, a) => {
      const answer = await t.world.probes.echo(a, from, host.url(t.family));
      a.equal("the node that answered the new pod", answer.node, host.node);
    });
  },
};

async function startPod(t: ScenarioRun<World>): Promise<PodEndpoint> {
  const { kube, nodes, echoSameNode, options } = t.world;
  const { namespace } = options;
  const node = nodes.find((entry) => entry.name === echoSameNode.node)!;
  const image = await imageOf(t);
  const { tolerations } = options;
  const base = { name: "newcomer", namespace, image, hostname: hostnameOf(node), tolerations };
  const path = resourcePath("v1", "pods", namespace, base.name);
  t.finally("delete the new pod", async (signal) => {
    await kube.deleteIfExists(path, { gracePeriodSeconds: 0 });
    const gone = async (): Promise<boolean> => (await kube.find(path)) === undefined;
    await waitFor("the new pod to be gone", gone, { timeoutMs: 20_000, signal });
  });
  await kube.deleteIfExists(path, { gracePeriodSeconds: 0 });
  await waitFor("an old pod of its name to be gone", async () => (await kube.find(path)) === undefined, {
    timeoutMs: 20_000,
    signal: t.signal,
  });
  await kube.create(resourcePath("v1", "pods", namespace), readyPodManifest({ ...base, role: "echo" }));
  const pod = await waitFor(
    "the new pod to be ready",
    async () => {
      const found = await kube.get(path).catch((error) => {
        if (isNotFound(error)) return undefined;
        throw error;
      });
      return found !== undefined && isReady(found) ? found : undefined;
    },
    { timeoutMs: 30_000, intervalMs: 100, signal: t.signal },
  );
  return podEndpoint({ kube, finalizers: t.finalizers }, pod, base.name, podPortBase);
}

async function imageOf(t: ScenarioRun<World>): Promise<string> {
  const { namespace, pod } = t.world.echoSameNode;
  const echo = await t.world.kube.get(resourcePath("v1", "pods", namespace, pod));
  return echo.spec.containers[0].image;
}
