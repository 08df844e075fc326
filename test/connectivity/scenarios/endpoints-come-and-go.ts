// SPDX-License-Identifier: Apache-2.0
import { resourcePath } from "../../../lib/kube.ts";
import { waitFor } from "../../../lib/wait.ts";
import type { ScenarioRun } from "../scenario-run.ts";
import type { Scenario } from "../suite.ts";
import type { World } from "../world.ts";

export const endpointsComeAndGo: Scenario<World> = {
  name: "endpoints-come-and-go",
  description: "a Service follows its pods: refused when they are gone, answering when they are back",
  families: "once",
  run: async (t) => {
    t.finally("scale back", async () => void (await scale(t, 1)));
    await expectService(t, "with a pod", 0);
    await scale(t, 0);
    await expectService(t, "without pods", 7);
    await scale(t, 1);
    await expectService(t, "with a new pod", 0);
  },
};

async function scale(t: ScenarioRun<World>, replicas: number): Promise<void> {
  const path = resourcePath("apps/v1", "deployments", t.world.options.namespace, "echo-scaled");
  await t.world.kube.patch(path, "merge", { spec: { replicas } });
}

async function expectService(t: ScenarioRun<World>, state: string, curlExit: number): Promise<void> {
  const url = t.world.services["echo-scaled"].url(t.family);
  await t.each(
    t.world.clients.map((client) => ({ name: `${client.name}, ${state}`, client })),
    async (entry, a) => {
      const check = async (): Promise<boolean> => {
        const result = await t.world.probes.http(a, entry.client, url, { connectTimeoutS: 1 });
        if (result.curlExit !== curlExit)
          throw new Error(`curl ended with ${result.curlExit} ${result.error}`);
        return true;
      };
      const options = { timeoutMs: 30_000, intervalMs: 200, signal: a.signal };
      a.ok(await waitFor(`the Service ${state} to give curl exit code ${curlExit}`, check, options), "");
    },
    { retries: 0 },
  );
}
