// SPDX-License-Identifier: Apache-2.0
// Services in the driver of an uplink: real packets from outside to a pod of another node and back.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { run } from "../lib/run.ts";
import { waitFor } from "../lib/wait.ts";
import { DatapathLab } from "./datapath-lab.ts";
import { counter, counterIndex, directions, maps, reasons } from "./datapath-layout.ts";

const writeChecksums = path.join(import.meta.dirname, "../build/bin/write-checksums");
/** Answers HTTP with what it got, and UDP likewise. */
const server = `
const http = require("node:http").createServer((q, r) => q.pipe(r));
http.listen(8080, "::");
const udp = require("node:dgram").createSocket("udp6", (m, from) => udp.send(m, from.port, from.address));
udp.bind(8080, "::");
`;
/** Sends datagrams one after another from one port, and prints how many came back as they were. */
const udpClient = `
const [host, port] = process.argv.slice(1);
const socket = require("node:dgram").createSocket(host.includes(":") ? "udp6" : "udp4");
let right = 0;
const next = () => right < 20 ? socket.send("datagram " + right, Number(port), host) : (console.log(right), socket.close());
socket.on("message", (m, from) => { if (m.toString() === "datagram " + right && from.address === host) { right++; next(); } });
setTimeout(() => process.exit(1), 5000).unref();
next();
`;

describe("services in an uplink's driver", () => {
  const lab = new DatapathLab(`sx${process.pid % 100000}`);
  const servers: ChildProcess[] = [];
  const inside = async (part: string, words: string[], input?: Uint8Array) =>
    (
      await run("nsenter", [`--net=${lab.netns(part)}`, ...words], {
        timeoutMs: 20_000,
        ...(input && { input }),
      })
    ).stdout;
  const turned = (): number => {
    const key = counterIndex(directions.DIRECTION_INGRESS, reasons.FORWARD_TURNED);
    const values = lab.map(1, maps.counters).getPerCpu(new Uint8Array(Uint32Array.of(key).buffer))!;
    return values.reduce((sum, value) => sum + Number(counter.decode(value).packets), 0);
  };

  before(async () => {
    await lab.open({ name: lab.name, routing: "direct", accelerated: true });
    // As on a wire: every packet has its checksum.
    for (const part of ["ext", "n1", "n2", "n2p1", "n1p2"])
      await inside(part, [writeChecksums, part === "ext" ? "switch0" : "eth0"]);
    for (const part of ["n1p2", "n2p1"])
      servers.push(
        spawn("nsenter", [`--net=${lab.netns(part)}`, process.execPath, "-e", server], { stdio: "ignore" }),
      );
    for (const protocol of [6, 17]) {
      const add = (id: number, address: string, port: number, backends: string[]) =>
        lab.addService({ id: id + 10 * protocol, address, port, protocol, backends });
      add(1, "0.0.0.0", 30081, ["10.244.2.11"]);
      add(2, "::", 30081, ["fd10:244:0:2::11"]);
      add(3, "0.0.0.0", 30080, ["10.244.1.12"]);
    }
    for (const part of ["n1p2", "n2p1"])
      await waitFor(`the server in ${part}`, () => inside(part, ["curl", "-sS", "http://127.0.0.1:8080/"]), {
        timeoutMs: 10_000,
      });
  });
  after(async () => {
    for (const child of servers) child.kill("SIGKILL");
    await lab.close();
  });

  const echo = (target: string, body: Uint8Array) =>
    inside(
      "ext",
      ["curl", "-sS", "-g", "--max-time", "10", "-H", "Expect:", "--data-binary", "@-", `http://${target}/`],
      body,
    );
  const body = Buffer.from("a whole body ".repeat(20_000));

  for (const [family, address] of [
    ["IPv4", "172.31.0.2"],
    ["IPv6", "fd31::2"],
  ] as const) {
    const host = family === "IPv4" ? address : `[${address}]`;
    test(`TCP by ${family}: what follows the first packet turns round, both ways, and arrives whole`, async () => {
      const earlier = turned();
      assert.equal(await echo(`${host}:30081`, body), body.toString());
      // More than the packets of one direction.
      assert.ok(turned() - earlier > (2 * body.length) / 1460, `${turned() - earlier} packets`);
    });

    test(`UDP by ${family} likewise`, async () => {
      const earlier = turned();
      assert.equal((await inside("ext", [process.execPath, "-e", udpClient, address, "30081"])).trim(), "20");
      assert.ok(turned() - earlier >= 38, `${turned() - earlier} packets`);
    });
  }

  test("a pod of the node itself is served as ever", async () => {
    const earlier = turned();
    assert.equal(await echo("172.31.0.2:30080", body), body.toString());
    assert.equal(turned(), earlier);
  });
});
