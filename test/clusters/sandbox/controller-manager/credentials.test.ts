// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { connectKube } from "../../../../lib/kube-connect.ts";
import { createLogger } from "../../../../lib/log.ts";
import { waitFor } from "../../../../lib/wait.ts";
import { startTestApiServer } from "../apiserver/testing.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import { parseFlags } from "./flags.ts";
import { runControllers } from "./index.ts";
import { pathOf, resources } from "./resources.ts";
import { FakeKubelets } from "./testing.ts";

test("with the controller manager's own certificate, the bootstrap roles allow all it does", async () => {
  const server = await startTestApiServer();
  const stop = new AbortController();
  const lines: string[] = [];
  const log = createLogger((line) => void lines.push(line), "warn");
  try {
    const kubeconfig = await server.kubeconfigFor("system:kube-controller-manager");
    const manager = await connectKube({ kubeconfig });
    const keyFile = join(server.folder, "sa.key");
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync(keyFile, privateKey.export({ type: "pkcs8", format: "pem" }));
    const flags = parseFlags([
      `--kubeconfig=${kubeconfig}`,
      `--root-ca-file=${keyFile}`,
      `--service-account-private-key-file=${keyFile}`,
    ]);
    await runControllers(flags, manager, log, stop.signal);
    const admin = await connectKube({ kubeconfig: server.kubeconfig });
    const found = (path: string) =>
      waitFor(path, () => admin.find(path).then((object) => object?.data && object), { timeoutMs: 20_000 });
    await found(pathOf(resources.configMaps, "default", "kube-root-ca.crt"));
    await waitFor(
      "the default ServiceAccount",
      () => admin.find(pathOf(resources.serviceAccounts, "default", "default")),
      { timeoutMs: 20_000 },
    );
    await admin.create(pathOf(resources.secrets, "default"), {
      metadata: { name: "token", annotations: { "kubernetes.io/service-account.name": "default" } },
      type: "kubernetes.io/service-account-token",
    });
    const secret = await found(pathOf(resources.secrets, "default", "token"));
    const claims = Buffer.from(secret.data.token, "base64").toString().split(".")[1]!;
    assert.match(
      Buffer.from(claims, "base64url").toString(),
      /"sub":"system:serviceaccount:default:default"/,
    );
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

test("with the scheduler's own certificate, a pod is placed and another's reason written", async () => {
  const server = await startTestApiServer();
  const stop = new AbortController();
  const lines: string[] = [];
  const log = createLogger((line) => void lines.push(line), "debug");
  try {
    const kubeconfig = await server.kubeconfigFor("system:kube-scheduler");
    const client = await connectKube({ kubeconfig });
    void new Scheduler(client, log).run(stop.signal).catch(() => undefined);
    const admin = await connectKube({ kubeconfig: server.kubeconfig });
    const kubelets = new FakeKubelets(admin, log, stop.signal);
    await kubelets.addNode("n1");
    // What the node lifecycle controller would do, which does not run here.
    await admin.patch(pathOf(resources.nodes, undefined, "n1"), "merge", { spec: { taints: null } });
    await admin.create(pathOf(resources.serviceAccounts, "default"), { metadata: { name: "default" } });
    const pods = pathOf(resources.pods, "default");
    for (const [name, cpu] of [
      ["small", "1"],
      ["large", "100"],
    ])
      await admin.create(pods, {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace: "default" },
        spec: { containers: [{ name: "c", image: "i", resources: { requests: { cpu } } }] },
      });
    await waitFor("a node", async () => (await admin.get(`${pods}/small`)).spec.nodeName, {
      timeoutMs: 20_000,
    });
    const isRefused = async () =>
      (await admin.get(`${pods}/large`)).status.conditions?.some((entry: { message?: string }) =>
        entry.message?.startsWith("0/1 nodes are available: 1 Insufficient cpu."),
      );
    await waitFor("a reason", isRefused, { timeoutMs: 20_000 });
    assert.deepEqual(
      lines.filter((line) => line.includes("orbidden")),
      [],
    );
    admin.close();
    client.close();
  } finally {
    stop.abort();
    await server.stop();
  }
});

test("as processes both parts take their lease, and give it back when told to end", async () => {
  const server = await startTestApiServer();
  const entry = new URL("../../../../bin/sandbox-part.ts", import.meta.url).pathname;
  const admin = await connectKube({ kubeconfig: server.kubeconfig });
  const parts = ["controller-manager", "scheduler"];
  const children = parts.map((part) =>
    spawn(process.execPath, [entry, part, `--kubeconfig=${server.kubeconfig}`], { stdio: "ignore" }),
  );
  const holder = async (part: string): Promise<string> =>
    (await admin.find(pathOf(resources.leases, "kube-system", `kube-${part}`)))?.spec.holderIdentity ?? "";
  try {
    for (const part of parts)
      await waitFor(`the lease of ${part}`, async () => (await holder(part)) !== "", { timeoutMs: 30_000 });
    const ends = children.map((child) => once(child, "exit"));
    for (const child of children) child.kill("SIGTERM");
    assert.deepEqual(
      (await Promise.all(ends)).map(([code]) => code),
      [0, 0],
    );
    assert.deepEqual(await Promise.all(parts.map(holder)), ["", ""]);
  } finally {
    for (const child of children) child.kill("SIGKILL");
    admin.close();
    await server.stop();
  }
});
