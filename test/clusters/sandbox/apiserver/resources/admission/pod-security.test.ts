// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject, Refusal } from "../resource.ts";
import { pod, TestStore } from "../test-store.ts";

function storeWith(mode: string, level: string): TestStore {
  const store = new TestStore();
  store.put({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "default", labels: { [`pod-security.kubernetes.io/${mode}`]: level } },
  });
  return store;
}

const SAFE: KubeObject = {
  securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
  containers: [
    {
      name: "main",
      image: "nginx",
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    },
  ],
};

test("restricted refuses an ordinary pod with the real plugin's words", () => {
  assert.throws(
    () => storeWith("enforce", "restricted").write(pod("web")),
    (error: Refusal) =>
      error.code === 403 &&
      error.message ===
        'pods "web" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "main" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "main" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
  );
});

test("restricted lets a careful pod in", () => {
  assert.deepEqual(storeWith("enforce", "restricted").write(pod("web", SAFE)).errors, []);
});

test("baseline refuses host access and lets an ordinary pod in", () => {
  const store = storeWith("enforce", "baseline");
  assert.deepEqual(store.write(pod("web")).errors, []);
  const spec = {
    hostNetwork: true,
    volumes: [{ name: "root", hostPath: { path: "/" } }],
    containers: [
      { name: "main", image: "a", securityContext: { privileged: true, capabilities: { add: ["BPF"] } } },
    ],
  };
  assert.throws(
    () => store.write(pod("agent", spec)),
    (error: Refusal) =>
      error.message.endsWith(
        'non-default capabilities (container "main" must not include "BPF" in securityContext.capabilities.add), host namespaces (hostNetwork=true), hostPath volumes (volume "root"), privileged (container "main" must not set securityContext.privileged=true)',
      ),
  );
});

test("warn lets pods in and says what is wrong", () => {
  const { warnings, errors } = storeWith("warn", "baseline").write(pod("web", { hostPID: true }));
  assert.deepEqual(errors, []);
  assert.deepEqual(warnings, ['would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)']);
});
