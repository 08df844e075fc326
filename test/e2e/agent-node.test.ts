// SPDX-License-Identifier: Apache-2.0
// The agent alone on a node that is a network and mount namespace of its own: an API server with objects, pods
// that are bare network namespaces, and the CNI plugin called as a container runtime calls it.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { layoutVersion } from "../../agent/datapath-layout.ts";
import { customResourceDefinitions, policyDefinitions } from "../../installer/manifests.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { connectKube } from "../../lib/kube-connect.ts";
import { run } from "../../lib/run.ts";
import { waitFor } from "../../lib/wait.ts";
import { withOwnCgroup } from "../clusters/own-cgroup.ts";
import { startTestApiServer, type TestApiServer } from "../clusters/sandbox/apiserver/testing.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const inside = process.env.SHUNT_TEST_NODE === "1";

/** What makes a pair of fresh namespaces look like a node with an uplink to a "world". */
const nodeSetup = `
set -e
mount -t tmpfs tmpfs /run; mkdir -p /run/netns /run/cgroup; mount --bind /run/netns /run/netns; mount --make-shared /run/netns
mkdir -p /etc/cni /opt/cni; mount -t tmpfs tmpfs /etc/cni; mount -t tmpfs tmpfs /opt/cni
mount --bind "$SHUNT_TEST_CGROUP" /run/cgroup
mount -t sysfs sysfs /sys; mount -t bpf bpf /sys/fs/bpf
ip link set lo up; ip netns add world; ip link add eth0 type veth peer name eth0 netns world
ip addr add 172.31.0.2/24 dev eth0; ip addr add fd31::2/64 dev eth0 nodad; ip link set eth0 up
ip -n world link set lo up; ip -n world addr add 172.31.0.1/24 dev eth0; ip -n world addr add fd31::1/64 dev eth0 nodad
ip -n world addr add 192.0.2.10/32 dev lo; ip -n world link set eth0 up; ip route add default via 172.31.0.1
exec "$@"`;

describe("the agent alone on a node", () => {
  if (inside) return;
  test("serves pods, survives and goes without a trace", async () => {
    const args = ["-n", "-m", "--propagation", "private", "sh", "-c", nodeSetup, "sh"];
    const self = [process.execPath, "--test", "--test-reporter=spec", fileURLToPath(import.meta.url)];
    await withOwnCgroup("shunt-agent-test-", async (cgroup) => {
      const result = await run("unshare", [...args, ...self], {
        env: { SHUNT_TEST_NODE: "1", SHUNT_TEST_CGROUP: cgroup, NODE_TEST_CONTEXT: undefined },
        timeoutMs: 180_000,
        allowFailure: true,
      });
      assert.equal(result.exitCode, 0, result.stdout.slice(-6000) + result.stderr.slice(-2000));
      assert.match(result.stdout, /pass 9/);
    });
  });
});

if (inside)
  describe("on the node", () => {
    let server: TestApiServer;
    let kube: KubeClient;
    let agent: ChildProcess;

    const sh = async (script: string) => (await run("sh", ["-c", script], { allowFailure: true })).stdout;
    const startAgent = (kubeconfig = server.kubeconfig) => {
      const args = ["bin/agent.ts", "--config", "/run/config.yaml", "--kubeconfig", kubeconfig];
      agent = spawn(process.execPath, [...args, "--node-name", "n1", "--cgroup-root", "/run/cgroup"], {
        cwd: root,
        stdio: ["ignore", "ignore", "inherit"],
      });
    };
    const stopAgent = async (signal: NodeJS.Signals) => {
      const ended = new Promise((resolve) => agent.once("exit", resolve));
      agent.kill(signal);
      return await ended;
    };
    const status = async () => JSON.parse(await sh("curl -s --max-time 5 http://127.0.0.1:9879/status"));
    const whenReady = () =>
      waitFor("the agent to be ready", async () => (await status()).ready === true, { timeoutMs: 60_000 });
    const cni = async (command: string, container: string, netns: string, config: object = {}) => {
      const result = await run("/opt/cni/bin/shunt-cni", [], {
        env: {
          CNI_COMMAND: command,
          CNI_CONTAINERID: container,
          CNI_NETNS: `/var/run/netns/${netns}`,
          CNI_IFNAME: "eth0",
          CNI_PATH: "/opt/cni/bin",
          CNI_ARGS: `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${container}`,
        },
        input: JSON.stringify({ cniVersion: "1.0.0", name: "shunt", type: "shunt-cni", ...config }),
        allowFailure: true,
      });
      return {
        exitCode: result.exitCode,
        body: result.stdout === "" ? undefined : JSON.parse(result.stdout),
      };
    };
    const addPod = async (name: string) => {
      await run("ip", ["netns", "add", name]);
      const { exitCode, body } = await cni("ADD", name, name);
      assert.equal(exitCode, 0, JSON.stringify(body));
      return body.ips.map((ip: any) => ip.address.split("/")[0]) as string[];
    };
    const inPod = (pod: string, command: string) =>
      sh(`echo $$ > /run/cgroup/cgroup.procs; exec nsenter --net=/run/netns/${pod} ${command}`);

    before(async () => {
      server = await startTestApiServer({ serviceCidrs: ["10.96.0.0/16"] });
      kube = await connectKube({ kubeconfig: server.kubeconfig });
      for (const crd of [...customResourceDefinitions(), ...policyDefinitions()])
        await kube.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd);
      const podCIDRs = ["10.244.1.0/24", "fd10:244:0:1::/64"];
      const taints = [{ key: "node.shunt.dev/agent-not-ready", effect: "NoSchedule" }];
      const node = { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } };
      await kube.create("/api/v1/nodes", { ...node, spec: { podCIDR: podCIDRs[0], podCIDRs, taints } });
      const addresses = ["172.31.0.2", "fd31::2"].map((address) => ({ type: "InternalIP", address }));
      await kube.patch("/api/v1/nodes/n1/status", "merge", { status: { addresses } });
      writeFileSync(
        "/run/config.yaml",
        "clusterPodCIDRs: [10.244.0.0/16, 'fd10:244::/56']\nlogLevel: warn\n",
      );
      startAgent();
      await whenReady();
    });
    after(async () => {
      if (agent.exitCode === null && agent.signalCode === null) await stopAgent("SIGKILL");
      await server.stop();
    });

    test("two pods reach each other, the node and the world, over both families", async () => {
      const a = await addPod("a");
      const b = await addPod("b");
      assert.deepEqual(
        [a, b],
        [
          ["10.244.1.2", "fd10:244:0:1::2"],
          ["10.244.1.3", "fd10:244:0:1::3"],
        ],
      );
      for (const target of [...b, "10.244.1.1", "172.31.0.2", "192.0.2.10"])
        assert.match(await inPod("a", `ping -c1 -W5 ${target}`), / 0% packet loss/, target);
      assert.equal((await cni("CHECK", "a", "a")).exitCode, 0);
      const again = await cni("ADD", "a", "a");
      assert.equal(again.body.ips[0].address, "10.244.1.2/32");
      const { taints = [] } = (await kube.get("/api/v1/nodes/n1")).spec;
      assert.ok(taints.every((taint: any) => taint.key !== "node.shunt.dev/agent-not-ready"));
    });

    test("a Service answers on its cluster address and its node port", async () => {
      const ports = [{ name: "http", port: 80, targetPort: 8080, nodePort: 30080 }];
      const web = { apiVersion: "v1", kind: "Service", metadata: { name: "web" } };
      await kube.create("/api/v1/namespaces/default/services", {
        ...web,
        spec: { type: "NodePort", clusterIP: "10.96.0.77", ports },
      });
      await kube.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: "web-1", labels: { "kubernetes.io/service-name": "web" } },
        addressType: "IPv4",
        ports: [{ name: "http", port: 8080, protocol: "TCP" }],
        endpoints: [{ addresses: ["10.244.1.3"], nodeName: "n1", conditions: { ready: true } }],
      });
      writeFileSync("/run/index.html", "hello");
      const httpd = spawn("nsenter", [
        "--net=/run/netns/b",
        "/bin/busybox",
        "httpd",
        "-f",
        "-p",
        "8080",
        "-h",
        "/run",
      ]);
      try {
        await waitFor(
          "the Service to answer",
          async () => (await inPod("a", "curl -s --max-time 2 http://10.96.0.77/index.html")) === "hello",
          { timeoutMs: 10_000 },
        );
        const world =
          "nsenter --net=/run/netns/world curl -s --max-time 3 http://172.31.0.2:30080/index.html";
        assert.equal(await sh(world), "hello");
      } finally {
        httpd.kill();
      }
    });

    test("a pod that comes while the agent is dead waits, and nothing that runs is disturbed", async () => {
      const pings = inPod("a", "ping -i 0.01 -c 300 -q 10.244.1.3");
      await stopAgent("SIGKILL");
      const added = addPod("c");
      startAgent();
      assert.deepEqual(await added, ["10.244.1.4", "fd10:244:0:1::4"]);
      await whenReady();
      assert.match(await pings, / 0% packet loss/);
      assert.match(await inPod("c", "ping -c1 -W2 10.244.1.3"), / 0% packet loss/);
    });

    test("modes change without a restart", async () => {
      const set = (spec: object) => kube.patch("/apis/shunt.dev/v1alpha1/nodes/n1", "merge", { spec });
      await set({ services: "off", podNetwork: "standby" });
      await waitFor("services to be off", async () => (await status()).layers.services.mode === "off", {
        timeoutMs: 30_000,
      });
      await waitFor("nothing to be attached", () => readdirSync("/etc/cni/net.d").length === 0, {
        timeoutMs: 30_000,
      });
      const attached = () =>
        readdirSync(`/sys/fs/bpf/shunt/${layoutVersion}/links`).filter((name) => name.startsWith("cgroup"));
      await waitFor("the sockets to be free", () => attached().length === 0, { timeoutMs: 30_000 });
      await set({ services: "on", podNetwork: "active" });
      await waitFor("services to be on", () => attached().length === 8, { timeoutMs: 30_000 });
      await waitFor("the CNI configuration", () => readdirSync("/etc/cni/net.d").length === 1, {
        timeoutMs: 30_000,
      });
      // A handover loads the programs anew: what Services do next must reach the maps that these use.
      await set({ services: "handover" });
      await waitFor("the handover", async () => (await status()).layers.services.mode === "handover", {
        timeoutMs: 30_000,
      });
      const { frontends } = (await status()).layers.services;
      await kube.create("/api/v1/namespaces/default/services", {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "later" },
        spec: { clusterIP: "10.96.0.78", ports: [{ port: 80 }] },
      });
      await waitFor(
        "the new Service in the maps",
        async () => (await status()).ready === true && (await status()).layers.services.frontends > frontends,
        { timeoutMs: 30_000 },
      );
    });

    test("policies stay in force with an agent that starts while there is no API server", async () => {
      const pods = "/api/v1/namespaces/default/pods";
      const policies = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
      await kube.create("/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "default" } });
      const addresses: Record<string, string[]> = {};
      for (const { podName, addresses: own } of (await status()).endpoints) addresses[podName] = own;
      for (const name of ["a", "b"]) {
        await kube.create(pods, {
          metadata: { name, labels: { app: name } },
          spec: { nodeName: "n1", containers: [{ name: "c", image: "i" }] },
        });
        const podIPs = addresses[name]!.map((ip) => ({ ip }));
        await kube.patch(`${pods}/${name}/status`, "merge", { status: { phase: "Running", podIPs } });
      }
      await kube.create(policies, {
        ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "p" } },
        spec: { podSelector: { matchLabels: { app: "b" } }, policyTypes: ["Ingress"] },
      });
      const reaches = async (from: string, to: string): Promise<boolean[]> =>
        await Promise.all(
          addresses[to]!.map(async (one) => / 0% packet loss/.test(await inPod(from, `ping -c1 -W1 ${one}`))),
        );
      const isolated = [
        [false, false],
        [true, true],
      ];
      const found = async () => [await reaches("a", "b"), await reaches("b", "a")];
      await kube.patch("/apis/shunt.dev/v1alpha1/nodes/n1", "merge", { spec: { policy: "enforce" } });
      await waitFor("the policy", async () => JSON.stringify(await found()) === JSON.stringify(isolated), {
        timeoutMs: 20_000,
      });
      await stopAgent("SIGKILL");
      const nobody = "/run/no-api-server.kubeconfig";
      writeFileSync(
        nobody,
        readFileSync(server.kubeconfig, "utf8").replace(/server: .*/, "server: https://127.0.0.1:1"),
      );
      startAgent(nobody);
      await waitFor("the agent to answer", async () => (await status()).ready === false, {
        timeoutMs: 20_000,
      });
      for (let looks = 0; looks < 3; looks++) assert.deepEqual(await found(), isolated);
      await stopAgent("SIGTERM");
      startAgent();
      await whenReady();
      assert.deepEqual(await found(), isolated);

      // An agent with another layout of maps: its programs take over when they know everything, and not before.
      await stopAgent("SIGKILL");
      const pins = "/sys/fs/bpf/shunt";
      renameSync(`${pins}/${layoutVersion}`, `${pins}/v0`);
      const watched = Promise.all(
        [
          ["a", addresses.b![0]!],
          ["b", addresses.a![0]!],
          ["a", addresses.b![1]!],
          ["b", addresses.a![1]!],
        ].map(async ([from, to]) => {
          const told = await inPod(from!, `ping -i 0.01 -w 8 -q ${to} || true`);
          return /(\d+) packets transmitted, (\d+) received/.exec(told)!.slice(1).map(Number);
        }),
      );
      startAgent();
      await whenReady();
      await waitFor("the older programs to go", async () => !existsSync(`${pins}/v0`), { timeoutMs: 20_000 });
      for (const [index, [sent, received]] of (await watched).entries())
        if (index % 2 === 0) assert.equal(received, 0, "what is denied");
        else assert.ok(sent! > 200 && sent! - received! <= 1, `allowed: ${received} of ${sent}`);
      assert.deepEqual(await found(), isolated);
      await kube.delete(`${policies}/p`);
      await waitFor("the policy to go", async () => (await found()).flat().every(Boolean), {
        timeoutMs: 20_000,
      });
      await kube.patch("/apis/shunt.dev/v1alpha1/nodes/n1", "merge", { spec: { policy: null } });
      await waitFor("policies to be off", async () => (await status()).layers.policy.mode === "off", {
        timeoutMs: 20_000,
      });
      for (const name of ["a", "b"]) await kube.delete(`${pods}/${name}`);
    });

    test("pods that come and go, crash or vanish leave nothing", async () => {
      const pods = Array.from({ length: 24 }, (_, index) => `churn${index}`);
      await Promise.all(
        pods.map(async (pod, index) => {
          await addPod(pod);
          if (index % 3 !== 0) assert.equal((await cni("DEL", pod, pod)).exitCode, 0);
          await run("ip", ["netns", "delete", pod]);
        }),
      );
      assert.equal((await cni("DEL", "churn1", "gone")).exitCode, 0);
      const valid = ["a", "b", "c"].map((containerID) => ({ containerID, ifname: "eth0" }));
      const gc = await cni("GC", "", "", { cniVersion: "1.1.0", "cni.dev/valid-attachments": valid });
      assert.equal(gc.exitCode, 0, JSON.stringify(gc.body));
      const { endpoints, pools } = await status();
      assert.equal(endpoints.length, 3);
      assert.deepEqual(
        pools.map((pool: any) => pool.taken),
        [3, 3],
      );
      assert.equal((await sh("ip -o link | grep -c shv")).trim(), "3");
    });

    test("a pod gets no address that a pod of another network has", async () => {
      const [last] = await addPod("before");
      const next = `10.244.1.${Number(last!.split(".").at(-1)) + 1}`;
      await sh(`ip netns add other; ip -n other addr add ${next}/24 dev lo`);
      const [address] = await addPod("after");
      assert.equal(address, `10.244.1.${Number(last!.split(".").at(-1)) + 2}`);
      for (const name of ["before", "after"]) assert.equal((await cni("DEL", name, name)).exitCode, 0);
      await sh("for name in before after other; do ip netns del $name; done");
    });

    test("cleanup takes everything away", async () => {
      assert.equal(await stopAgent("SIGTERM"), 0);
      const clean = await run(process.execPath, ["bin/agent.ts", "--cleanup"], { cwd: root });
      assert.match(clean.stdout, /removed device shunt_vxlan/);
      assert.equal(
        await sh("ip -o link | grep -E 'shv|shunt'; ip route show proto 83; ip -6 route show proto 83"),
        "",
      );
      assert.equal(await sh("find /sys/fs/bpf/shunt /run/shunt /etc/cni/net.d /opt/cni/bin -mindepth 1"), "");
      const again = await run(process.execPath, ["bin/agent.ts", "--cleanup"], { cwd: root });
      assert.equal(again.stdout, "nothing to remove\n");
    });

    test("with direct routing pods work, and masquerading of what the node sends itself is not led astray", async () => {
      writeFileSync(
        "/run/config.yaml",
        "clusterPodCIDRs: [10.244.0.0/16]\nrouting: direct\nlogLevel: warn\n",
      );
      const sourceOfOwnTraffic = async () => {
        const source = "bash -c 'echo x > /dev/udp/172.31.0.2/9999'; nft -j list chain ip seen input";
        const { nftables } = JSON.parse(
          await sh(`nft flush chain ip seen input
          nft add rule ip seen input udp dport 9999 ip saddr 172.31.0.2 counter; ${source}`),
        );
        return nftables.flatMap(({ rule }: any) => rule?.expr ?? []).find(({ counter }: any) => counter)
          .counter.packets;
      };
      await sh(`nft -f - <<'END'
        table ip seen {
          chain postrouting { type nat hook postrouting priority 100; udp dport 9999 masquerade; }
          chain input { type filter hook input priority 0; }
        }
END`);
      assert.equal(await sourceOfOwnTraffic(), 1);
      startAgent();
      await whenReady();
      const [address] = await addPod("d");
      for (const target of ["10.244.1.1", "172.31.0.2", "192.0.2.10"])
        assert.match(await inPod("d", `ping -c1 -W5 ${target}`), / 0% packet loss/, target);
      assert.match(await sh(`ping -c1 -W5 ${address}`), / 0% packet loss/);
      assert.match(await sh("ip -o address show dev lo"), / 10\.244\.1\.1\/32 /);
      assert.equal(await sourceOfOwnTraffic(), 1);
      assert.equal(await stopAgent("SIGTERM"), 0);
      await run(process.execPath, ["bin/agent.ts", "--cleanup"], { cwd: root });
      assert.doesNotMatch(await sh("ip -o address show dev lo"), /10\.244/);
    });
  });
