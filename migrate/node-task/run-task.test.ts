// SPDX-License-Identifier: Apache-2.0
// The pod of a task from its making to its removal, against an API server; a kubelet is played by the test.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { KubeClient, type RequestOptions, resourcePath } from "../../lib/kube.ts";
import { connectKube } from "../../lib/kube-connect.ts";
import { ApiError } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { createNodeTask, removeLeftoverTasks, taskLabel } from "./index.ts";
import { joinArgs } from "./task-document.ts";

const pods = resourcePath("v1", "pods", "kube-system");
let server: TestApiServer;
let admin: KubeClient;
let kube: PlayedKube;
let stop: AbortController;

/** What the played kubelet makes of a pod: its status, and its log. */
interface Played {
  status: object;
  log?: string;
}

/** A client to whom the kubelet's part is played. */
class PlayedKube extends KubeClient {
  play: (pod: KubeObject) => Played = () => ({ status: ended(0), log: done({ done: true }) });
  seen: KubeObject[] = [];
  failures = 0;

  override async request<T = any>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    if (this.failures > 0) {
      this.failures--;
      throw new ApiError("test", 503, "away");
    }
    if (path.endsWith("/log")) return this.play(this.seen.at(-1)!).log as T;
    const answer = await super.request<T>(method, path, options);
    const made = answer as KubeObject;
    if (method === "POST" && path === pods) {
      this.seen.push(made);
      await admin.patch(`${pods}/${made.metadata.name}/status`, "strategic", {
        status: this.play(made).status,
      });
    }
    return answer;
  }
}

const ended = (exitCode: number) => ({
  phase: exitCode === 0 ? "Succeeded" : "Failed",
  containerStatuses: [
    {
      name: "task",
      ready: false,
      restartCount: 0,
      image: "i",
      imageID: "",
      state: { terminated: { exitCode } },
    },
  ],
});
const waiting = (reason: string, message: string) => ({
  phase: "Pending",
  containerStatuses: [
    {
      name: "task",
      ready: false,
      restartCount: 0,
      image: "i",
      imageID: "",
      state: { waiting: { reason, message } },
    },
  ],
});
const done = (result: object) => `${JSON.stringify({ shuntNodeTask: 1, ok: true, result })}\n`;

before(async () => {
  server = await startTestApiServer();
  admin = await connectKube({ kubeconfig: server.kubeconfig });
  await admin.create(resourcePath("v1", "serviceaccounts", "kube-system"), { metadata: { name: "default" } });
});
after(async () => {
  admin?.close();
  await server?.stop();
});
beforeEach(() => {
  kube = new PlayedKube(admin.config);
  stop = new AbortController();
});
afterEach(async () => {
  kube.close();
  assert.deepEqual((await admin.list(pods)).items, [], "no pod is left, however it ended");
});

const run = (options: object = {}, args: any = {}) =>
  createNodeTask(kube, { image: "shunt:test", timeoutMs: 20_000, ...options }).run("facts", "n1", args, {
    signal: stop.signal,
  });

test("a privileged pod on exactly that node gets the arguments, and its result comes back", async () => {
  assert.deepEqual(await run({}, { network: { kind: "flannel" } }), { done: true });
  const [pod] = kube.seen;
  const { nodeName, hostNetwork, hostPID, tolerations, activeDeadlineSeconds, volumes } = pod!.spec;
  assert.deepEqual(
    [nodeName, hostNetwork, hostPID, activeDeadlineSeconds, volumes],
    ["n1", true, true, 20, undefined],
  );
  assert.deepEqual(tolerations[0], { operator: "Exists" });
  const [container] = pod!.spec.containers;
  assert.equal(container.securityContext.privileged, true);
  const env = Object.fromEntries(container.env.map(({ name, value }: any) => [name, value]));
  assert.deepEqual([joinArgs(env), env.NODE_NAME], [{ network: { kind: "flannel" } }, "n1"]);
});

test("the image is the agent's, with its way of getting it", async () => {
  await assert.rejects(run({ image: undefined }), /DaemonSet kube-system\/shunt-agent is not there/);
  const sets = resourcePath("apps/v1", "daemonsets", "kube-system");
  const labels = { "k8s-app": "shunt-agent" };
  const containers = [{ name: "agent", image: "registry.example/shunt:1", imagePullPolicy: "Always" }];
  await admin.create(sets, {
    metadata: { name: "shunt-agent" },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers, imagePullSecrets: [{ name: "registry" }] } },
    },
  });
  await run({ image: undefined });
  await admin.delete(`${sets}/shunt-agent`);
  const { containers: made, imagePullSecrets } = kube.seen[0]!.spec;
  assert.deepEqual([made[0].image, made[0].imagePullPolicy], ["registry.example/shunt:1", "Always"]);
  assert.deepEqual(imagePullSecrets, [{ name: "registry" }]);
});

test("what the task fails with is thrown, with its remedy", async () => {
  const error = { message: "in use", code: "NetworkInUse", remedy: "delete the pods" };
  kube.play = () => ({ status: ended(1), log: JSON.stringify({ shuntNodeTask: 1, ok: false, error }) });
  await assert.rejects(run(), {
    message: 'Task facts on node "n1" failed: in use',
    code: "NetworkInUse",
    remedy: "delete the pods",
  });
});

test("a pod that cannot start, or does not end, is named with what holds it", async () => {
  kube.play = () => ({ status: waiting("ErrImageNeverPull", "image is not present") });
  await assert.rejects(
    run(),
    /Task facts on node "n1" did not end: its pod is Pending \(image is not present\)/,
  );
  kube.play = () => ({ status: waiting("ImagePullBackOff", "Back-off pulling image") });
  await assert.rejects(run({ timeoutMs: 600 }), /did not end.*Back-off pulling image/);
  kube.play = () => ({ status: { phase: "Failed", reason: "OutOfpods", message: "too many pods" } });
  await assert.rejects(run(), /did not run: too many pods/);
});

test("an API server that is away for a while is waited for", async () => {
  kube.failures = 3;
  assert.deepEqual(await run(), { done: true });
});

test("an abort removes the pod too", async () => {
  kube.play = () => {
    setTimeout(() => stop.abort(new Error("stopped")), 100);
    return { status: { phase: "Running" } };
  };
  await assert.rejects(run(), /stopped/);
});

test("what a killed operator left is removed before the same work begins, and belongs to its owner", async () => {
  const owner = { apiVersion: "shunt.dev/v1alpha1", kind: "Migration", name: "m", uid: "u" };
  let left: KubeObject | undefined;
  kube.play = (pod) => {
    left = {
      ...pod,
      metadata: { ...pod.metadata, name: "left", uid: undefined, resourceVersion: undefined } as any,
    };
    return { status: ended(0), log: done({}) };
  };
  await run({ owner });
  assert.deepEqual(kube.seen[0]?.metadata.ownerReferences?.[0]?.name, "m");
  await admin.create(pods, left);
  await run();
  await admin.create(pods, left);
  assert.deepEqual(await removeLeftoverTasks(admin), ["left"]);
});

test("a sweep takes what a killed operator left, and not what somebody else asks at this moment", async () => {
  const pod = (kind: string) => ({
    metadata: { name: `left-${kind}`, namespace: "kube-system", labels: { [taskLabel]: kind } },
    spec: { containers: [{ name: "task", image: "i" }] },
  });
  for (const kind of ["facts", "remove-network", "recreate-sandboxes"]) await admin.create(pods, pod(kind));
  assert.deepEqual((await createNodeTask(admin).sweep?.())?.sort(), [
    "left-recreate-sandboxes",
    "left-remove-network",
  ]);
  assert.deepEqual(await removeLeftoverTasks(admin), ["left-facts"]);
});
