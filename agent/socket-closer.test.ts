// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { addressBytes } from "../lib/addresses.ts";
import { createLogger } from "../lib/log.ts";
import { socketNat, socketNatKey } from "./datapath-layout.ts";
import { socketCookie } from "./libbpf-sock-diag.ts";
import { backendOf } from "./service-flows.ts";
import { SocketCloser } from "./socket-closer.ts";
import { memoryMaps } from "./testing-services.ts";

test("a connection ends when its endpoint has gone, and stays when that was only for a moment", async () => {
  const server = net.createServer((socket) => socket.on("error", () => undefined));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const socket = net.connect(port, "127.0.0.1");
  await once(socket, "connect");
  const maps = memoryMaps();
  const address = addressBytes("127.0.0.1");
  const cookie = socketCookie((socket as any)._handle.fd);
  maps.socketNat.setMany([
    [
      socketNatKey.encode({ cookie, address, port, protocol: 6 }),
      socketNat.encode({ address: addressBytes("10.96.0.1"), port: 80, serviceId: 5 }),
    ],
  ]);
  const name = backendOf(5, address, port);
  let isBack = true;
  const closer = new SocketCloser({
    sockets: () => maps.socketNat,
    known: (names) => new Set(isBack ? names : []),
    namespaces: () => ["/run/netns/gone-before-it-was-looked-at"],
    log: createLogger(() => undefined),
    delayMs: 20,
  });
  try {
    const error = once(socket, "error").then(([cause]) => cause.code);
    closer.gone({ tcp: new Set([name]), udp: [] });
    const quiet = new Promise((resolve) => setTimeout(() => resolve("quiet"), 200));
    assert.equal(await Promise.race([error, quiet]), "quiet");
    isBack = false;
    closer.gone({ tcp: new Set([backendOf(5, address, port + 1), backendOf(6, address, port)]), udp: [] });
    const still = new Promise((resolve) => setTimeout(() => resolve("quiet"), 200));
    assert.equal(await Promise.race([error, still]), "quiet", "another endpoint, another service");
    closer.gone({ tcp: new Set([name]), udp: [] });
    assert.equal(await error, "ECONNABORTED");
  } finally {
    await closer.stop();
    socket.destroy();
    server.close();
  }
});
