// SPDX-License-Identifier: Apache-2.0
// Real packets through the real programs: pods, nodes, services and the outside in namespaces.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { run } from "../lib/run.ts";
import { waitFor } from "../lib/wait.ts";
import { DatapathLab } from "./datapath-lab.ts";
import { counter, counterIndex, directions, maps, reasons, serviceFlags } from "./datapath-layout.ts";

/** Answers HTTP and UDP with the address that it sees, and the name that it was given. */
const server = `
const name = process.argv[1];
const http = require("node:http").createServer((q, r) => r.end(name + " " + q.socket.remoteAddress));
http.listen(8080, "::");
const udp = require("node:dgram").createSocket("udp6", (m, from) => udp.send(name + " " + from.address, from.port, from.address));
udp.bind(8080, "::");
`;
/** Sends one datagram and prints the answer and the address that it came from. */
const udpClient = `
const [host, port] = process.argv.slice(1);
const socket = require("node:dgram").createSocket(host.includes(":") ? "udp6" : "udp4");
socket.on("message", (m, from) => { console.log(m + " from " + from.address); socket.close(); });
socket.send("x", Number(port), host);
setTimeout(() => process.exit(1), 3000).unref();
`;

for (const routing of ["vxlan", "direct"] as const)
  describe(`real packets, routing ${routing}`, () => {
    const lab = new DatapathLab(`sl${routing[0]}${process.pid % 100000}`);
    const servers: ChildProcess[] = [];

    before(async () => {
      await lab.open({ name: lab.name, routing });
      for (const part of ["n1p2", "n2p1", "ext", "n1"]) {
        const words = [`--net=${lab.netns(part)}`, process.execPath, "-e", server, part];
        servers.push(spawn("nsenter", words, { stdio: "ignore" }));
      }
      const [tcp, udp] = [6, 17];
      for (const [id, protocol] of [
        [10, tcp],
        [20, udp],
      ] as const) {
        const add = (offset: number, address: string, port: number, backends: string[]) =>
          lab.addService({ id: id + offset, address, port, protocol, backends });
        add(1, "10.96.0.10", 80, ["10.244.2.11"]);
        add(2, "fd10:96::10", 80, ["fd10:244:0:2::11"]);
        add(3, "0.0.0.0", 30080, ["10.244.1.12"]);
        add(4, "0.0.0.0", 30081, ["10.244.2.11"]);
        add(5, "::", 30081, ["fd10:244:0:2::11"]);
        add(6, "10.96.0.11", 80, []);
        add(7, "0.0.0.0", 30082, ["172.31.0.2"]);
      }
      lab.addService({
        ...{ id: 30, address: "0.0.0.0", port: 8099, protocol: tcp, backends: ["10.244.1.12"] },
        flags: serviceFlags.SERVICE_HOST_PORT,
      });
      for (const part of ["n1p2", "n2p1", "ext", "n1"])
        await waitFor(`the server in ${part}`, () => curl(part, "127.0.0.1:8080"), { timeoutMs: 10_000 });
    });
    after(async () => {
      for (const child of servers) child.kill("SIGKILL");
      await lab.close();
    });

    const inside = async (part: string, words: string[]) => {
      const [file, args] = lab.command(part, words);
      return (await run(file, args, { timeoutMs: 15_000 })).stdout.trim();
    };
    const curl = (part: string, target: string) =>
      inside(part, ["curl", "-sS", "-g", "--max-time", "3", `http://${target}/`]);
    const datagram = (part: string, host: string, port: number) =>
      inside(part, [process.execPath, "-e", udpClient, host, String(port)]);

    const expectations: [title: string, from: string, to: string, answer: string][] = [
      ["pod to pod on a node", "n1p1", "10.244.1.12:8080", "n1p2 ::ffff:10.244.1.11"],
      ["pod to pod on a node, IPv6", "n1p1", "[fd10:244:0:1::12]:8080", "n1p2 fd10:244:0:1::11"],
      ["pod to pod across nodes", "n1p1", "10.244.2.11:8080", "n2p1 ::ffff:10.244.1.11"],
      ["pod to pod across nodes, IPv6", "n1p1", "[fd10:244:0:2::11]:8080", "n2p1 fd10:244:0:1::11"],
      ["pod to its node", "n1p1", "172.31.0.2:8080", "n1 ::ffff:10.244.1.11"],
      ["node to its pod", "n1", "10.244.1.12:8080", "n1p2 ::ffff:172.31.0.2"],
      ["pod to the world, masqueraded", "n1p1", "172.31.0.1:8080", "ext ::ffff:172.31.0.2"],
      ["pod to the world, IPv6", "n1p1", "[fd31::1]:8080", "ext fd31::2"],
      ["pod to a ClusterIP", "n1p1", "10.96.0.10:80", "n2p1 ::ffff:10.244.1.11"],
      ["pod to a ClusterIP, IPv6", "n1p1", "[fd10:96::10]:80", "n2p1 fd10:244:0:1::11"],
      ["pod to a node port", "n1p1", "172.31.0.3:30081", "n2p1 ::ffff:10.244.1.11"],
      ["node to a node port on loopback", "n1", "127.0.0.1:30080", "n1p2 "],
    ];
    for (const [title, from, to, answer] of expectations)
      test(title, async () => assert.ok((await curl(from, to)).startsWith(answer), await curl(from, to)));

    test("outside to node ports: a pod here, a pod elsewhere, a server of the node, IPv6", async () => {
      const outside = async (target: string) => {
        const args = [
          `--net=${lab.netns("ext")}`,
          "curl",
          "-sS",
          "-g",
          "--max-time",
          "3",
          `http://${target}/`,
        ];
        return (await run("nsenter", args)).stdout;
      };
      assert.equal(await outside("172.31.0.2:30080"), "n1p2 ::ffff:172.31.0.1");
      assert.match(await outside("172.31.0.2:30081"), /^n2p1 /);
      assert.equal(await outside("172.31.0.2:30082"), "n1 ::ffff:172.31.0.1");
      assert.match(await outside("[fd31::2]:30081"), /^n2p1 /);
    });

    test("a host port is the node's own, not that of another node", async () => {
      assert.equal(await curl("n1p1", "172.31.0.2:8099"), "n1p2 ::ffff:10.244.1.11");
      assert.equal(await curl("n1", "127.0.0.1:8099"), "n1p2 ::ffff:172.31.0.2");
      // The other node has such a host port too, and answers by itself.
      const [name, client] = (await curl("n1p1", "172.31.0.3:8099")).split(" ");
      assert.equal(name, "n1p2");
      assert.match(client!, routing === "vxlan" ? /10\.244\.2\.1$/ : /172\.31\.0\.3$/);
    });

    test("UDP through a ClusterIP answers from the ClusterIP", async () => {
      assert.equal(await datagram("n1p1", "10.96.0.10", 80), "n2p1 ::ffff:10.244.1.11 from 10.96.0.10");
      assert.equal(await datagram("n1p1", "fd10:96::10", 80), "n2p1 fd10:244:0:1::11 from fd10:96::10");
    });

    test("a service without backends refuses the connection at once", async () => {
      await assert.rejects(curl("n1p1", "10.96.0.11:80"), /refused|Couldn't connect/);
    });

    test("ping works between pods, to the world, and a large one is fragmented and arrives", async () => {
      for (const target of ["10.244.1.12", "10.244.2.11", "172.31.0.1", "fd10:244:0:2::11", "fd31::1"])
        await inside("n1p1", ["ping", "-c", "1", "-W", "2", target]);
      await inside("n1p1", ["ping", "-c", "1", "-W", "2", "-s", "4000", "10.244.2.11"]);
      await inside("n1p1", ["ping", "-c", "1", "-W", "2", "-s", "4000", "172.31.0.1"]);
    });

    test("a large transfer arrives whole across nodes", async () => {
      const words = [
        "curl",
        "-sS",
        "--max-time",
        "10",
        "-H",
        "Expect:",
        "--data-binary",
        "@-",
        "-w",
        "%{size_upload}",
      ];
      const [file, args] = lab.command("n1p1", [...words, "http://10.244.2.11:8080/"]);
      const sent = await run(file, args, { input: new Uint8Array(5_000_000) });
      assert.match(sent.stdout, /5000000$/);
    });

    test("a spoofed source reaches nobody and is counted", async () => {
      const spoofed = () => {
        const key = counterIndex(directions.DIRECTION_EGRESS, reasons.DROP_INVALID_SOURCE_IP);
        const values = lab.map(1, maps.counters).getPerCpu(new Uint8Array(Uint32Array.of(key).buffer))!;
        return values.reduce((sum, value) => sum + counter.decode(value).packets, 0n);
      };
      const before = spoofed();
      await run("ip", ["-n", `${lab.name}n1p1`, "address", "add", "10.244.1.99/32", "dev", "eth0"]);
      await assert.rejects(
        inside("n1p1", ["ping", "-c", "1", "-W", "1", "-I", "10.244.1.99", "10.244.1.12"]),
      );
      assert.ok(spoofed() > before);
    });
  });
