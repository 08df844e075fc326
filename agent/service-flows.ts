// SPDX-License-Identifier: Apache-2.0
import { natEntry, natFlags, socketNat, socketNatKey, tuple } from "./datapath-layout.ts";

const tcp = 6;
const udp = 17;

/** What is used here of a BPF map, so that a test can hand in another one. */
export interface FlowMap {
  entries(): [Uint8Array, Uint8Array][];
  deleteMany(keys: readonly Uint8Array[]): void;
}

/** Names a backend (its address in 16 bytes) of one service, however its flows are looked at. */
export const backendOf = (serviceId: number, address: Uint8Array, port: number): string =>
  `${serviceId} ${Buffer.from(address).toString("hex")} ${port}`;

/** A socket that was led to a backend: its cookie, and the backend's port. */
export interface LedSocket {
  cookie: bigint;
  port: number;
}

/** Sockets of TCP that were led to one of these (as `backendOf` names them). */
export function tcpSocketsTo(socketNatMap: FlowMap, gone: ReadonlySet<string>): LedSocket[] {
  return socketNatMap.entries().flatMap(([key, value]) => {
    const { address, port, protocol, cookie } = socketNatKey.decode(key);
    const isGone = protocol === tcp && gone.has(backendOf(socketNat.decode(value).serviceId, address, port));
    return isGone ? [{ cookie, port }] : [];
  });
}

/**
 * Removes the flows to backends that are gone (as `backendOf` names them). UDP has no end: clients that go on
 * sending, and sockets that were told of the service, would stay with a backend that is no more. TCP's end by
 * themselves. Returns the sockets that were led there.
 */
export function forgetUdpFlows(
  maps: { nat: FlowMap; socketNat: FlowMap },
  gone: ReadonlySet<string>,
): LedSocket[] {
  if (gone.size === 0) return [];
  const flows = maps.nat.entries().filter(([key, value]) => {
    const { to, flags, serviceId } = natEntry.decode(value);
    if (to.protocol !== udp || (flags & natFlags.NAT_SERVICE) === 0) return false;
    const isReverse = (flags & natFlags.NAT_REVERSE) !== 0;
    const { source, sourcePort } = tuple.decode(key);
    return isReverse
      ? gone.has(backendOf(serviceId, source, sourcePort))
      : gone.has(backendOf(serviceId, to.destination, to.destinationPort));
  });
  const sockets = maps.socketNat.entries().filter(([key, value]) => {
    const { address, port, protocol } = socketNatKey.decode(key);
    return protocol === udp && gone.has(backendOf(socketNat.decode(value).serviceId, address, port));
  });
  maps.nat.deleteMany(flows.map(([key]) => key));
  maps.socketNat.deleteMany(sockets.map(([key]) => key));
  return sockets.map(([key]) => {
    const { cookie, port } = socketNatKey.decode(key);
    return { cookie, port };
  });
}
