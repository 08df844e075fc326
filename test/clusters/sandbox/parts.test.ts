// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { it } from "node:test";
import { parse } from "yaml";
import { kubeProxyConfiguration } from "./kube-proxy-manifests.ts";
import {
  etcdFlags,
  findAssets,
  kubeletConfiguration,
  nodeServices,
  realApiserverFlags,
  realControllerManagerFlags,
  realKubeletFlags,
} from "./parts.ts";
import { planCluster } from "./plan.ts";

const plan = planCluster({ name: "demo", env: {}, workers: 1, ipFamily: "dual" }, "/tmp/kubeconfig");
const [control, worker] = plan.nodes as [(typeof plan.nodes)[0], (typeof plan.nodes)[0]];

function assets(...names: string[]) {
  const dir = mkdtempSync(path.join(tmpdir(), "assets-"));
  for (const name of names) {
    writeFileSync(path.join(dir, name), "");
    chmodSync(path.join(dir, name), 0o755);
  }
  const found = findAssets(dir);
  rmSync(dir, { recursive: true });
  return found?.parts;
}

it("uses the real parts that are there; an API server only with its etcd", () => {
  assert.equal(findAssets(undefined), undefined);
  assert.equal(assets(), undefined);
  assert.deepEqual(assets("kubelet", "kube-apiserver"), ["kubelet"]);
  assert.deepEqual(assets("etcd", "kube-apiserver", "kubectl"), ["etcd", "kube-apiserver"]);
});

it("runs our own part where there is no real one", () => {
  const own = nodeServices(plan, control);
  assert.deepEqual(Object.keys(own).sort(), [
    ...["containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"],
  ]);
  assert.match(own["kube-apiserver"]!, /sandbox-part\.ts apiserver /);
  const real = nodeServices({ ...plan, assets: { dir: "/a", parts: ["etcd", "kube-apiserver"] } }, control);
  assert.match(real["kube-apiserver"]!, /exec \/opt\/kubernetes\/kube-apiserver /);
  assert.match(real.etcd!, /exec \/opt\/kubernetes\/etcd /);
  assert.match(real.kubelet!, /sandbox-part\.ts kubelet /);
  assert.deepEqual(Object.keys(nodeServices(plan, worker)).sort(), ["containerd", "kubelet"]);
});

it("starts a real API server with TLS, RBAC and etcd, and with no flag of ours", () => {
  const flags = realApiserverFlags(plan);
  for (const flag of [
    "--authorization-mode=Node,RBAC",
    "--allow-privileged=true",
    "--client-ca-file=/etc/kubernetes/pki/ca.crt",
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    "--service-cluster-ip-range=10.96.0.0/16,fd10:96::/112",
    "--etcd-servers=https://127.0.0.1:2379",
  ])
    assert.ok(flags.includes(flag), flag);
  assert.equal(flags.filter((flag) => flag.startsWith("--data-dir")).length, 0);
  const names = flags.map((flag) => flag.split("=")[0]);
  assert.equal(new Set(names).size, names.length, "no flag twice");
  assert.ok(etcdFlags().includes("--client-cert-auth=true"));
});

it("gives both families' ranges their own node mask", () => {
  const flags = realControllerManagerFlags(plan);
  assert.ok(flags.includes("--node-cidr-mask-size-ipv4=24"));
  assert.ok(flags.includes("--node-cidr-mask-size-ipv6=64"));
  const four = realControllerManagerFlags(planCluster({ name: "demo", env: {} }, "/k"));
  assert.ok(four.includes("--node-cidr-mask-size=24"));
});

it("configures a real kubelet for a machine with version 1 cgroups", () => {
  const config = parse(kubeletConfiguration(plan, control));
  assert.equal(config.failCgroupV1, false);
  assert.equal(config.cgroupDriver, "cgroupfs");
  assert.deepEqual(config.clusterDNS, ["10.96.0.10"]);
  assert.equal(config.registerWithTaints[0].effect, "NoSchedule");
  assert.equal(parse(kubeletConfiguration(plan, worker)).registerWithTaints, undefined);
  assert.equal(
    realKubeletFlags(plan, worker).some((flag) => flag.includes("node-role.kubernetes.io")),
    false,
    "NodeRestriction refuses it",
  );
});

it("leaves out what a kubelet of 1.30 does not know", () => {
  const old = { ...plan, assets: { dir: "/k", parts: ["kubelet"], kubeletMinor: 30 } };
  assert.equal("failCgroupV1" in parse(kubeletConfiguration(old, control)), false);
});

it("has kube-proxy write no conntrack setting of the machine", () => {
  const { conntrack } = kubeProxyConfiguration(plan) as { conntrack: Record<string, unknown> };
  for (const value of Object.values(conntrack)) assert.ok(value === 0 || value === "0s");
});
