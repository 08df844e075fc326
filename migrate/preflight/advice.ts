// SPDX-License-Identifier: Apache-2.0
import type { Finding } from "../model/inventory.ts";
import { type CheckContext, finding, info } from "./check.ts";

/** Services from which kube-proxy's lists are measured in latency, and in lost connections. */
const few = 200;
const measurable = 500;
const costly = 2000;
/** Changes of endpoints an hour that count as high churn. */
const highChurn = 1000;
/** Memory that a sidecar takes, from and to. */
const sidecarMiB = [50, 100] as const;
/** Minutes that the drain of a node takes by hand, when it is slow. */
const drainMinutes = [20, 40] as const;

const number = (value: number): string => Math.round(value).toLocaleString("en");

/** Whether the move is worth its effort, with the reader's numbers. Never in the way of anything. */
export function advise(context: CheckContext): Finding[] {
  return [verdict(context), ...churn(context), ...sidecars(context), ...layer7(context), byHand(context)];
}

function verdict({ inventory, details }: CheckContext): Finding {
  const { services } = inventory.counts;
  const rules = details.services.iptablesRules;
  const reasons = reasonsToMove({ inventory, details });
  const size = `${number(services)} Services with ${number(details.services.readyEndpoints)} endpoints`;
  const lists =
    inventory.kubeProxy.mode === "iptables" && !inventory.kubeProxy.disabled
      ? `: about ${number(rules)} iptables rules on each node, written anew at changes`
      : "";
  const words = { id: "worth-it", object: "cluster" };
  if (services >= costly)
    return info({
      ...words,
      problem: `worth it: ${size}${lists}. From ${number(costly)} on, kube-proxy's changes cost CPU and connections`,
      remedy: "Move. A map lookup costs the same for ten Services and for ten thousand.",
    });
  if (services >= measurable)
    return info({
      ...words,
      problem: `worth it: ${size}${lists}. From ${number(measurable)} on, their evaluation is measurable in latency`,
      remedy: "Move, and compare the report's figures before and after.",
    });
  if (reasons.length > 0)
    return info({
      ...words,
      problem: `worth it if you need what it adds: ${size} alone ${services < few ? "would not be a reason" : "are a weak reason"}, but there are ${reasons.join(", ")}`,
      remedy: "Move for identity policy, flow visibility or security; not for speed alone.",
    });
  if (services >= few)
    return info({
      ...words,
      problem: `not urgent: ${size}${lists}. Between ${few} and ${measurable} kube-proxy is rarely felt`,
      remedy:
        "Plan it with the next Kubernetes upgrade or with new nodes, unless you need policy or visibility now.",
    });
  return info({
    ...words,
    problem: `probably not needed for speed: ${size}. Below ${few}, kube-proxy works fine`,
    remedy:
      "Stay, unless you want identity or HTTP policies, flow visibility without sidecars, or runtime security.",
  });
}

function reasonsToMove({ inventory, details }: Pick<CheckContext, "inventory" | "details">): string[] {
  const { networkPolicies, otherPolicies } = inventory.counts;
  const policies = networkPolicies + Object.values(otherPolicies).reduce((sum, count) => sum + count, 0);
  const sidecarPods = Object.values(details.pods.sidecars).reduce((sum, count) => sum + count, 0);
  return [
    ...(details.services.changesPerHour >= highChurn
      ? [`${number(details.services.changesPerHour)} changes of endpoints an hour`]
      : []),
    ...(policies > 0 ? [`${number(policies)} network policies`] : []),
    ...(sidecarPods > 0 ? [`${number(sidecarPods)} sidecar proxies`] : []),
  ];
}

function churn({ inventory, details }: CheckContext): Finding[] {
  const { changesPerHour, changedLastHour, iptablesRules } = details.services;
  if (inventory.kubeProxy.mode !== "iptables" || inventory.kubeProxy.disabled) return [];
  const level = changesPerHour >= highChurn ? "high" : changesPerHour >= highChurn / 10 ? "moderate" : "low";
  return [
    info({
      id: "churn",
      object: "cluster",
      problem: `${level} churn: about ${number(changesPerHour)} changes of endpoints an hour over the objects' life, ${number(changedLastHour)} EndpointSlices changed within the last hour; each is worked into ${number(iptablesRules)} rules on ${number(inventory.counts.nodes)} nodes`,
      remedy:
        level === "high" ? "A reason to move: with maps a change is one entry." : "No reason by itself.",
    }),
  ];
}

function sidecars({ details }: CheckContext): Finding[] {
  const pods = Object.values(details.pods.sidecars).reduce((sum, count) => sum + count, 0);
  if (pods === 0) return [];
  const gib = sidecarMiB.map((mib) => (pods * mib) / 1024).map((value) => value.toFixed(1));
  return [
    info({
      id: "sidecar-cost",
      object: "cluster",
      problem: `${number(pods)} sidecar proxies take about ${gib[0]} to ${gib[1]} GiB of memory (${sidecarMiB[0]} to ${sidecarMiB[1]} MiB each)`,
      remedy:
        "What of them serves visibility and policy only, the node's agent can do; what serves retries and splitting stays.",
    }),
  ];
}

function layer7({ details, inventory, movesPods }: CheckContext): Finding[] {
  if (details.policies.layer7 === 0) return [];
  // The agent refuses them whole: what they keep out today would come in.
  const severity = inventory.network.enforcesPolicy && movesPods ? "block" : "info";
  return [
    finding(severity, {
      id: "layer7-policies",
      object: "cluster",
      problem: `${number(details.policies.layer7)} policies have rules on HTTP, DNS names or the like, which the agent does not read yet: none of their other rules is in force with it either`,
      remedy: "Write them without such rules, or accept their end: --accept layer7-policies.",
    }),
  ];
}

function byHand({ inventory }: CheckContext): Finding {
  const { nodes } = inventory.counts;
  const hours = drainMinutes
    .map((minutes) => (nodes * minutes) / 60)
    .map((value) => (value < 10 ? value.toFixed(1) : number(value)));
  return info({
    id: "duration-by-hand",
    object: "cluster",
    problem: `by hand, node after node, ${number(nodes)} nodes take ${hours[0]} to ${hours[1]} hours (${drainMinutes[0]} to ${drainMinutes[1]} minutes a node when drains are slow)`,
    remedy: "shunt migrate plan says how long this cluster takes with --max-unavailable.",
  });
}
