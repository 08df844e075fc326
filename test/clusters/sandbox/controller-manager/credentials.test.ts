// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { connectKube } from "../../../../lib/kube.ts";
import { createLogger } from "../../../../lib/log.ts";
import { waitFor } from "../../../../lib/wait.ts";
import { startTestApiServer } from "../apiserver/testing.ts";
import { parseFlags } from "./flags.ts";
import { runControllers } from "./index.ts";
import { pathOf, resources } from "./resources.ts";

test("with the controller manager's own certificate, the bootstrap roles allow all it does", async () => {
  const server = await startTestApiServer();
  const stop = new AbortController();
  const lines: string[] = [];
  const log = createLogger((line) => void lines.push(line), "warn");
  try {
    const kubeconfig = await server.kubeconfigFor("system:kube-controller-manager");
    const manager = await connectKube({ kubeconfig });
    await runControllers(parseFlags([`--kubeconfig=${kubeconfig}`]), manager, log, stop.signal);
    const admin = await connectKube({ kubeconfig: server.kubeconfig });
    const labels = { app: "web" };
    await admin.create(pathOf(resources.deployments, "default"), {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: "default" },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
      },
    });
    await waitFor(
      "two pods",
      async () => (await admin.list(pathOf(resources.pods, "default"))).items.length === 2,
      { timeoutMs: 20_000 },
    );
    await admin.delete(pathOf(resources.deployments, "default", "web"));
    await waitFor(
      "their end",
      async () =>
        (await admin.list(pathOf(resources.pods, "default"))).items.every(
          ({ metadata }) => metadata.deletionTimestamp !== undefined,
        ),
      { timeoutMs: 20_000 },
    );
    const refused = lines.filter((line) => line.includes("orbidden"));
    assert.deepEqual(refused, []);
    admin.close();
    manager.close();
  } finally {
    stop.abort();
    await server.stop();
  }
});
