// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { run } from "../../lib/run.ts";
import { parseConntrackLine } from "./conntrack.ts";
import { isTranslatedNow } from "./open-connections.ts";

test("open connections: TCP that the kernel rewrites in either direction, and that can still carry data", () => {
  const line = (state: string, back: string): string =>
    `tcp 6 99 ${state} src=172.30.0.2 dst=10.96.0.9 sport=5000 dport=80 ${back} [ASSURED] mark=0 use=1`;
  const rows: [string, boolean][] = [
    [line("ESTABLISHED", "src=10.244.1.3 dst=172.30.0.2 sport=8080 dport=5000"), true],
    [line("ESTABLISHED", "src=10.96.0.9 dst=10.244.0.0 sport=80 dport=61000"), true],
    [line("ESTABLISHED", "src=10.96.0.9 dst=172.30.0.2 sport=80 dport=5000"), false],
    [line("TIME_WAIT", "src=10.244.1.3 dst=172.30.0.2 sport=8080 dport=5000"), false],
    [
      "udp 17 29 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 src=3.3.3.3 dst=1.1.1.1 sport=2 dport=1 [ASSURED]",
      false,
    ],
  ];
  for (const [text, expected] of rows)
    assert.equal(isTranslatedNow(parseConntrackLine(text)!), expected, text);
});

const echo = `require("net").createServer((s) => s.on("data", (d) => s.write(d))).listen(8080)`;
/** Sends a byte at each line of its input, and prints a line for each byte that comes back. */
const client = `
const socket = require("net").connect(30000, "10.9.1.2");
socket.on("data", () => console.log("answered"));
socket.on("error", (error) => { console.log(error.code); process.exit(); });
process.stdin.on("data", () => socket.write("x"));`;

test("open connections: a held one is translated after the rules have gone, until it is let go", async () => {
  const name = (part: string): string => `sho${process.pid % 100_000}${part}`;
  const [a, router, c] = [name("a"), name("r"), name("c")];
  const ip = (...args: string[]) => run("ip", args);
  const onRouter = (...command: string[]) => run("nsenter", [`--net=/run/netns/${router}`, "--", ...command]);
  const start = (netns: string, script: string) =>
    spawn("nsenter", [`--net=/run/netns/${netns}`, "--", process.execPath, "-e", script]);
  const children: ReturnType<typeof start>[] = [];
  const root = mkdtempSync(join(tmpdir(), "shunt-open-connections-"));
  try {
    for (const netns of [a, router, c]) await ip("netns", "add", netns);
    for (const [end, number] of [
      [a, 1],
      [c, 2],
    ] as const) {
      await ip(
        "link",
        "add",
        "e0",
        "netns",
        end,
        "type",
        "veth",
        "peer",
        "name",
        `e${number}`,
        "netns",
        router,
      );
      await ip("-n", end, "addr", "add", `10.9.${number}.1/24`, "dev", "e0");
      await ip("-n", router, "addr", "add", `10.9.${number}.2/24`, "dev", `e${number}`);
      await ip("-n", end, "link", "set", "e0", "up");
      await ip("-n", router, "link", "set", `e${number}`, "up");
      await ip("-n", end, "route", "add", "default", "via", `10.9.${number}.2`);
    }
    await onRouter("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1");
    const routesLocalnet = async (): Promise<string> =>
      (await onRouter("cat", "/proc/sys/net/ipv4/conf/all/route_localnet")).stdout.trim();
    const rules = [
      "-A PREROUTING -p tcp --dport 30000 -j DNAT --to 10.9.2.1:8080",
      "-A POSTROUTING -j MASQUERADE",
    ];
    for (const rule of rules) await onRouter("iptables-nft", "-t", "nat", ...rule.split(" "));
    children.push(start(c, echo));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const socket = start(a, client);
    children.push(socket);
    const ask = async (): Promise<string> => {
      const answer = new Promise<string>((resolve) => {
        socket.stdout.once("data", (chunk) => resolve(String(chunk).trim()));
        setTimeout(() => resolve("nothing"), 5_000).unref();
      });
      socket.stdin.write("x");
      return await answer;
    };
    assert.equal(await ask(), "answered");
    // As on a node: in its network, whose connections are in /proc.
    const onNode = async (call: string): Promise<string> => {
      const modules = ["host", "open-connections"].map(
        (module) =>
          `import * as ${module.replace("-", "_")} from ${JSON.stringify(new URL(`${module}.ts`, import.meta.url))};`,
      );
      const script = `${modules.join("")} console.log(await open_connections.${call});`;
      return (await onRouter(process.execPath, "--input-type=module", "-e", script)).stdout.trim();
    };
    await onNode('holdConnections(new host.Host("/"))');
    await onNode('holdConnections(new host.Host("/"))');
    await onRouter("nft", "delete", "table", "ip", "nat");
    assert.equal(await ask(), "answered");
    assert.equal(await onNode('releaseConnections(new host.Host("/"), false)'), "1");
    assert.equal(await ask(), "answered");
    assert.equal(await routesLocalnet(), "1");
    const configuration = join(root, "etc/sysctl.d/90-mine.conf");
    mkdirSync(dirname(configuration), { recursive: true });
    writeFileSync(configuration, "# mine\nnet.ipv4.conf.all.route_localnet = 1\n");
    await onNode(`resetRouteLocalnet(new host.Host(${JSON.stringify(root)}))`);
    assert.equal(await routesLocalnet(), "1");
    rmSync(configuration);
    await onNode(`resetRouteLocalnet(new host.Host(${JSON.stringify(root)}))`);
    assert.equal(await routesLocalnet(), "0");
    await onNode('releaseConnections(new host.Host("/"), true)');
    assert.notEqual(await ask(), "answered");
    assert.equal((await onRouter("nft", "list", "tables")).stdout, "");
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(root, { recursive: true });
    for (const netns of [a, router, c]) await ip("netns", "del", netns).catch(() => undefined);
  }
});
