// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../lib/wait.ts";
import { ClusterUnderTest, image } from "./cluster-under-test.ts";

let cluster: ClusterUnderTest;
const kubectl = (...args: string[]) => cluster.kubectl(args);

/** A shell script in a container of a pod that needs no pod network. */
const script = (name: string, text: string, extra: object = {}) => ({
  name,
  image,
  imagePullPolicy: "IfNotPresent",
  command: ["/bin/busybox", "sh", "-c", text],
  ...extra,
});

const pod = (name: string, containers: unknown[], extra: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name } },
  spec: {
    hostNetwork: true,
    terminationGracePeriodSeconds: 10,
    tolerations: [{ operator: "Exists" }],
    containers,
    ...extra,
  },
});

const idle = "trap 'exit 0' TERM; while :; do busybox sleep 0.2; done";

/** Waits until a pod's status is as `check` wants it, and returns that status. */
async function statusOf(name: string, check: (status: any) => boolean): Promise<any> {
  return await waitFor(
    `the status of pod ${name}`,
    async () => {
      const { status } = await cluster.get("pod", name);
      return check(status) ? status : undefined;
    },
    { timeoutMs: 60_000 },
  );
}

describe("the sandbox's kubelet, without a pod network", () => {
  before(async () => {
    cluster = await ClusterUnderTest.create("e2e-kubelet", ["--workers", "1"]);
  });
  after(async () => await cluster?.delete());

  test("init containers, volumes and environment", async () => {
    await kubectl("create", "configmap", "settings", "--from-literal=color=blue");
    await kubectl("create", "secret", "generic", "login", "--from-literal=password=hunter2");
    const mounts = ["work", "settings", "token", "labels"].map((name) => ({ name, mountPath: `/v/${name}` }));
    const env = [
      { name: "POD", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
      { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "login", key: "password" } } },
      { name: "BOTH", value: "$(POD)-$(PASSWORD)" },
      { name: "LIMIT", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } } },
    ];
    const read =
      'echo "$BOTH $LIMIT"; cat /v/work/made /v/settings/color /v/labels/labels; test -s /v/token/token && echo token';
    const resources = { limits: { memory: "64Mi", cpu: "500m" } };
    await cluster.apply(
      pod("volumes", [script("main", read, { env, resources, volumeMounts: mounts })], {
        restartPolicy: "Never",
        initContainers: [script("first", "echo made-first > /v/work/made", { volumeMounts: mounts })],
        volumes: [
          { name: "work", emptyDir: {} },
          { name: "settings", configMap: { name: "settings" } },
          { name: "token", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
          {
            name: "labels",
            downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] },
          },
        ],
      }),
    );
    await statusOf("volumes", (status) => status.phase === "Succeeded");
    const lines = (await kubectl("logs", "volumes")).stdout.split("\n");
    assert.deepEqual(lines.slice(0, 2), ["volumes-hunter2 64", "made-first"]);
    // Newer API servers copy the node's zone to its pods' labels.
    assert.match(lines.slice(2).join("\n"), /^blueapp="volumes"(\ntopology[^\n]*)*token$/m);
  });

  test("a container that fails is held back, and says how it ended", async () => {
    await cluster.apply(pod("crash", [script("main", "echo why > /dev/termination-log; exit 3")]));
    // Held back, it is waiting; a real kubelet 1.36 goes on showing how it ended, and says so in an event only.
    await waitFor(
      "the container to be held back",
      async () => {
        const { items } = await cluster.get("events", "--field-selector", "involvedObject.name=crash");
        return items.some((event: any) => event.reason === "BackOff");
      },
      { timeoutMs: 60_000 },
    );
    const status = await statusOf(
      "crash",
      ({ containerStatuses: [main] }) => main.restartCount >= 1 && main.state.running === undefined,
    );
    const [main] = status.containerStatuses;
    const ended = main.lastState.terminated;
    assert.equal(ended.exitCode, 3);
    assert.equal(ended.message.trim(), "why");
  });

  test("probes decide on readiness and restarts", async () => {
    const every = { periodSeconds: 1, failureThreshold: 1 };
    const ready = {
      readinessProbe: { exec: { command: ["busybox", "test", "-e", "/tmp/ready"] }, ...every },
    };
    const alive = {
      livenessProbe: { exec: { command: ["busybox", "test", "!", "-e", "/tmp/sick"] }, ...every },
    };
    await cluster.apply(pod("probed", [script("main", idle, { ...ready, ...alive })]));
    await statusOf("probed", ({ containerStatuses: [main] = [] as any[] }) => main?.started && !main.ready);
    await kubectl("exec", "probed", "--", "busybox", "touch", "/tmp/ready");
    await kubectl("wait", "--for=condition=Ready", "pod/probed", "--timeout=30s");
    await kubectl("exec", "probed", "--", "busybox", "touch", "/tmp/sick");
    await statusOf("probed", ({ containerStatuses: [main] = [] as any[] }) => main?.restartCount === 1);
    const events = await cluster.get("events", "--field-selector", "involvedObject.name=probed");
    const reasons = events.items.map((event: any) => event.reason);
    for (const reason of ["Unhealthy", "Killing", "Started"]) assert.ok(reasons.includes(reason), reason);
  });

  test("an image that is not there is not waited for for ever", async () => {
    await cluster.apply(
      pod("no-image", [{ name: "main", image: "shunt.local/none:1", imagePullPolicy: "Never" }]),
    );
    const status = await statusOf(
      "no-image",
      ({ containerStatuses: [main] = [] as any[] }) => main?.state.waiting?.reason === "ErrImageNeverPull",
    );
    assert.equal(status.phase, "Pending");
  });

  test("a deleted pod runs its preStop hook and ends by itself", async () => {
    const lifecycle = { preStop: { exec: { command: ["busybox", "sh", "-c", "echo hook > /proc/1/fd/1"] } } };
    const text = "trap 'echo term; exit 0' TERM; while :; do busybox sleep 0.2; done";
    await cluster.apply(pod("graceful", [script("main", text, { lifecycle })]));
    await kubectl("wait", "--for=condition=Ready", "pod/graceful", "--timeout=60s");
    const logs = kubectl("logs", "--follow", "graceful");
    await kubectl("delete", "pod", "graceful", "--timeout=60s");
    assert.deepEqual((await logs).stdout.trim().split("\n"), ["hook", "term"]);
  });
});
