// SPDX-License-Identifier: Apache-2.0
// What old networks and kube-proxy leave is found, removed and put back, with the real programs in a network
// namespace of its own; files are below a folder of its own.
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Writable } from "node:stream";
import { afterEach, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "../../lib/run.ts";
import { main } from "../../migrate/node-task/main.ts";
import {
  foreignRules,
  kubeProxyNft,
  kubeProxyRules,
  type NetworkFixture,
  networkFixtures,
} from "../../migrate/node-task/node-network-fixture.ts";
import { readTaskDocument, splitArgs } from "../../migrate/node-task/task-document.ts";

const inside = process.env.SHUNT_TEST_NODE_TASK === "1";
const podCIDRs = ["10.244.0.0/16"];
let root = "";

describe("node tasks", () => {
  if (inside) return;
  test("find, remove and put back in a network namespace", async () => {
    const self = [process.execPath, "--test", "--test-reporter=spec", fileURLToPath(import.meta.url)];
    const result = await run("unshare", ["--net", ...self], {
      env: { SHUNT_TEST_NODE_TASK: "1", NODE_TEST_CONTEXT: undefined },
      timeoutMs: 600_000,
      allowFailure: true,
    });
    assert.equal(result.exitCode, 0, result.stdout.slice(-8000) + result.stderr.slice(-2000));
    assert.match(result.stdout, /pass 15/);
  });
});

const command = async (file: string, args: string[], input = "") => (await run(file, args, { input })).stdout;
const shell = (script: string) => command("sh", ["-euc", script]);

/** Leaves nothing of the test before, but that the kernel knows legacy tables from the first use on. */
const freshNetwork = `nft flush ruleset
for table in $(cat /proc/net/ip_tables_names); do iptables-legacy -t $table -F; iptables-legacy -t $table -X; done
for table in $(cat /proc/net/ip6_tables_names); do ip6tables-legacy -t $table -F; ip6tables-legacy -t $table -X; done
ipset destroy; for device in $(ls /proc/sys/net/ipv4/conf); do case $device in all|default|lo) ;; *) ip link del $device 2>/dev/null || true;; esac; done
ip route flush table main 2>/dev/null || true; ip address flush dev lo scope global
ip link set lo up; ip link add eth0 type veth peer name other
ip link set eth0 up; ip link set other up; ip address add 172.30.0.3/24 dev eth0`;

async function makeNode(): Promise<void> {
  root = mkdtempSync(path.join(tmpdir(), "shunt-node-task-"));
  await shell(freshNetwork);
}

/** Runs a task as its pod would, and returns its result. */
async function task(kind: string, args: object = {}): Promise<any> {
  const environment = Object.fromEntries(splitArgs(args as any).map(({ name, value }) => [name, value]));
  let log = "";
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      log += chunk;
      done();
    },
  });
  await main({ env: { ...environment, NODE_NAME: "n1" }, stdout }, [kind, `--root=${root}`]);
  return readTaskDocument(log, kind);
}

function files(folder = root): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((file) => `${path.relative(root, file)} ${statSync(file).mode.toString(8)} ${readFileSync(file)}`)
    .toSorted();
}

function writeFiles(contents: Record<string, string>): void {
  for (const [file, text] of Object.entries(contents)) {
    mkdirSync(path.join(root, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  }
}

/** All that a node's network consists of, without counters and times. */
async function snapshot(backend: "legacy" | "nft"): Promise<object> {
  const withoutNoise = (text: string) =>
    text
      .split("\n")
      .filter((line) => !line.startsWith("#"))
      .join("\n")
      .replaceAll(/\[\d+:\d+\]/g, "");
  const links = JSON.parse(await command("ip", ["-json", "-details", "address", "show"])) as any[];
  return {
    rules: withoutNoise(await command(`iptables-${backend}-save`, [])),
    nft: await command("nft", ["--stateless", "list", "ruleset"]),
    links: links.map(({ ifname, mtu, address, flags, addr_info, linkinfo }) => ({
      ifname,
      mtu,
      address,
      isUp: flags.includes("UP"),
      addresses: addr_info
        .filter(({ scope }: any) => scope !== "link")
        .map(({ local, prefixlen }: any) => `${local}/${prefixlen}`),
      kind: linkinfo?.info_kind,
      vxlan: linkinfo?.info_data?.port,
    })),
    routes: (await command("ip", ["route"]))
      .split("\n")
      .map((line) => line.replaceAll(/ linkdown|\s+$/g, ""))
      .toSorted(),
    files: files(),
  };
}

async function addNetwork(fixture: NetworkFixture, backend: string): Promise<void> {
  await shell(fixture.devices);
  if (fixture.kind === "calico") await command("ipset", ["create", "cali40all-ipam-pools", "hash:net"]);
  await command(`iptables-${backend}-restore`, ["--noflush"], fixture.rules);
  if (fixture.nft !== "") await command("nft", ["-f", "-"], fixture.nft);
  writeFiles(fixture.files);
}

if (inside)
  describe("on the node", () => {
    beforeEach(makeNode);
    afterEach(() => rmSync(root, { recursive: true, force: true }));

    test("facts are gathered without a change: no legacy tables are made by looking", async () => {
      await command("iptables-nft-restore", ["--noflush"], kubeProxyRules);
      writeFiles(networkFixtures[0]!.files);
      const before = await snapshot("nft");
      const facts = await task("facts");
      assert.deepEqual(facts.cniFiles, ["10-flannel.conflist"]);
      assert.ok(facts.devices.some(({ name, kind }: any) => name === "eth0" && kind === "veth"));
      assert.deepEqual(facts.iptables["iptables-nft nat"]?.chains, 11);
      assert.equal(facts.sysctls["net.ipv4.ip_forward"], "0");
      assert.equal(typeof facts.kernelFeatures.btf, "boolean");
      assert.equal(await shell("cat /proc/net/ip_tables_names"), "");
      assert.deepEqual(await snapshot("nft"), before);
    });

    for (const backend of ["legacy", "nft"] as const)
      for (const fixture of networkFixtures)
        test(`${fixture.kind} with iptables-${backend}: found, removed, put back; nothing else changes`, async () => {
          const network = { kind: fixture.kind, podCIDRs };
          await command(`iptables-${backend}-restore`, ["--noflush"], foreignRules);
          await shell("ip link add docker0 type bridge; ip route add 192.168.7.0/24 via 172.30.0.9");
          writeFiles({
            "/etc/cni/net.d/05-shunt.conflist": JSON.stringify({
              name: "shunt",
              plugins: [{ type: "shunt-cni" }],
            }),
            "/etc/cni/net.d/99-loopback.conf": JSON.stringify({ name: "lo", type: "loopback" }),
            "/opt/cni/bin/portmap": "binary",
            "/var/lib/cni/networks/podman/10.88.0.5": "id",
          });
          const without = await snapshot(backend);
          assert.deepEqual((await task("residue", { network })).items, []);
          assert.deepEqual(
            (await task("remove-network", { network })).removed,
            [],
            "nothing there: nothing removed",
          );
          assert.deepEqual(await snapshot(backend), without);

          await addNetwork(fixture, backend);
          const withIt = await snapshot(backend);
          const { items } = await task("residue", { network });
          assert.ok(items.every((item: any) => item.node === "n1" && item.owner === fixture.kind));
          for (const kind of ["rule", "chain", "route", "file"])
            assert.ok(
              items.some((item: any) => item.kind === kind),
              `no ${kind} among ${JSON.stringify(items)}`,
            );
          assert.deepEqual(await snapshot(backend), withIt, "looking changes nothing");

          const { saved } = await task("save-network", { network });
          const { removed } = await task("remove-network", { network });
          assert.equal(removed.length, items.length);
          assert.deepEqual(await snapshot(backend), without);
          assert.deepEqual((await task("remove-network", { network })).removed, [], "again: nothing to do");

          const { restored } = await task("restore-network", { saved });
          assert.ok(restored.length > 0);
          assert.deepEqual(await snapshot(backend), withIt);
          assert.deepEqual((await task("restore-network", { saved })).restored, [], "again: nothing to do");
        });

    for (const backend of ["legacy", "nft"] as const)
      test(`kube-proxy's rules in iptables-${backend} and nftables go, the kubelet's and Docker's stay`, async () => {
        await command(`iptables-${backend}-restore`, ["--noflush"], foreignRules);
        await command(
          "nft",
          ["-f", "-"],
          "table inet mine { chain c { type filter hook input priority 0; accept; }; }",
        );
        const without = await snapshot(backend);
        await command(`iptables-${backend}-restore`, ["--noflush"], kubeProxyRules);
        await command(
          `ip6tables-${backend}-restore`,
          ["--noflush"],
          "*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n",
        );
        await command("nft", ["-f", "-"], kubeProxyNft);
        const { items } = await task("residue", { kubeProxy: {} });
        const names = items.map(({ kind, name }: any) => `${kind} ${name}`);
        for (const name of [
          `chain iptables-${backend} nat KUBE-SEP-IT2ZTR26TO4XFPTO`,
          `chain ip6tables-${backend} nat KUBE-SERVICES`,
          "table nft ip6 kube-proxy",
        ])
          assert.ok(names.includes(name), `${name} is not among ${names.join("\n")}`);
        assert.ok(
          !names.some(
            (name: string) => /KUBE-FIREWALL|CANARY$|HINT/.test(name) && !/PROXY-CANARY/.test(name),
          ),
        );
        await task("remove-kube-proxy-rules", { mode: "iptables" });
        assert.deepEqual(await snapshot(backend), without);
        assert.deepEqual((await task("remove-kube-proxy-rules", { mode: "iptables" })).removed, []);
      });

    test("on a node where nobody else has rules, nothing at all is left of the nft backend", async () => {
      await command("iptables-nft-restore", ["--noflush"], kubeProxyRules);
      await task("remove-kube-proxy-rules", { mode: "iptables" });
      assert.equal((await command("nft", ["list", "ruleset"])).trim(), "");
    });

    test("a network that pods still use is not removed", async () => {
      const fixture = networkFixtures.find(({ kind }) => kind === "flannel")!;
      await command("iptables-nft-restore", ["--noflush"], foreignRules);
      await addNetwork(fixture, "nft");
      await shell("ip link add veth12345678 master cni0 type veth peer name pod");
      const before = await snapshot("nft");
      await assert.rejects(
        task("remove-network", { network: { kind: "flannel", podCIDRs } }),
        /Pods still use the network of flannel: veth12345678 on cni0/,
      );
      assert.deepEqual(await snapshot("nft"), before);
    });

    test("the uplink that a configuration names is never taken for the network's own device", async () => {
      await task("remove-network", { network: { kind: "flannel", podCIDRs, device: "eth0" } });
      assert.match(await command("ip", ["link", "show", "eth0"]), /eth0/);
    });

    test("connections that DNAT translates are counted, others not", async () => {
      const args = { serviceCIDRs: ["10.96.0.0/16"], nodePortRange: "30000-32767" };
      assert.deepEqual(await task("translated-connections", args), { connections: 0 });
      await shell(`ip address add 10.244.1.2/32 dev lo; ip route add 10.96.0.0/16 dev lo
    iptables-nft -t nat -A OUTPUT -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination 10.244.1.2:8080`);
      const server = `require("net").createServer((s) => s.resume()).listen(8080, "0.0.0.0", () => {
    for (const [host, port] of [["10.96.0.10", 80], ["10.96.0.10", 80], ["10.244.1.2", 8080]])
      require("net").connect(port, host, () => console.log("connected")).on("error", console.log);
  })`;
      const script = `${process.execPath} -e '${server}' > ${root}/out 2>&1 & echo $! > ${root}/pid`;
      await shell(script);
      const pid = Number(readFileSync(path.join(root, "pid"), "utf8"));
      try {
        const { waitFor } = await import("../../lib/wait.ts");
        const isConnected = () => readFileSync(path.join(root, "out"), "utf8").split("connected").length > 3;
        await waitFor("three connections", () => existsSync(path.join(root, "out")) && isConnected(), {
          timeoutMs: 10_000,
        });
        assert.deepEqual(await task("translated-connections", args), { connections: 2 });
      } finally {
        process.kill(pid, "SIGKILL");
      }
    });
  });
