// SPDX-License-Identifier: Apache-2.0
import { addressFamily, type Family } from "../../../../../lib/addresses.ts";
import { writeConfiguration } from "../cni-configuration.ts";
import { ensureFirewall } from "../firewall.ts";
import type { FirewallTable } from "../firewall-changes.ts";
import { type DaemonContext, followNodes, type NodeFacts, ofFamily, podFamilies } from "../follow-nodes.ts";
import { deviceOf, ipBatch } from "../ip-command.ts";
import { routesTo } from "../node-routes.ts";

const upkeepMs = 60_000;
const configurationFile = "/etc/cni/net.d/10-kindnet.conflist";

/** Runs kindnetd's part: the CNI configuration, routes by node addresses, and the masquerading agent. */
export async function runDaemon(context: DaemonContext): Promise<void> {
  const subnets = (context.env.POD_SUBNET ?? "").split(",").filter((cidr) => cidr !== "");
  let routes: string[] = [];
  await followNodes(
    context,
    {
      nodes: async (self, others) => {
        const wanted = routesTo(others);
        for (const route of routes.filter((known) => !wanted.includes(known)))
          await ipBatch([`route delete ${route}`]).catch(() => undefined);
        await ipBatch(wanted.map((route) => `route replace ${route}`));
        routes = wanted;
        const { mtu } = await deviceOf(self.addresses[0]!);
        if (writeConfiguration(configurationFile, kindnetConfiguration(self, mtu)))
          context.log.info("CNI configuration written", { podCidrs: self.podCidrs });
      },
      upkeep: async () => {
        for (const family of ["ipv4", "ipv6"] as const) {
          const own = subnets.filter((cidr) => addressFamily(cidr.split("/")[0]!) === family);
          if (own.length > 0 && (await ensureFirewall(family, [masqueradeRules(own)])))
            context.log.info("rules written", { family });
        }
      },
    },
    upkeepMs,
  );
}

/** The list that containerd reads. */
export function kindnetConfiguration(self: NodeFacts, mtu: number): object {
  const defaultRoutes: Record<Family, string> = { ipv4: "0.0.0.0/0", ipv6: "::/0" };
  const families = podFamilies(self);
  return {
    cniVersion: "0.3.1",
    name: "kindnet",
    plugins: [
      {
        type: "ptp",
        ipMasq: false,
        ipam: {
          type: "host-local",
          dataDir: "/run/cni-ipam-state",
          routes: families.map((family) => ({ dst: defaultRoutes[family] })),
          ranges: families.map((family) => [{ subnet: ofFamily(self.podCidrs, family) }]),
        },
        mtu,
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

/** kind's masquerading agent: what leaves for elsewhere than the pods' ranges gets the node's address. */
export function masqueradeRules(subnets: readonly string[]): FirewallTable {
  const chain = "KIND-MASQ-AGENT";
  const comment = (text: string) => `-m comment --comment "kind-masq-agent: ${text}"`;
  const jump = comment(
    `ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom ${chain} chain`,
  );
  return {
    table: "nat",
    chains: {
      [chain]: [
        ...subnets.map(
          (cidr) => `-d ${cidr} ${comment("local traffic is not subject to MASQUERADE")} -j RETURN`,
        ),
        `${comment("outbound traffic is subject to MASQUERADE (must be last in chain)")} -j MASQUERADE`,
      ],
    },
    hooks: [{ chain: "POSTROUTING", rule: `-m addrtype ! --dst-type LOCAL ${jump} -j ${chain}` }],
  };
}
