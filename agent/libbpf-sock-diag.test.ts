// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { destroySockets, socketCookie } from "./libbpf-sock-diag.ts";

const descriptor = (socket: any): number =>
  (socket._handle ?? socket[Object.getOwnPropertySymbols(socket)[0]!].handle).fd;

for (const host of ["127.0.0.1", "::1"])
  test(`connections to ${host}: those that are named end, others live on`, async () => {
    const server = net.createServer((socket) => socket.on("error", () => undefined).pipe(socket));
    server.listen(0, host);
    await once(server, "listening");
    const { port } = server.address() as net.AddressInfo;
    const [doomed, other] = [net.connect({ host, port }), net.connect({ host, port })];
    try {
      await Promise.all([once(doomed, "connect"), once(other, "connect")]);
      const failed = once(doomed, "error");
      const cookies = new Set([socketCookie(descriptor(doomed)), 12_345_678n]);
      assert.equal(destroySockets("tcp", port === 1 ? 2 : 1, cookies), 0);
      assert.equal(destroySockets("tcp", port, cookies), 1);
      assert.equal((await failed)[0].code, "ECONNABORTED");
      assert.equal(destroySockets("tcp", port, cookies), 0);
      other.write("still here");
      assert.equal(String((await once(other, "data"))[0]), "still here");
    } finally {
      for (const socket of [doomed, other]) socket.destroy();
      server.close();
    }
  });

test("a connected UDP socket ends", async () => {
  const socket = dgram.createSocket("udp4");
  socket.connect(9, "127.0.0.1");
  await once(socket, "connect");
  const handle = Object.getOwnPropertySymbols(socket)
    .map((symbol) => (socket as any)[symbol]?.handle)
    .find((found) => found?.fd > 0);
  const failed = once(socket, "error");
  assert.equal(destroySockets("udp", 9, new Set([socketCookie(handle.fd)])), 1);
  assert.equal((await failed)[0].code, "ECONNABORTED");
  socket.close();
});
