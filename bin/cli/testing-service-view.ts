// SPDX-License-Identifier: Apache-2.0
// For tests: what an agent tells of a Service.
import type { BackendView, FrontendView, ServiceView } from "../../agent/service-reader.ts";

export const frontend = (
  address: string,
  port: number,
  kind: FrontendView["kind"],
  flags: FrontendView["flags"] = [],
): FrontendView => ({
  ...{ address, port, kind, flags },
  ...(address === "0.0.0.0" ? { nodeAddresses: ["172.30.0.2"] } : {}),
});

/** A backend of port 8080; its number is the address's last part. */
export const backend = (
  address: string,
  policy: BackendView["policy"] = "cluster",
  connections = 0,
  tableEntries = 0,
): BackendView => ({
  ...{ address, port: 8080, id: Number(address.split(".")[3]) },
  ...{ policy, tableEntries, connections },
});

/** Port http of default/web with a ClusterIP, as one node has it; the counters are the backends'. */
export function webView(parts: Partial<ServiceView> = {}): ServiceView {
  const backends = parts.backends ?? [backend("10.0.0.1"), backend("10.0.0.2")];
  return {
    ...{ kind: "Service", namespace: "default", name: "web", portName: "http", protocol: "TCP" },
    ...{ family: "ipv4", id: 7, generation: 3, refused: 0, affinitySeconds: 0, tableSize: 0 },
    frontends: [frontend("10.96.0.1", 80, "ClusterIP")],
    backends,
    connections: backends.reduce((sum, { connections }) => sum + connections, 0),
    sourceRanges: [],
    problems: [],
    ...parts,
  };
}
