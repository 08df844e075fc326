// SPDX-License-Identifier: Apache-2.0
// New nodes take the place of the old workers: by one command, on a cluster with applications at work.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ClusterUnderTest, image } from "./cluster-under-test.ts";

let cluster: ClusterUnderTest;
before(async () => {
  cluster = await ClusterUnderTest.create("e2e-bg", [
    ...["--workers", "2", "--cni", "flannel", "--kube-proxy", "iptables"],
  ]);
});
after(async () => await cluster?.delete());

const container = {
  name: "web",
  image,
  imagePullPolicy: "IfNotPresent",
  command: ["/bin/busybox", "httpd", "-f", "-p", "8080"],
  readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
};

/** A Deployment behind a Service, of which one pod may be away, and a DaemonSet that starts before any agent. */
const applications = [
  {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { terminationGracePeriodSeconds: 2, containers: [container] },
      },
    },
  },
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web" },
    spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
  },
  {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "web" },
    spec: { maxUnavailable: 1, selector: { matchLabels: { app: "web" } } },
  },
  {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "everywhere" },
    spec: {
      selector: { matchLabels: { app: "everywhere" } },
      template: {
        metadata: { labels: { app: "everywhere" } },
        spec: {
          terminationGracePeriodSeconds: 1,
          tolerations: [{ operator: "Exists" }],
          containers: [container],
        },
      },
    },
  },
];

test("blue-green on the sandbox: the old workers are gone, and nothing of the old network is left", async () => {
  await cluster.apply(...applications);
  await cluster.kubectl(["rollout", "status", "deployment/web", "--timeout=120s"]);
  const flags = ["--strategy", "blue-green", "--provider", "sandbox", "--yes", "-o", "json"];
  await cluster.shunt(["migrate", "run", ...flags], { timeoutMs: 1_500_000 });

  const report = JSON.parse((await cluster.shunt(["migrate", "report", "-o", "json"])).stdout);
  assert.equal(report.result, "succeeded");
  assert.deepEqual(report.residue, []);

  const { items: nodes } = await cluster.get("nodes");
  const names = nodes.map(({ metadata }: any) => metadata.name).sort();
  assert.deepEqual(names, ["e2e-bg-control-plane", "e2e-bg-worker3", "e2e-bg-worker4"]);
  for (const { metadata, spec } of nodes) {
    assert.notEqual(spec.unschedulable, true, `${metadata.name} is cordoned`);
    const taints = (spec.taints ?? []).map(({ key }: any) => key);
    assert.ok(!taints.includes("node.shunt.dev/agent-not-ready"), `${metadata.name}: ${taints}`);
  }
  const { items: agents } = await cluster.get("nodes.shunt.dev");
  assert.deepEqual(agents.map(({ metadata }: any) => metadata.name).sort(), names);
  for (const { metadata, spec } of agents)
    assert.deepEqual([spec.podNetwork, spec.services], [undefined, undefined], metadata.name);

  const { items: pods } = await cluster.get("pods", "--all-namespaces");
  for (const { metadata, spec, status } of pods) {
    assert.equal(status.phase, "Running", metadata.name);
    assert.ok(names.includes(spec.nodeName), metadata.name);
  }
  const [everywhere] = pods.filter(({ metadata }: any) => metadata.labels?.app === "everywhere");
  const fetch = ["/bin/busybox", "wget", "-S", "-O", "/dev/null", "http://web.default.svc.cluster.local/"];
  const answer = await cluster.kubectl(["exec", everywhere.metadata.name, "--", ...fetch], {
    allowFailure: true,
  });
  // The server has no page; that it says so is an answer through cluster DNS and the Service.
  assert.match(answer.stderr, /HTTP\/1\.[01] 404/);
});
