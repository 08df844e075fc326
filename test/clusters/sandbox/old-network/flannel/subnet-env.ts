// SPDX-License-Identifier: Apache-2.0

/** What flanneld leaves in /run/flannel/subnet.env for its CNI plugin. */
export interface SubnetEnv {
  ipv4?: { network: string; subnet: string };
  ipv6?: { network: string; subnet: string };
  mtu: number;
  ipMasq: boolean;
}

/** Where flanneld writes it. */
export const subnetFile = "/run/flannel/subnet.env";

/** The file's text; `subnet` is the first address of the node's range, with its prefix length. */
export function formatSubnetEnv(env: SubnetEnv): string {
  const lines = [
    ...(env.ipv4 === undefined
      ? []
      : [`FLANNEL_NETWORK=${env.ipv4.network}`, `FLANNEL_SUBNET=${env.ipv4.subnet}`]),
    ...(env.ipv6 === undefined
      ? []
      : [`FLANNEL_IPV6_NETWORK=${env.ipv6.network}`, `FLANNEL_IPV6_SUBNET=${env.ipv6.subnet}`]),
    `FLANNEL_MTU=${env.mtu}`,
    `FLANNEL_IPMASQ=${env.ipMasq}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** Reads the file's text. */
export function parseSubnetEnv(text: string): SubnetEnv {
  const values = new Map(
    text
      .split("\n")
      .filter((line) => line.includes("="))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  const range = (network?: string, subnet?: string) =>
    network === undefined || subnet === undefined ? undefined : { network, subnet };
  const ipv4 = range(values.get("FLANNEL_NETWORK"), values.get("FLANNEL_SUBNET"));
  const ipv6 = range(values.get("FLANNEL_IPV6_NETWORK"), values.get("FLANNEL_IPV6_SUBNET"));
  return {
    ...(ipv4 === undefined ? {} : { ipv4 }),
    ...(ipv6 === undefined ? {} : { ipv6 }),
    mtu: Number(values.get("FLANNEL_MTU") ?? 1450),
    ipMasq: values.get("FLANNEL_IPMASQ") === "true",
  };
}
