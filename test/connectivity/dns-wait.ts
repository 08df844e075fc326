// SPDX-License-Identifier: Apache-2.0
import { waitFor } from "../../lib/wait.ts";
import type { Action } from "./action.ts";
import type { Deployment } from "./deploy.ts";
import type { PodEndpoint } from "./endpoint.ts";
import type { Probes } from "./probes.ts";

/**
 * Waits until each client got an answer from its nameserver: cluster DNS may have come up a moment ago. Returns the names
 * of those that are without one at the deadline; the scenarios then say more.
 */
export async function waitForDns(
  d: Pick<Deployment, "services" | "signal">,
  ask: { probes: Probes; action: Action; clients: readonly PodEndpoint[]; nameserver: string | undefined },
  report: (progress: string) => void,
): Promise<string[]> {
  const { probes, action, clients, nameserver: server } = ask;
  if (server === undefined) return [];
  const name = d.services.get("echo-same-node")!.dnsName;
  let silent = [...clients];
  const askOnce = async (): Promise<boolean> => {
    const answers = await Promise.all(
      // A Service without an address of this family is known all the same.
      silent.map((client) => probes.dns(action, client, { server, name, type: "A" }).catch(() => undefined)),
    );
    silent = silent.filter((_, index) => answers[index]?.rcode !== 0);
    if (silent.length > 0) report(`no answer from cluster DNS yet for ${namesOf(silent).join(", ")}`);
    return silent.length === 0;
  };
  const options = { timeoutMs: 20_000, intervalMs: 500, signal: d.signal };
  await waitFor("cluster DNS to answer", askOnce, options).catch(() => d.signal.throwIfAborted());
  return namesOf(silent);
}

const namesOf = (pods: readonly PodEndpoint[]): string[] => pods.map(({ name }) => name);
