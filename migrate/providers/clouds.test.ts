// SPDX-License-Identifier: Apache-2.0
// What clouds' programs are asked, word by word, and how their documented answers are taken. No cloud is reached.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { resourcePath } from "../../lib/kube.ts";
import { startTestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import type { NodeGroupProvider } from "../model/tools.ts";
import { createProvider } from "./index.ts";
import { nodePath, type ProviderWorld, startWorld } from "./testing.ts";
import { FakePrograms, type RecordedCall } from "./testing-program.ts";

const signal = AbortSignal.timeout(120_000);
let world: ProviderWorld;
let programs: FakePrograms;
before(async () => {
  world = await startWorld(await startTestApiServer(), [], async () => undefined);
});
after(async () => await world?.stop());
beforeEach(() => {
  programs = new FakePrograms();
});
afterEach(async () => {
  programs.remove();
  for (const { metadata } of await world.nodes()) await world.kube.deleteIfExists(nodePath(metadata.name));
});

async function node(name: string, providerID: string, labels: Record<string, string>): Promise<void> {
  await world.kube.create(resourcePath("v1", "nodes"), {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels },
    spec: { providerID },
  });
}

const provider = (name: string, options: Record<string, string>): NodeGroupProvider =>
  createProvider(name, { ...world.setup, options, run: programs.run })!;

const notFound = (stderr: string): Partial<RecordedCall> => ({ stderr, exitCode: 254 });

test("eks: a managed node group's copy, and an instance less", async () => {
  await node("ip-1", "aws:///eu-west-1a/i-0aaa", { "eks.amazonaws.com/nodegroup": "workers" });
  await node("ip-2", "aws:///eu-west-1b/i-0bbb", { "eks.amazonaws.com/nodegroup": "workers" });
  const tail = ["--region", "eu-west-1", "--output", "json"];
  const of = (name: string) => ["--cluster-name", "prod", "--nodegroup-name", name];
  const nodegroup = {
    nodegroupName: "workers",
    nodegroupArn: "arn:aws:eks:eu-west-1:111122223333:nodegroup/prod/workers/aaaa",
    clusterName: "prod",
    version: "1.33",
    releaseVersion: "1.33.1-20260101",
    status: "ACTIVE",
    capacityType: "ON_DEMAND",
    scalingConfig: { minSize: 1, maxSize: 4, desiredSize: 2 },
    instanceTypes: ["m6i.large"],
    subnets: ["subnet-1", "subnet-2"],
    amiType: "AL2023_x86_64_STANDARD",
    nodeRole: "arn:aws:iam::111122223333:role/node",
    labels: { team: "a" },
    diskSize: 20,
    tags: { "aws:cloudformation:stack-name": "x", owner: "ops" },
    updateConfig: { maxUnavailable: 1 },
  };
  const input = {
    clusterName: "prod",
    nodegroupName: "workers-shunt",
    subnets: nodegroup.subnets,
    nodeRole: nodegroup.nodeRole,
    capacityType: "ON_DEMAND",
    labels: { team: "a" },
    updateConfig: { maxUnavailable: 1 },
    instanceTypes: ["m6i.large"],
    diskSize: 20,
    amiType: "AL2023_x86_64_STANDARD",
    version: "1.33",
    scalingConfig: { minSize: 1, maxSize: 4, desiredSize: 2 },
    taints: [{ key: "node.shunt.dev/agent-not-ready", effect: "NO_SCHEDULE" }],
    tags: { owner: "ops", "shunt.dev/node-group": "g", "shunt.dev/old-min-size": "1" },
  };
  const describe = { args: ["eks", "describe-nodegroup", ...of("workers"), ...tail], stdout: { nodegroup } };
  const asked = ["autoscaling", "describe-auto-scaling-instances", "--instance-ids", "i-0aaa", ...tail];
  const state = (LifecycleState: string): RecordedCall => ({
    args: asked,
    stdout: {
      AutoScalingInstances: [
        {
          InstanceId: "i-0aaa",
          AutoScalingGroupName: "eks-workers-aaaa",
          LifecycleState,
          HealthStatus: "HEALTHY",
        },
      ],
    },
  });
  const update = (minimum: number): RecordedCall => ({
    args: [
      "eks",
      "update-nodegroup-config",
      ...of("workers"),
      "--scaling-config",
      `minSize=${minimum}`,
      ...tail,
    ],
    stdout: { update: { id: "u", status: "InProgress" } },
  });
  const wait = { args: ["eks", "wait", "nodegroup-active", ...of("workers"), "--region", "eu-west-1"] };
  const end = ["autoscaling", "terminate-instance-in-auto-scaling-group", "--instance-id", "i-0aaa"];
  const terminate = {
    args: [...end, "--should-decrement-desired-capacity", ...tail],
    stdout: { Activity: {} },
  };

  const eks = provider("eks", { cluster: "prod", region: "eu-west-1" });
  programs.add("aws", [describe]);
  assert.equal(await eks.check(["ip-1", "ip-2"]), undefined);
  assert.match((await provider("eks", {}).check(["ip-1"]))!, /--provider-set cluster/);

  // The token is a digest: the same for the same question, whatever its value.
  programs.add("aws", [describe, update(0), wait]);
  await assert.rejects(eks.addNodes({ group: "g", old: ["ip-1", "ip-2"], signal }), /unexpected call/);
  const create = programs.calls("aws")[1]!;
  assert.deepEqual(
    [create.slice(0, 3), create.slice(4)],
    [["eks", "create-nodegroup", "--cli-input-json"], tail],
  );
  const sent = JSON.parse(create[3]!);
  assert.match(sent.clientRequestToken, /^[0-9a-f]{64}$/);
  assert.deepEqual(sent, { ...input, clientRequestToken: sent.clientRequestToken });
  programs.add("aws", [describe, { args: create, stdout: { nodegroup } }, update(0), wait]);
  await eks.addNodes({ group: "g", old: ["ip-1", "ip-2"], signal });
  assert.deepEqual(
    programs.calls("aws").map((args) => args[1]),
    ["describe-nodegroup", "create-nodegroup", "update-nodegroup-config", "wait"],
  );
  // Asked for again after a crash, it is there already.
  const exists = notFound(
    "An error occurred (ResourceInUseException) when calling CreateNodegroup: exists already",
  );
  programs.add("aws", [describe, { args: create, ...exists }, update(0), wait]);
  await eks.addNodes({ group: "g", old: ["ip-1", "ip-2"], signal });

  programs.add("aws", [state("InService"), terminate]);
  assert.match(await eks.removeNode({ group: "g", node: "ip-1", signal }), /one smaller/);
  programs.add("aws", [state("Terminating:Wait")]);
  assert.match(await eks.removeNode({ group: "g", node: "ip-1", signal }), /ending already/);
  programs.add("aws", []);
  assert.match(await eks.removeNode({ group: "g", node: "gone", signal }), /is gone/);

  const copy = { ...nodegroup, nodegroupName: "workers-shunt", tags: input.tags };
  programs.add("aws", [
    {
      args: ["eks", "list-nodegroups", "--cluster-name", "prod", ...tail],
      stdout: { nodegroups: ["workers", "workers-shunt"] },
    },
    { args: ["eks", "describe-nodegroup", ...of("workers-shunt"), ...tail], stdout: { nodegroup: copy } },
    update(1),
    wait,
    { args: ["eks", "delete-nodegroup", ...of("workers-shunt"), ...tail], stdout: { nodegroup: copy } },
  ]);
  assert.equal(await eks.removeGroup({ group: "g", signal }), "deletes workers-shunt");
  assert.equal(programs.calls("aws").length, 5);
});

test("gke: a node pool's copy over its zones, and an instance of its group less", async () => {
  const labels = { "cloud.google.com/gke-nodepool": "pool-1" };
  for (const name of ["gke-a", "gke-b", "gke-c"])
    await node(name, `gce://proj/europe-west1-b/${name}`, labels);
  const of = ["--cluster", "prod", "--location", "europe-west1", "--project", "proj"];
  const tail = ["--quiet", "--format", "json"];
  const pool = {
    name: "pool-1",
    version: "1.33.1-gke.100",
    initialNodeCount: 1,
    locations: ["europe-west1-b", "europe-west1-c"],
    autoscaling: {},
    config: {
      machineType: "e2-standard-4",
      diskSizeGb: 100,
      diskType: "pd-balanced",
      imageType: "COS_CONTAINERD",
      serviceAccount: "default",
      oauthScopes: ["https://www.googleapis.com/auth/cloud-platform"],
      labels: { team: "a" },
      taints: [{ key: "k", value: "v", effect: "NO_EXECUTE" }],
    },
    status: "RUNNING",
  };
  const describe = { args: ["container", "node-pools", "describe", "pool-1", ...of, ...tail], stdout: pool };
  const gke = provider("gke", { cluster: "prod", location: "europe-west1", project: "proj" });
  programs.add("gcloud", [describe]);
  assert.equal(await gke.check(["gke-a"]), undefined);
  programs.add("gcloud", [{ ...describe, stdout: { ...pool, autoscaling: { enabled: true } } }]);
  assert.match((await gke.check(["gke-a"]))!, /--no-enable-autoscaling/);

  const create = [
    ...["container", "node-pools", "create", "pool-1-shunt", ...of],
    ...["--num-nodes", "2", "--machine-type", "e2-standard-4", "--node-version", "1.33.1-gke.100"],
    ...[
      "--node-locations",
      "europe-west1-b,europe-west1-c",
      "--disk-size",
      "100",
      "--disk-type",
      "pd-balanced",
    ],
    ...["--image-type", "COS_CONTAINERD", "--service-account", "default"],
    ...["--scopes", "https://www.googleapis.com/auth/cloud-platform"],
    ...["--node-labels", "team=a,shunt.dev/node-group=g"],
    ...["--node-taints", "k=v:NoExecute,node.shunt.dev/agent-not-ready=true:NoSchedule", "--async", ...tail],
  ];
  const old = ["gke-a", "gke-b", "gke-c"];
  programs.add("gcloud", [describe, { args: create, stdout: { name: "operation-1" } }]);
  await gke.addNodes({ group: "g", old, signal });
  const exists = {
    stderr: "ERROR: (gcloud.container.node-pools.create) ResponseError: code=409, message=Already exists",
    exitCode: 1,
  };
  programs.add("gcloud", [describe, { args: create, ...exists }]);
  await gke.addNodes({ group: "g", old, signal });

  const place = ["--zone", "europe-west1-b", "--project", "proj", ...tail];
  const by = "projects/1234/zones/europe-west1-b/instanceGroupManagers/gke-prod-pool-1-abcd-grp";
  programs.add("gcloud", [
    {
      args: ["compute", "instances", "describe", "gke-a", ...place],
      stdout: { name: "gke-a", metadata: { items: [{ key: "created-by", value: by }] } },
    },
    {
      args: [
        ...["compute", "instance-groups", "managed", "delete-instances", "gke-prod-pool-1-abcd-grp"],
        ...["--instances", "gke-a", "--skip-instances-on-validation-error", ...place],
      ],
      stdout: [],
    },
  ]);
  assert.match(await gke.removeNode({ group: "g", node: "gke-a", signal }), /one smaller/);

  const copy = {
    ...pool,
    name: "pool-1-shunt",
    config: { ...pool.config, labels: { "shunt.dev/node-group": "g" } },
  };
  programs.add("gcloud", [
    { args: ["container", "node-pools", "list", ...of, ...tail], stdout: [pool, copy] },
    { args: ["container", "node-pools", "delete", "pool-1-shunt", ...of, "--async", ...tail], stdout: {} },
  ]);
  assert.equal(await gke.removeGroup({ group: "g", signal }), "deletes pool-1-shunt");
});

test("aks: the cluster's initialization taint, a node pool's copy, and a machine less", async () => {
  const names = ["aks-nodepool1-1-vmss000000", "aks-nodepool1-1-vmss000001"];
  for (const name of names)
    await node(name, `azure:///subscriptions/s/x/${name}`, { "kubernetes.azure.com/agentpool": "nodepool1" });
  const group = ["--resource-group", "rg"];
  const of = [...group, "--cluster-name", "prod"];
  const tail = ["--output", "json"];
  const pool = {
    name: "nodepool1",
    vmSize: "Standard_D4s_v5",
    mode: "System",
    count: 2,
    osDiskSizeGb: 128,
    osDiskType: "Managed",
    osSku: "Ubuntu",
    maxPods: 110,
    orchestratorVersion: "1.33",
    vnetSubnetId: null,
    availabilityZones: ["1", "2"],
    enableAutoScaling: false,
    nodeLabels: { team: "a" },
    nodeTaints: null,
    nodeInitializationTaints: null,
  };
  const show = { args: ["aks", "nodepool", "show", ...of, "--name", "nodepool1", ...tail], stdout: pool };
  const extension = { args: ["extension", "show", "--name", "aks-preview", ...tail], stdout: {} };
  const aks = provider("aks", { cluster: "prod", "resource-group": "rg" });
  programs.add("az", [show, extension]);
  assert.equal(await aks.check(names), undefined);
  programs.add("az", [
    show,
    { ...extension, exitCode: 3, stderr: "ERROR: The extension aks-preview is not installed." },
  ]);
  assert.match((await aks.check(names))!, /az extension add/);

  const list = (...pools: object[]): RecordedCall => ({
    args: ["aks", "nodepool", "list", ...of, ...tail],
    stdout: pools,
  });
  const update = (taints: string): RecordedCall => ({
    args: [
      "aks",
      "update",
      ...group,
      "--name",
      "prod",
      "--nodepool-initialization-taints",
      taints,
      "--yes",
      ...tail,
    ],
    stdout: {},
  });
  const taint = "node.shunt.dev/agent-not-ready=true:NoSchedule";
  const add = (name: string): string[] => [
    ...[
      "aks",
      "nodepool",
      "add",
      ...of,
      "--name",
      name,
      "--node-count",
      "2",
      "--node-vm-size",
      "Standard_D4s_v5",
    ],
    ...[
      "--mode",
      "System",
      "--os-sku",
      "Ubuntu",
      "--node-osdisk-size",
      "128",
      "--node-osdisk-type",
      "Managed",
    ],
    ...["--max-pods", "110", "--kubernetes-version", "1.33", "--zones", "1", "2"],
    ...["--labels", "team=a", "shunt.dev/node-group=g", ...tail],
  ];
  programs.add("az", [list(pool), update(taint), show]);
  await assert.rejects(aks.addNodes({ group: "g", old: names, signal }), /unexpected call/);
  const made = programs.calls("az").at(-1)!;
  const name = made[made.indexOf("--name") + 1]!;
  assert.match(name, /^shunt[0-9a-f]{7}$/);
  assert.deepEqual(made, add(name));
  const copy = {
    ...pool,
    name,
    nodeLabels: { "shunt.dev/node-group": "g" },
    nodeInitializationTaints: ["other=x:NoSchedule", taint],
  };
  programs.add("az", [list(pool, copy), show]);
  await aks.addNodes({ group: "g", old: names, signal });
  assert.equal(programs.calls("az").length, 2);

  const end = ["aks", "nodepool", "delete-machines", ...of, "--name", "nodepool1"];
  programs.add("az", [{ args: [...end, "--machine-names", names[0]!, ...tail] }]);
  assert.match(await aks.removeNode({ group: "g", node: names[0]!, signal }), /one smaller/);

  programs.add("az", [
    list(pool, copy),
    { args: ["aks", "nodepool", "delete", ...of, "--name", name, ...tail] },
    update("other=x:NoSchedule"),
  ]);
  assert.equal(await aks.removeGroup({ group: "g", signal }), `deleted ${name}`);
  assert.equal(programs.calls("az").length, 3);
});

test("a missing program, answers of another shape, nodes of no group: said before anything is changed", async () => {
  await node("ip-1", "aws:///eu-west-1a/i-0aaa", { "eks.amazonaws.com/nodegroup": "workers" });
  await node("own", "", {});
  const eks = provider("eks", { cluster: "prod" });
  assert.match((await eks.check(["ip-1"]))!, /aws is not on this machine .*Install the AWS CLI/);
  assert.match((await eks.check(["own"]))!, /no label eks\.amazonaws\.com\/nodegroup/);
  const args = ["eks", "describe-nodegroup", "--cluster-name", "prod", "--nodegroup-name", "workers"];
  programs.add("aws", [{ args: [...args, "--output", "json"], stdout: { nodegroup: { nodegroupName: 7 } } }]);
  assert.match((await eks.check(["ip-1"]))!, /unexpected answer/);
  programs.add("aws", [{ args: [...args, "--output", "json"], ...notFound("AccessDeniedException") }]);
  assert.match((await eks.check(["ip-1"]))!, /AccessDeniedException/);
});
