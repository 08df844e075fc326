// SPDX-License-Identifier: Apache-2.0
import { check, ffi, lastErrno } from "./libbpf-ffi.ts";

/** Protocols whose sockets can be ended. */
const protocols = { tcp: 6, udp: 17 } as const;
const [afInet, afInet6, afNetlink, sockRaw, netlinkSockDiag] = [2, 10, 16, 3, 4] as const;
const [sockDiagByFamily, sockDestroy, nlmsgError, nlmsgDone] = [20, 21, 2, 3] as const;
const [request, acknowledge, dump] = [1, 4, 0x300] as const;
const [solSocket, soRcvtimeo] = [1, 20] as const;
const headerSize = 16;
/** struct inet_diag_sockid: ports and addresses (network order), device, and the cookie in two words. */
const sockidSize = 48;
const cookieAt = 40;
/** Offsets of the id in struct inet_diag_req_v2 and in struct inet_diag_msg. */
const [idInRequest, idInMessage] = [8, 4] as const;
const allStates = 0xffff_ffff;
/** Most messages that one answer may have: a dump that does not end is given up. */
const mostReads = 4_096;

/**
 * Ends those sockets of this thread's network namespace (see `inNetns`) that are connected to a port and have one of
 * these cookies, as bpf_get_socket_cookie gives them: their processes get ECONNABORTED, a TCP peer a reset. Returns how
 * many there were. Kernels without CONFIG_INET_DIAG_DESTROY refuse; then it throws.
 */
export function destroySockets(
  protocol: keyof typeof protocols,
  port: number,
  cookies: ReadonlySet<bigint>,
): number {
  const fd = check(ffi().socket(afNetlink, sockRaw, netlinkSockDiag), "Cannot ask for sockets");
  try {
    const timeout = Buffer.alloc(16);
    timeout.writeBigInt64LE(1n);
    check(
      ffi().setsockopt(fd, solSocket, soRcvtimeo, timeout, timeout.length),
      "Cannot bound the wait for sockets",
    );
    let ended = 0;
    // A socket of IPv6 may be connected to an IPv4 address.
    for (const family of [afInet, afInet6])
      for (const id of findSockets(fd, family, protocols[protocol], port))
        if (cookies.has(id.readBigUInt64LE(cookieAt)) && destroy(fd, family, protocols[protocol], id))
          ended++;
    return ended;
  } finally {
    ffi().close(fd);
  }
}

function findSockets(fd: number, family: number, protocol: number, port: number): Buffer[] {
  const wanted = Buffer.alloc(sockidSize);
  wanted.writeUInt16BE(port, 2);
  send(fd, sockDiagByFamily, request | dump, family, protocol, wanted);
  const found: Buffer[] = [];
  for (let reads = 0; reads < mostReads; reads++)
    for (const { type, body } of receive(fd)) {
      if (type === nlmsgDone || type === nlmsgError) return found;
      // Not every kernel's filter is as narrow as asked for.
      const id = Buffer.from(body.subarray(idInMessage, idInMessage + sockidSize));
      if (id.readUInt16BE(2) === port) found.push(id);
    }
  return found;
}

/** False when the socket has ended by itself meanwhile. */
function destroy(fd: number, family: number, protocol: number, id: Buffer): boolean {
  send(fd, sockDestroy, request | acknowledge, family, protocol, id);
  const [answer] = receive(fd);
  const error = answer?.type === nlmsgError ? -answer.body.readInt32LE(0) : 0;
  const [noEntry] = [2];
  if (error === noEntry) return false;
  check(
    -error,
    "Cannot end a socket",
    error === 95 ? "The kernel has no CONFIG_INET_DIAG_DESTROY." : undefined,
  );
  return true;
}

function send(fd: number, type: number, flags: number, family: number, protocol: number, id: Buffer): void {
  const message = Buffer.alloc(headerSize + idInRequest + sockidSize);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(flags, 6);
  message[headerSize] = family;
  message[headerSize + 1] = protocol;
  message.writeUInt32LE(allStates, headerSize + 4);
  message.set(id, headerSize + idInRequest);
  if (ffi().send(fd, message, message.length, 0) < 0) check(-lastErrno(), "Cannot ask for sockets");
}

function receive(fd: number): { type: number; body: Buffer }[] {
  const buffer = Buffer.alloc(65_536);
  const size: number = ffi().recv(fd, buffer, buffer.length, 0);
  if (size < 0) check(-lastErrno(), "Cannot read the answer about sockets");
  const messages: { type: number; body: Buffer }[] = [];
  for (let at = 0; at + headerSize <= size; ) {
    const length = buffer.readUInt32LE(at);
    if (length < headerSize || at + length > size) break;
    messages.push({ type: buffer.readUInt16LE(at + 4), body: buffer.subarray(at + headerSize, at + length) });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** A socket's cookie, by its descriptor. */
export function socketCookie(fd: number): bigint {
  const soCookie = 57;
  const value = Buffer.alloc(8);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  check(ffi().getsockopt(fd, solSocket, soCookie, value, length), "Cannot read a socket's cookie");
  return value.readBigUInt64LE();
}
