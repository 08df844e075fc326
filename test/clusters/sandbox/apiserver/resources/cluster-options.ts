// SPDX-License-Identifier: Apache-2.0

/** What the kinds need to know about the cluster; from the API server's flags. */
export interface ClusterOptions {
  /** One or two CIDRs, the first is the primary family; `--service-cluster-ip-range`. */
  serviceCidrs?: string[];
  /** Inclusive; `--service-node-port-range`. */
  nodePorts?: { first: number; last: number };
}
