// SPDX-License-Identifier: Apache-2.0
// Pods that a drain leaves, made anew; the kubelet is played by the test.
import assert from "node:assert/strict";
import { after, before, mock, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { connectWith, credentialsOf } from "../engine/testing.ts";
import type { NodeTask } from "../model/tools.ts";
import { waitForModes } from "./node-mode.ts";
import { networkedPods, recreatePods, uidsOf } from "./node-pods.ts";

let server: TestApiServer;
let kube: KubeClient;
const path = (name?: string): string => resourcePath("v1", "pods", "default", name);

before(async () => {
  server = await startTestApiServer();
  kube = connectWith(credentialsOf(server.kubeconfig));
  await kube.create(resourcePath("v1", "serviceaccounts", "default"), { metadata: { name: "default" } });
});

after(async () => {
  kube?.close();
  await server?.stop();
});

const running = (containerID: string, ready = "True") => ({
  status: {
    phase: "Running",
    conditions: [{ type: "Ready", status: ready }],
    containerStatuses: [
      { name: "c", containerID, ready: true, restartCount: 0, image: "i", imageID: "", state: {} },
    ],
  },
});

async function make(
  name: string,
  annotations: Record<string, string>,
  spec: object = {},
): Promise<KubeObject> {
  const pod = await kube.create(path(), {
    metadata: { name, namespace: "default", annotations },
    spec: { nodeName: "n1", containers: [{ name: "c", image: "i" }], ...spec },
  });
  await kube.patch(`${path(name)}/status`, "strategic", running(`old-${name}`));
  return pod;
}

test("static pods get new sandboxes by the hash that the kubelet knows, and are waited for", async () => {
  const mirror = await make("etcd-n1", {
    "kubernetes.io/config.mirror": "abc123",
    "kubernetes.io/config.hash": "abc123",
  });
  await make("host-n1", { "kubernetes.io/config.mirror": "def456" }, { hostNetwork: true });
  const asked: unknown[] = [];
  let isBack = false;
  const tasks: NodeTask = {
    async run(kind, node, args) {
      asked.push([kind, node, args]);
      setTimeout(
        () => void kube.patch(`${path("etcd-n1")}/status`, "strategic", running("new", "False")),
        100,
      );
      setTimeout(() => {
        isBack = true;
        void kube.patch(`${path("etcd-n1")}/status`, "strategic", running("new"));
      }, 900);
      return { recreated: ["default/etcd-n1"] };
    },
  };
  const uids = new Set(uidsOf(await networkedPods(kube, "n1")));
  const { signal } = new AbortController();
  const count = await recreatePods({ kube, node: "n1", uids, tasks, signal, report: () => undefined });
  assert.equal(count, 1);
  // Not the mirror pod's own UID, of which the runtime knows nothing; and nobody's who has no network of his own.
  assert.notEqual(mirror.metadata.uid, "abc123");
  assert.deepEqual(asked, [["recreate-sandboxes", "n1", { uids: ["abc123"] }]]);
  assert.ok(isBack, "it was not Ready before");
  assert.equal(
    (await kube.get(path("etcd-n1"))).metadata.uid,
    mirror.metadata.uid,
    "the mirror pod itself stays",
  );
});

test("an agent that never gets ready is told with its own words and a remedy, at a deadline", async (context) => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  context.after(() => mock.timers.reset());
  const silent = {
    get: async () => ({
      metadata: { name: "n1", generation: 2 },
      status: {
        observedGeneration: 2,
        conditions: [{ type: "Ready", status: "False", message: "the kernel has no cgroup2" }],
      },
    }),
  };
  let isOver = false;
  const { signal } = new AbortController();
  const waiting = waitForModes(silent as never, "n1", { podNetwork: "active" }, signal).finally(() => {
    isOver = true;
  });
  const failure = assert.rejects(waiting, {
    code: "Timeout",
    message: /waiting for the agent of node n1 to be ready: the kernel has no cgroup2/,
    remedy: /shunt status/,
  });
  while (!isOver) {
    mock.timers.tick(1_000);
    await new Promise(setImmediate);
  }
  await failure;
});
