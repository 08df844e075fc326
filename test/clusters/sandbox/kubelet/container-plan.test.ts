// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "./backoff.ts";
import { expand } from "./environment.ts";
import { hostsText } from "./hosts-file.ts";
import { pullPolicy, withTag } from "./images.ts";
import { podCgroup, qosClass, resolvePort } from "./pod.ts";
import { testPod } from "./pod-fixture.ts";
import { parseMilli, parseQuantity, parseWhole } from "./quantity.ts";
import { parseResolvConf, podDns } from "./resolv-conf.ts";
import { linuxResources } from "./resources.ts";
import { sandboxConfig } from "./sandbox-config.ts";
import { serviceEnvironment } from "./service-environment.ts";

const container = (resources: object) => ({ name: "main", image: "image:1", resources });
const node = { name: "n1", logsDir: "/logs", profilesDir: "/p", clusterDomain: "cluster.local" };

test("quantities", () => {
  assert.deepEqual(["1", "250m", "1Gi", "1e3", "0.5", "2k"].map(parseQuantity), [
    1,
    0.25,
    2 ** 30,
    1000,
    0.5,
    2000,
  ]);
  assert.deepEqual([parseMilli("0.1"), parseMilli("100m"), parseWhole("1500m")], [100, 100, 2]);
  for (const bad of ["", "x", "1Zi", "1 Gi", "--1"])
    assert.throws(() => parseQuantity(bad), /is not a quantity/);
});

test("quality of service and cgroup", () => {
  const equal = { cpu: "1", memory: "1Gi" };
  const qos = (resources: object) => qosClass(testPod({ containers: [container(resources)] }));
  assert.equal(qos({}), "BestEffort");
  assert.equal(qos({ limits: equal, requests: equal }), "Guaranteed");
  assert.equal(qos({ limits: equal }), "Guaranteed");
  assert.equal(qos({ requests: equal }), "Burstable");
  assert.equal(podCgroup(testPod()), "/kubepods/besteffort/poduid-1");
});

test("resources as the kernel takes them", () => {
  const spec = container({
    requests: { cpu: "250m", memory: "1Gi" },
    limits: { cpu: "500m", memory: "2Gi" },
  });
  assert.deepEqual(linuxResources(testPod({ containers: [spec] }), spec, 4 * 2 ** 30), {
    cpu_period: 100_000,
    cpu_quota: 50_000,
    cpu_shares: 256,
    memory_limit_in_bytes: 2 * 2 ** 30,
    oom_score_adj: 750,
  });
});

test("restarts wait longer and longer, and a quiet time forgives", () => {
  const backoff = new Backoff(10, 40);
  const waits: number[] = [];
  for (let round = 0; round < 4; round++) {
    backoff.next("a", 0);
    waits.push(backoff.remainingMs("a", 0, 0));
  }
  assert.deepEqual(waits, [10, 20, 40, 40]);
  assert.equal(backoff.remainingMs("a", 0, 100), 0);
  backoff.next("a", 100);
  assert.equal(backoff.delayMs("a"), 10);
});

test("references to variables", () => {
  const variables = new Map([["A", "1"]]);
  assert.equal(expand("$(A) $(B) $$(A) $A $", variables), "1 $(B) $(A) $A $");
});

test("Services as variables", () => {
  const service = (name: string, namespace: string, clusterIP: string) => ({
    metadata: { name, namespace },
    spec: { clusterIP, ports: [{ name: "https", port: 443, protocol: "TCP" }] },
  });
  const services = [
    service("kubernetes", "default", "10.96.0.1"),
    service("my-db", "shop", "fd00::1"),
    service("x", "other", "10.96.0.3"),
    service("headless", "shop", "None"),
  ];
  const variables = serviceEnvironment(services, "shop", true);
  assert.equal(variables.get("KUBERNETES_SERVICE_HOST"), "10.96.0.1");
  assert.equal(variables.get("KUBERNETES_SERVICE_PORT_HTTPS"), "443");
  assert.equal(variables.get("MY_DB_PORT"), "tcp://[fd00::1]:443");
  assert.equal(variables.has("X_SERVICE_HOST"), false);
  assert.equal(variables.has("HEADLESS_SERVICE_HOST"), false);
  assert.equal(serviceEnvironment(services, "shop", false).has("MY_DB_SERVICE_HOST"), false);
});

test("DNS by policy", () => {
  const host = parseResolvConf("# c\nnameserver 203.0.113.53\nsearch lan\noptions timeout:1\n");
  const cluster = { servers: ["10.96.0.10"], domain: "cluster.local" };
  const searches = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan"];
  assert.deepEqual(podDns(testPod(), host, cluster), {
    servers: cluster.servers,
    searches,
    options: ["ndots:5"],
  });
  assert.deepEqual(podDns(testPod({ hostNetwork: true }), host, cluster), host);
  assert.deepEqual(podDns(testPod({ dnsPolicy: "Default" }), host, cluster), host);
  const own = { nameservers: ["192.0.2.53"], options: [{ name: "ndots", value: "2" }] };
  assert.deepEqual(podDns(testPod({ dnsPolicy: "None", dnsConfig: own }), host, cluster), {
    servers: ["192.0.2.53"],
    searches: [],
    options: ["ndots:2"],
  });
  assert.deepEqual(podDns(testPod({ dnsConfig: own }), host, cluster).options, ["ndots:2"]);
});

test("the hosts file names the pod and its aliases", () => {
  const pod = testPod({ subdomain: "db", hostAliases: [{ ip: "192.0.2.7", hostnames: ["a", "b"] }] });
  const lines = hostsText(pod, ["10.0.0.1", "fd00::1"], "cluster.local").split("\n");
  assert.ok(lines.includes("10.0.0.1\tweb.db.shop.svc.cluster.local\tweb"));
  assert.ok(lines.includes("fd00::1\tweb.db.shop.svc.cluster.local\tweb"));
  assert.ok(lines.includes("192.0.2.7\ta\tb"));
});

test("images without a tag are the latest, which is looked for again each time", () => {
  assert.deepEqual(["a", "r:5000/a", "a:1", "a@sha256:0"].map(withTag), [
    "a:latest",
    "r:5000/a:latest",
    "a:1",
    "a@sha256:0",
  ]);
  assert.equal(pullPolicy({ image: "a" }), "Always");
  assert.equal(pullPolicy({ image: "a:1" }), "IfNotPresent");
});

test("ports by name", () => {
  const spec = { ports: [{ name: "http", containerPort: 80 }] };
  assert.deepEqual(
    [8080, "81", "http", "nope"].map((port) => resolvePort(spec, port)),
    [8080, 81, 80, undefined],
  );
});

test("what the runtime is told about a sandbox", () => {
  const ports = [{ containerPort: 80, hostPort: 8080, hostIP: "127.0.0.1" }, { containerPort: 81 }];
  const pod = testPod({
    containers: [{ name: "main", image: "image:1", ports }],
    shareProcessNamespace: true,
  });
  const config = sandboxConfig(pod, node, { servers: [], searches: [], options: [] }, 2);
  assert.deepEqual(config.port_mappings, [
    { protocol: "TCP", container_port: 80, host_port: 8080, host_ip: "127.0.0.1" },
  ]);
  assert.deepEqual(config.linux.security_context.namespace_options, {
    network: "POD",
    pid: "POD",
    ipc: "POD",
  });
  assert.equal(config.log_directory, "/logs/shop_web_uid-1");
  assert.deepEqual([config.hostname, config.metadata.attempt], ["web", 2]);
});

test("a pod in the host's network keeps the host's name and maps no port", () => {
  const ports = [{ containerPort: 80, hostPort: 80 }];
  const pod = testPod({ hostNetwork: true, containers: [{ name: "main", image: "image:1", ports }] });
  const config = sandboxConfig(pod, node, { servers: [], searches: [], options: [] }, 0);
  assert.deepEqual([config.hostname, config.port_mappings], ["", []]);
  assert.equal(config.linux.security_context.namespace_options.network, "NODE");
});
