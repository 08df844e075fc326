// SPDX-License-Identifier: Apache-2.0

/** What the echo server offers; each is its own port, at this distance from its base. */
export const portOffsets = { http: 0, second: 1, tcp: 2, udp: 3, control: 4 } as const;

export type PortName = keyof typeof portOffsets;

/** Base port in pods with a network of their own. */
export const podPortBase = 8080;

/** Base port in pods on the host's network, out of the way of what nodes usually run and of node ports. */
export const hostPortBase = 41_080;

/** Base port of the server that runs beyond the nodes. */
export const outsidePortBase = 42_080;

/** Port of the node at which the pod with a hostPort is reached. */
export const publishedHostPort = 41_180;
