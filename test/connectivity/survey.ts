// SPDX-License-Identifier: Apache-2.0
import { type Family, hostPort } from "../../lib/addresses.ts";
import { errorMessage } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import { Action } from "./action.ts";
import { agentPods, readDrops, restartsOf } from "./agent-facts.ts";
import { type Deployment, serviceEndpoint } from "./deploy.ts";
import { waitForDns } from "./dns-wait.ts";
import type { PodEndpoint } from "./endpoint.ts";
import { startOutsideClient } from "./outside-client.ts";
import { Probes } from "./probes.ts";
import type { HeldConnection, Outside, ServiceName, World } from "./world.ts";

/** Looks around from the deployed pods: families, the outside, DNS servers, counters; and opens what is held. */
export async function surveyWorld(
  d: Deployment,
  startedAt: string,
  report: (progress: string) => void,
): Promise<World> {
  const probes = new Probes(d.options);
  const action = new Action(d.signal, () => undefined);
  const pod = (name: string): PodEndpoint => d.pods.get(name)!;
  const echo = pod("echo-same-node");
  const present = (["ipv4", "ipv6"] as const).filter((family) => echo.addresses[family] !== undefined);
  const families = present.filter((family) => d.options.families?.includes(family) ?? true);
  const host = d.hosts.find((entry) => entry.node === d.placement.first.name)!;
  const externalClient = startOutsideClient(d.options.externalClientCommand, d.finalizers);
  const outsidePods = externalClient === undefined ? [] : [externalClient];
  await waitForServers(probes, action, [...d.pods.values(), ...d.hosts, ...outsidePods]);
  const clients = ["client", "client2", "client3"].filter((name) => d.pods.has(name)).map(pod);
  const echoes = [echo, ...(d.pods.has("echo-other-node") ? [pod("echo-other-node")] : [])];
  const dnsServers = await readDnsServers(probes, action, clients[0]!);
  const ask = { probes, action, clients, nameserver: dnsServers[0] };
  const [withoutDns, outside, drops, held, apiServer, agents, ciliumKinds] = await Promise.all([
    waitForDns(d, ask, report),
    lookOutside(d, probes, action, host),
    readAllDrops(d, probes, action),
    holdConnections(probes, action, clients, echoes, families),
    d.kube.get(resourcePath("v1", "services", "default", "kubernetes")),
    agentPods(d.kube),
    d.kube.find<any>("/apis/cilium.io/v2"),
  ]);
  return {
    kube: d.kube,
    probes,
    options: d.options,
    families,
    nodes: d.placement.nodes,
    clients,
    echoSameNode: echo,
    echoOtherNode: echoes[1],
    hosts: d.hosts,
    hostPortPod: pod("echo-hostport"),
    spoofer: pod("spoofer"),
    services: Object.fromEntries(d.services) as World["services"] & Record<ServiceName, never>,
    apiServer: serviceEndpoint(apiServer),
    dnsServers,
    withoutDns,
    outside,
    externalClient,
    agent: d.agent,
    servesCiliumPolicies: ["ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"].every((plural) =>
      ciliumKinds?.resources?.some(({ name }: { name: string }) => name === plural),
    ),
    baseline: { startedAt, drops, restarts: restartsOf(agents), held },
  };
}

/** Every echo server must listen before anyone is blamed for not reaching it; asked inside its own pod. */
async function waitForServers(probes: Probes, action: Action, pods: readonly PodEndpoint[]): Promise<void> {
  await Promise.all(
    pods.map(async (pod) => {
      const url = `http://127.0.0.1:${pod.port("control")}/ready`;
      const tries = `for i in $(seq 60); do curl -q -s -f --noproxy '*' -o /dev/null ${url} && break; sleep 0.5; done`;
      await pod.runner.run(tries, { timeoutMs: 60_000, signal: action.signal });
      await probes.control(action, pod, "/ready", {});
    }),
  );
}

async function readDnsServers(probes: Probes, action: Action, client: PodEndpoint): Promise<string[]> {
  const result = await probes.run(action, client, "cat /etc/resolv.conf");
  return [...result.stdout.matchAll(/^nameserver\s+(\S+)/gm)].map((match) => match[1]!);
}

/** What of the outside a node itself reaches: if it does not, a pod need not. */
async function lookOutside(
  d: Deployment,
  probes: Probes,
  action: Action,
  host: PodEndpoint,
): Promise<Outside> {
  const addresses = d.options.externalAddresses;
  const ask = async (family: Family, path: string): Promise<boolean> => {
    const address = addresses[family][0];
    if (address === undefined || host.addresses[family] === undefined) return false;
    const url = `http://${hostPort(address, 80)}${path}`;
    const result = await probes.http(action, host, url).catch(() => undefined);
    d.signal.throwIfAborted();
    return result?.status === 200 && (path === "/" || clientAddressIn(result.body) !== undefined);
  };
  const both = async (path: string): Promise<Record<Family, boolean>> => {
    const [ipv4, ipv6] = await Promise.all([ask("ipv4", path), ask("ipv6", path)]);
    return { ipv4, ipv6 };
  };
  const [answers, tellsClient] = await Promise.all([both("/"), both("/client-ip")]);
  return { name: d.options.externalTarget, addresses, answers, tellsClient };
}

/** The address in an answer of `/client-ip`: plain text, or JSON with one of the usual names. */
export function clientAddressIn(body: string): string | undefined {
  const named = ["client", "clientIp", "client_ip", "ip", "origin"].map(
    (name) => new RegExp(`"${name}"\\s*:\\s*"([^"]+)"`).exec(body)?.[1],
  );
  const text = named.find((value) => value !== undefined) ?? body.trim();
  const plain = text.replace(/^::ffff:(?=\d+\.)/, "");
  return /^[0-9a-f:.]{3,45}$/i.test(plain) ? plain : undefined;
}

async function readAllDrops(
  d: Deployment,
  probes: Probes,
  action: Action,
): Promise<Map<string, Map<string, number>>> {
  const hosts = d.hosts.filter((host) => d.agent.pods.has(host.node));
  const entries = await Promise.all(
    hosts.map(async (host) => {
      const drops = await readDrops(action, probes, host, d.agent).catch(() => undefined);
      d.signal.throwIfAborted();
      return [host.node, drops] as const;
    }),
  );
  return new Map(entries.filter((entry): entry is [string, Map<string, number>] => entry[1] !== undefined));
}

async function holdConnections(
  probes: Probes,
  action: Action,
  clients: readonly PodEndpoint[],
  echoes: readonly PodEndpoint[],
  families: readonly Family[],
): Promise<HeldConnection[]> {
  const [source] = clients;
  const open = async (target: PodEndpoint, family: Family): Promise<HeldConnection> => {
    const held = { name: `${source!.name} -> ${target.name}`, family, source: source!, id: "" };
    try {
      const query = { host: target.address(family), port: target.port("tcp") };
      const { id } = await probes.control<{ id: string }>(action, source!, "/hold", query);
      return { ...held, id };
    } catch (error) {
      action.signal.throwIfAborted();
      return { ...held, error: errorMessage(error) };
    }
  };
  return await Promise.all(families.flatMap((family) => echoes.map((echo) => open(echo, family))));
}
