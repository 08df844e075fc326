// SPDX-License-Identifier: Apache-2.0
import { containerHash } from "./container-config.ts";
import type { Pod } from "./pod.ts";
import type { PodRuntime, RuntimeContainer, Sandbox } from "./pod-runtime.ts";

/** A pod for tests, with one container `main` unless the spec says otherwise. */
export function testPod(spec: object = {}, status?: object): Pod {
  const containers = [{ name: "main", image: "image:1" }];
  const metadata = { name: "web", namespace: "shop", uid: "uid-1", resourceVersion: "1" };
  return { metadata, spec: { containers, ...spec }, ...(status === undefined ? {} : { status }) };
}

/** A ready sandbox for tests. */
export function testSandbox(fields: Partial<Sandbox> = {}): Sandbox {
  return {
    id: "sandbox-0",
    attempt: 0,
    ready: true,
    createdAtMs: 1,
    hostNetwork: false,
    ips: ["10.0.0.1"],
    ...fields,
  };
}

/** A running container for tests. */
export function testContainer(name: string, fields: Partial<RuntimeContainer> = {}): RuntimeContainer {
  return {
    id: `${name}-0`,
    name,
    sandboxId: "sandbox-0",
    attempt: 0,
    state: "running",
    createdAtMs: 1_000,
    startedAtMs: 2_000,
    finishedAtMs: 0,
    exitCode: 0,
    reason: "",
    message: "",
    image: "image:1",
    imageRef: "sha256:1",
    hash: containerHash({ name, image: "image:1" }),
    restarts: 0,
    logPath: "",
    messageFile: "",
    ...fields,
  };
}

/** What the runtime has, with one ready sandbox. */
export function testRuntime(...containers: RuntimeContainer[]): PodRuntime {
  return { sandboxes: [testSandbox()], containers };
}
