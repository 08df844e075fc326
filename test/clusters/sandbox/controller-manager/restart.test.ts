// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { waitFor } from "../../../../lib/wait.ts";
import { pathOf, resources } from "./resources.ts";
import { startTestControlPlane } from "./testing.ts";

test("controllers and scheduler go on after the API server was away", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "shunt-restart-"));
  const plane = await startTestControlPlane([], { dataDir });
  try {
    await plane.kubelets.addNode("n1");
    const labels = { app: "web" };
    const deployment = (replicas: number) => ({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: "default" },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
      },
    });
    const path = pathOf(resources.deployments, "default", "web");
    await plane.apply(deployment(2));
    await plane.until(path, "two pods", ({ status }) => status?.availableReplicas === 2);
    const pods = pathOf(resources.pods, "default");
    const before = (await plane.client.list(pods)).items.map(({ metadata }) => metadata.uid);
    await plane.server.restart();
    // The client's idle connections ended with the server.
    await waitFor("the server", () => plane.apply(deployment(4)), { timeoutMs: 10_000 });
    await plane.until(path, "four pods", ({ status }) => status?.availableReplicas === 4);
    const after = (await plane.client.list(pods)).items.map(({ metadata }) => metadata.uid);
    assert.ok(before.every((uid) => after.includes(uid)));
    assert.equal(after.length, 4);
  } finally {
    await plane.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
});
