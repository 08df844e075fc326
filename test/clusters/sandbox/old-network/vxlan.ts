// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { addressFamily } from "../../../../lib/addresses.ts";
import { bridgeBatch, ipBatch, ipJson } from "./ip-command.ts";

/** A VXLAN device that learns nothing: its daemon writes every entry. */
export interface VxlanDevice {
  name: string;
  vni: number;
  port: number;
  /** Device and address that packets leave by. */
  uplink: string;
  local: string;
  mtu: number;
  /** The device's own address with prefix length; packets of the node itself come from it. */
  address: string;
}

/** Another node as a VXLAN device reaches it. */
export interface VxlanPeer {
  /** Its address in the pod network: next hop of its pods. */
  gateway: string;
  podCidr: string;
  mac: string;
  /** Address of the node. */
  remote: string;
  /** Routing protocol number that its route carries; the kernel's "boot" when left out. */
  protocol?: number;
}

/** Makes the device, or keeps one that fits; returns its MAC address. `mac` is for a new one. */
export async function ensureVxlan(device: VxlanDevice, mac: string | undefined): Promise<string> {
  const [found] = await ipJson(["link", "show", "dev", device.name]);
  const fits = found !== undefined && vxlanFits(device, found);
  const commands = [
    ...(found !== undefined && !fits ? [`link delete ${device.name}`] : []),
    ...(fits
      ? []
      : [
          `link add ${device.name} address ${mac ?? randomMac()} type vxlan id ${device.vni} ` +
            `local ${device.local} dev ${device.uplink} dstport ${device.port} nolearning`,
        ]),
    `link set ${device.name} mtu ${device.mtu}`,
    `address replace ${device.address} dev ${device.name}${device.address.includes(":") ? " nodad" : ""}`,
    `link set ${device.name} up`,
  ];
  await ipBatch(commands);
  const [made] = await ipJson(["link", "show", "dev", device.name]);
  return made.address;
}

function vxlanFits(device: VxlanDevice, found: any): boolean {
  const { info_kind, info_data = {} } = found.linkinfo ?? {};
  return (
    info_kind === "vxlan" &&
    info_data.id === device.vni &&
    info_data.port === device.port &&
    (info_data.local ?? info_data.local6) === device.local &&
    info_data.link === device.uplink &&
    info_data.learning === false
  );
}

/** A locally administered unicast address (IEEE 802, 48 bits). */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** Leads to a peer's pods through the device: neighbour, forwarding entry and route. */
export async function addPeer(device: string, peer: VxlanPeer): Promise<void> {
  await ipBatch([`neigh replace ${peer.gateway} lladdr ${peer.mac} dev ${device} nud permanent`]);
  await bridgeBatch([`fdb replace ${peer.mac} dev ${device} dst ${peer.remote} self permanent`]);
  await ipBatch([`route replace ${routeTo(device, peer)}`]);
}

function routeTo(device: string, { podCidr, gateway, protocol }: VxlanPeer): string {
  return `${podCidr} via ${gateway} dev ${device} onlink${protocol === undefined ? "" : ` proto ${protocol}`}`;
}

/** Forgets a peer; what is gone already is no error. */
export async function removePeer(device: string, peer: VxlanPeer): Promise<void> {
  const attempts = [
    () => ipBatch([`route delete ${routeTo(device, peer)}`]),
    () => bridgeBatch([`fdb delete ${peer.mac} dev ${device} dst ${peer.remote} self`]),
    () => ipBatch([`neigh delete ${peer.gateway} dev ${device}`]),
  ];
  for (const attempt of attempts) await attempt().catch(() => undefined);
}

/** Bytes that VXLAN adds to a packet over an uplink of this address's family. */
export function vxlanOverhead(local: string): number {
  return addressFamily(local) === "ipv4" ? 50 : 70;
}
