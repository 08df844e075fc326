// SPDX-License-Identifier: Apache-2.0
import { resourcePath } from "../../lib/kube.ts";
import { waitFor } from "../../lib/wait.ts";
import type { Action } from "./action.ts";
import type { Deployment } from "./deploy.ts";
import type { PodEndpoint } from "./endpoint.ts";
import type { Probes } from "./probes.ts";

/**
 * Waits until each client gets an answer from its nameserver, and from each pod behind it: cluster DNS may have come
 * up a moment ago, and networks follow it at their own pace. Returns the pairs that are still without an answer at the
 * deadline; the scenarios then say more.
 */
export async function waitForDns(
  d: Pick<Deployment, "kube" | "services" | "signal">,
  ask: { probes: Probes; action: Action; clients: readonly PodEndpoint[]; nameservers: readonly string[] },
  report: (progress: string) => void,
  timeoutMs = 60_000,
): Promise<string[]> {
  const { probes, action, clients, nameservers } = ask;
  const name = d.services.get("echo-same-node")!.dnsName;
  const answered = new Set<string>();
  let silent: string[] = [];
  const tryOnce = async (): Promise<boolean> => {
    const servers = [...nameservers.slice(0, 1), ...(await serversBehind(d, nameservers[0]))];
    const pairs = clients.flatMap((client) => servers.map((server) => ({ client, server })));
    const label = ({ client, server }: (typeof pairs)[number]) => `${client.name} -> ${server}`;
    await Promise.all(
      pairs
        .filter((pair) => !answered.has(label(pair)))
        .map(async (pair) => {
          const query = { server: pair.server, name, type: "A" } as const;
          const answer = await probes.dns(action, pair.client, query).catch(() => undefined);
          // An AAAA-only Service has no A record, and is known all the same.
          if (answer?.rcode === 0) answered.add(label(pair));
        }),
    );
    silent = pairs.map(label).filter((pair) => !answered.has(pair));
    if (silent.length > 0) report(`cluster DNS: no answer yet for ${silent.join(", ")}`);
    return silent.length === 0;
  };
  await waitFor("cluster DNS to answer", tryOnce, { timeoutMs, intervalMs: 500, signal: d.signal }).catch(
    () => d.signal.throwIfAborted(),
  );
  return silent;
}

/** Addresses of the ready pods behind a nameserver that is a Service, of those that listen on port 53 themselves. */
async function serversBehind({ kube }: Pick<Deployment, "kube">, nameserver = ""): Promise<string[]> {
  const { items } = await kube.list(resourcePath("v1", "services", "kube-system"));
  const service = items.find(({ spec }) => (spec?.clusterIPs ?? []).includes(nameserver));
  if (service === undefined) return [];
  const slices = await kube.list(resourcePath("discovery.k8s.io/v1", "endpointslices", "kube-system"), {
    labelSelector: `kubernetes.io/service-name=${service.metadata.name}`,
  });
  return slices.items
    .filter(({ ports }) => ports?.some(({ port, protocol }: any) => port === 53 && protocol === "UDP"))
    .flatMap(({ endpoints }) =>
      (endpoints ?? []).filter(({ conditions }: any) => conditions?.ready !== false),
    )
    .flatMap(({ addresses }) => addresses as string[]);
}
