// SPDX-License-Identifier: Apache-2.0
// Real packets on loopback addresses: two probe servers, one sender, a name server that names one of them.
import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import * as dns from "dns-packet";
import { run } from "../../lib/run.ts";
import { waitFor } from "../../lib/wait.ts";
import { Peers } from "./peers.ts";
import { askDns } from "./requests.ts";
import { Sender, type SenderSettings } from "./sender.ts";
import { ProbeServer } from "./server.ts";
import { Tally } from "./tally.ts";

const podPorts = { http: 18_431, stream: 18_432, udp: 18_433 };
const resolver = dgram.createSocket("udp4");
resolver.on("message", (message, from) => {
  const query = dns.decode(message);
  const name = query.questions![0]!.name;
  const answer = dns.encode({
    ...{ type: "response", id: query.id!, questions: query.questions! },
    answers: [{ type: "A", name, ttl: 5, data: "127.0.0.3" }],
  });
  resolver.send(answer, from.port, from.address);
});
resolver.bind(0, "127.0.0.1");
await once(resolver, "listening");
after(() => resolver.close());

const settings = (dnsPort: number, role: "pod" | "host"): SenderSettings => ({
  role,
  clusterIPs: ["127.0.0.3"],
  ...{ nodePorts: podPorts, servicePorts: podPorts, podPorts },
  dnsServer: { address: "127.0.0.1", port: dnsPort },
  ...{ serviceName: "probe.test.", headlessName: "pods.probe.test." },
  totalRate: 200,
});

/** A sender that already counts, and the server of the pod that it sends to. */
async function startPair(
  t: { after(fn: () => unknown): void },
  role: "pod" | "host" = "pod",
  { isFirst = false, udpNodePort = podPorts.udp } = {},
) {
  const server = new ProbeServer({ node: "n2", uid: "b" }, {});
  const close = await server.listen(podPorts, "127.0.0.3");
  t.after(close);
  const now = () => performance.timeOrigin + performance.now();
  const tally = new Tally("n1", "a", now);
  const peers = new Peers("a", 6, () => sender.refresh());
  const host = {
    tally,
    now,
    isLeaving: (uid: string) => peers.isLeaving(uid),
    onBye: (uid: string) => peers.leave(uid),
  };
  const own = settings(resolver.address().port, role);
  own.nodePorts = { ...own.nodePorts, udp: udpNodePort };
  const sender = new Sender(own, peers, host, { name: "a", isFirst });
  t.after(() => sender.stop("stopped"));
  for (const [uid, ip] of [
    ["a", "127.0.0.2"],
    ["b", "127.0.0.3"],
  ] as const)
    peers.update(
      {
        metadata: { name: uid, uid },
        spec: { nodeName: uid === "a" ? "n1" : "n2" },
        status: { podIP: ip, hostIP: ip, conditions: [{ type: "Ready", status: "True" }] },
      },
      false,
    );
  sender.refresh();
  sender.start();
  const results = () => tally.results(false);
  const total = (key: "sent" | "lost" | "leaving") =>
    results().series.reduce((sum, series) => sum + series[key], 0);
  return { server, close, sender, peers, results, total };
}

const soon = { timeoutMs: 120_000, intervalMs: 50 };

test("every path is asked and answered, and streams stand", async (t) => {
  const { sender, results, total } = await startPair(t);
  await waitFor("300 requests", () => total("sent") > 300, soon);
  await sender.stop("stopped");
  const paths = results().series.map(({ kind, path }) => `${kind} ${path}`);
  assert.deepEqual(paths.sort(), [
    ...["dns cluster-ip", "dns headless"],
    ...["http cluster-ip", "http headless", "http node-port", "http pod"],
    ...["stream cluster-ip", "stream headless", "stream node-port", "stream pod"],
    ...["udp cluster-ip", "udp headless", "udp node-port", "udp pod"],
  ]);
  assert.equal(total("lost"), 0, JSON.stringify(results().losses));
  assert.deepEqual(
    results().streams.map(({ path, end }) => `${path} ${end}`),
    ["pod stopped", "headless stopped", "cluster-ip stopped", "node-port stopped"],
  );
});

test("in its node's own network a probe asks by Services alone, over streams that no move ends", async (t) => {
  const { sender, results, total } = await startPair(t, "host");
  await waitFor("200 requests", () => total("sent") > 200, soon);
  await sender.stop("stopped");
  const paths = results().series.map(({ kind, path }) => `${kind} ${path}`);
  assert.deepEqual(paths.sort(), [
    ...["http cluster-ip", "http node-port", "stream cluster-ip", "stream node-port"],
    ...["udp cluster-ip", "udp node-port"],
  ]);
  assert.equal(total("lost"), 0, JSON.stringify(results().losses));
  assert.deepEqual(
    results().streams.map(({ path, end }) => `${path} ${end}`),
    [...Array(2).fill("cluster-ip stopped"), ...Array(3).fill("node-port stopped")],
  );
});

test("a pod that says goodbye is asked no more, and nothing is lost by its going", async (t) => {
  const { server, close, results, total } = await startPair(t);
  await waitFor("100 requests", () => total("sent") > 100, soon);
  const toPod = () =>
    results()
      .series.filter(({ path }) => path === "pod")
      .reduce((sum, { sent }) => sum + sent, 0);
  server.leave();
  await waitFor("all streams to be moved", () => results().streams.every(({ end }) => end === "moved"), soon);
  const before = toPod();
  const sent = total("sent");
  await waitFor("100 more requests", () => total("sent") > sent + 100, soon);
  assert.equal(toPod(), before);
  assert.equal(total("lost"), 0, JSON.stringify(results().losses));
  close();
});

for (const saidGoodbye of [false, true])
  test(`what passes through a node that leaves ends in good order, whoever answers it${saidGoodbye ? ", also when its probe said so first" : ""}`, async (t) => {
    const { sender, peers, close, results, total } = await startPair(t);
    await waitFor("100 requests", () => total("sent") > 100, soon);
    if (saidGoodbye) peers.leave("b");
    sender.leaveNode(peers.leaveNode("n2"));
    await waitFor(
      "its streams to be moved",
      () => results().streams.every(({ path, end }) => path === "cluster-ip" || end === "moved"),
      soon,
    );
    const asked = () =>
      results().series.flatMap(({ path, to, sent }) => (to === "n2" ? [`${path} ${sent}`] : []));
    const before = asked();
    const sent = total("sent");
    await waitFor("50 more requests", () => total("sent") > sent + 50, soon);
    assert.deepEqual(asked(), before);
    assert.equal(total("lost"), 0, JSON.stringify(results().losses));
    close();
  });

test("a node that comes after the list of those that were there counts once it answers on every path", async (t) => {
  const pair = await startPair(t);
  await new Promise((resolve) => setTimeout(resolve, 5_100));
  await requireTrial(t, pair);
});

test("a node that comes after the first ones began to count, counts once it answers on every path", async (t) => {
  const pair = await startPair(t, "pod", { isFirst: true });
  await waitFor("the first request that counts", () => pair.total("sent") > 0, soon);
  await requireTrial(t, pair);
});

async function requireTrial(
  t: { after(fn: () => unknown): void },
  { peers, sender, results, total }: Awaited<ReturnType<typeof startPair>>,
): Promise<void> {
  const podOf = (uid: string, nodeName: string, ip: string) => ({
    metadata: { name: uid, uid },
    spec: { nodeName },
    status: { podIP: ip, hostIP: ip, conditions: [{ type: "Ready", status: "True" }] },
  });
  peers.update(podOf("c", "n3", "127.0.0.4"), false);
  sender.refresh();
  const toNew = () => results().series.filter(({ to }) => to === "n3");
  const sent = total("sent");
  await waitFor("200 more requests", () => total("sent") > sent + 200, soon);
  assert.deepEqual(toNew(), []);
  const close = await new ProbeServer({ node: "n3", uid: "c" }, {}).listen(podPorts, "127.0.0.4");
  t.after(close);
  const paths = () => new Set(toNew().map(({ kind, path }) => `${kind} ${path}`));
  await waitFor("every path to it", () => paths().size >= 4, soon);
  assert.equal(total("lost"), 0, JSON.stringify(results().losses));
  close();
  await waitFor("losses there", () => toNew().some(({ lost }) => lost > 0), soon);
}

test("a lookup that is not answered is tried again once, and is slow then, not lost", async (t) => {
  const server = dgram.createSocket("udp4");
  t.after(() => server.close());
  const ports: number[] = [];
  server.on("message", (message, from) => {
    ports.push(from.port);
    if (ports.length === 1) return;
    const { id, questions } = dns.decode(message);
    const answers = [{ type: "A", name: "x.test", ttl: 5, data: "127.0.0.9" }] as const;
    server.send(
      dns.encode({ type: "response", id, questions, answers: [...answers] }),
      from.port,
      from.address,
    );
  });
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  const target = { address: "127.0.0.1", port: server.address().port };
  assert.deepEqual(await askDns(target, "x.test", "A"), ["127.0.0.9"]);
  assert.equal(ports.length, 2);
  assert.notEqual(ports[0], ports[1]);
});

for (const role of ["pod", "host"] as const)
  test(`a datagram to a NodePort is sent ${role === "pod" ? "twice by a pod, which may be masqueraded" : "once by a node"}`, async (t) => {
    const relay = dgram.createSocket("udp4");
    t.after(() => relay.close());
    const seen = new Set<string>();
    relay.on("message", (message, from) => {
      const echo = message.toString();
      if (seen.has(echo))
        relay.send(JSON.stringify({ node: "n2", uid: "b", leaving: false, echo }), from.port, from.address);
      seen.add(echo);
    });
    relay.bind(0, "127.0.0.3");
    await once(relay, "listening");
    const { results } = await startPair(t, role, { udpNodePort: relay.address().port });
    const lost = () =>
      results()
        .series.filter(({ kind, path }) => kind === "udp" && path === "node-port")
        .reduce((sum, series) => sum + series.lost, 0);
    if (role === "host") await waitFor("a loss", () => lost() > 0, soon);
    else {
      await waitFor("second tries", () => seen.size > 20, soon);
      await new Promise((resolve) => setTimeout(resolve, 12_000));
      assert.equal(lost(), 0);
    }
  });

test("a pod that is gone without a word is a loss on every path, with a time, and breaks its streams", async (t) => {
  const { close, results, total } = await startPair(t);
  await waitFor("100 requests", () => total("sent") > 100, soon);
  const at = performance.timeOrigin + performance.now();
  close();
  await waitFor("losses of HTTP", () => results().losses.some(({ kind }) => kind === "http"), soon);
  await waitFor("losses of UDP", () => results().losses.some(({ kind }) => kind === "udp"), soon);
  assert.ok(results().losses.every(({ atMs }) => atMs > at - 1_000));
  assert.ok(total("lost") > 0 && total("leaving") === 0);
  assert.ok(results().streams.length >= 4 && results().streams.every(({ end }) => end === "broken"));
});

/** Asks a Service before its rules are there, then with them: as a client that forgets which ports it used, and as a probe. */
const early = `
const { execFileSync } = require("node:child_process");
const { createServer } = require("node:http");
const nft = (text) => execFileSync("nft", ["-f", "-"], { input: text });
(async () => {
  const { askHttp, SpoiledPorts } = await import(process.argv[1]);
  nft("table ip nat { chain output { type nat hook output priority -100; tcp dport 9 dnat to 10.7.0.1:8080; }; }");
  createServer((_, response) => response.end("{}")).listen(8080, "10.7.0.1");
  const target = { address: "10.96.0.9", port: 80 };
  const spoiled = new SpoiledPorts();
  const trials = await Promise.allSettled(Array.from({ length: 6 }, () => askHttp(target, spoiled, true)));
  nft("add rule ip nat output ip daddr 10.96.0.9 tcp dport 80 dnat to 10.7.0.1:8080");
  const lost = async (known) => {
    for (let count = 0; count < 40; count++)
      if (await askHttp(target, known, false).then(() => false, () => true)) return true;
    return false;
  };
  const early = trials.map(({ status }) => status);
  console.log(JSON.stringify({ early, probe: await lost(spoiled), other: await lost(new SpoiledPorts()) }));
  process.exit();
})();`;

test("a port from which a Service was asked before its rules were there is not used again", async () => {
  const netns = `shp${process.pid}`;
  const ip = (...args: string[]) => run("ip", args);
  await ip("netns", "add", netns);
  try {
    await ip("-n", netns, "link", "set", "lo", "up");
    await ip("-n", netns, "link", "add", "e0", "type", "veth", "peer", "name", "e1");
    for (const device of ["e0", "e1"]) await ip("-n", netns, "link", "set", device, "up");
    await ip("-n", netns, "addr", "add", "10.7.0.1/24", "dev", "e0");
    await ip("-n", netns, "route", "add", "default", "via", "10.7.0.2");
    const inside = ["netns", "exec", netns];
    await ip(...inside, "sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40031");
    const file = fileURLToPath(new URL("requests.ts", import.meta.url));
    const { stdout } = await run("ip", [...inside, process.execPath, "-e", early, file], {
      timeoutMs: 120_000,
    });
    const result = JSON.parse(stdout);
    assert.deepEqual(result, { early: Array(6).fill("rejected"), probe: false, other: true });
  } finally {
    await ip("netns", "del", netns);
  }
});
