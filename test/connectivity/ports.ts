// SPDX-License-Identifier: Apache-2.0

/** What the echo server offers; each is its own port, at this distance from its base. */
export const portOffsets = { http: 0, second: 1, tcp: 2, udp: 3, control: 4 } as const;

export type PortName = keyof typeof portOffsets;

/** Base port in pods with a network of their own. */
export const podPortBase = 8080;

/**
 * Base port in pods on the host's network: out of the way of what nodes usually run, of node ports (from 30000) and
 * of the ports that connections of the node itself come from (from 32768; an API server has hundreds to its etcd).
 */
export const hostPortBase = 28_080;

/** Base port of the server that runs beyond the nodes. */
export const outsidePortBase = 29_080;

/** Port of the node at which the pod with a hostPort is reached. */
export const publishedHostPort = 28_180;
