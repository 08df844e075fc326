// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import http from "node:http";
import { parseArgs } from "node:util";
import * as dns from "dns-packet";
import { errorMessage } from "../../../../lib/errors.ts";
import { connectKube } from "../../../../lib/kube-connect.ts";
import { Informer } from "../../../../lib/kube-informer.ts";
import { createLogger } from "../../../../lib/log.ts";
import { sleep } from "../../../../lib/wait.ts";
import { answerFromZone, encodeAnswer, failure } from "./answer.ts";
import { askDns, type DnsHandler, serveDns } from "./serve.ts";
import { Zone } from "./zone.ts";

const upstreamTimeoutMs = 2_000;
const serverFailure = 2;
const lingerMs = 5_000;
/** How old an answer may be after a change: with many Services the names are not rebuilt for every query. */
const rebuildMs = 50;

const flags = {
  server: { type: "string" },
  "cluster-domain": { type: "string", default: "cluster.local" },
  port: { type: "string", default: "53" },
  address: { type: "string", default: "" },
  "health-port": { type: "string", default: "8080" },
  "resolv-conf": { type: "string", default: "/etc/resolv.conf" },
} as const;

/** Cluster DNS: names of Services and pods from the API, all others from the node's resolvers. */
export async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({ args: argv, options: flags });
  const log = createLogger();
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stop.abort(name));
  const kube = await connectKube({ server: values.server });
  const services = new Informer(kube, "/api/v1/services", log);
  const slices = new Informer(kube, "/apis/discovery.k8s.io/v1/endpointslices", log);
  const zone = currentZone(values["cluster-domain"], services, slices);
  const isReady = () => services.synced && slices.synced;
  http
    .createServer((request, response) => {
      const ok = request.url !== "/ready" || isReady();
      response.writeHead(ok ? 200 : 503).end(ok ? "OK\n" : "waiting for the API server\n");
    })
    .listen(Number(values["health-port"]));
  const ended = new AbortController();
  for (const informer of [services, slices]) void informer.run(ended.signal);
  await Promise.all([services.whenSynced(stop.signal), slices.whenSynced(stop.signal)]);
  const upstreams = readResolvers(readFileSync(values["resolv-conf"], "utf8"));
  const handler = createHandler(zone, upstreams, (error) => log.warn("no upstream answers", { error }));
  const addresses = values.address === "" ? ["::"] : values.address.split(",");
  for (const address of addresses) await serveDns(address, Number(values.port), handler);
  log.info("serving", { part: "dns", domain: values["cluster-domain"], upstreams });
  await new Promise((resolve) => stop.signal.addEventListener("abort", resolve, { once: true }));
  // Like CoreDNS: until everybody knows that it goes, it still answers.
  await sleep(lingerMs);
  ended.abort();
  return 0;
}

/** The zone as of now, built again only after a change. */
function currentZone(domain: string, services: Informer, slices: Informer): () => Zone {
  let zone: Zone | undefined;
  let builtAt = 0;
  let dirty = true;
  for (const informer of [services, slices]) informer.onChange(() => (dirty = true));
  return () => {
    if (zone === undefined || (dirty && performance.now() - builtAt > rebuildMs)) {
      dirty = false;
      zone = new Zone(domain, services.list(), slices.list());
      builtAt = performance.now();
    }
    return zone;
  };
}

/** Nameservers of a resolv.conf. */
export function readResolvers(text: string): string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((match) => match[1]!);
}

/** Answers from the zone, else passes the query on. */
export function createHandler(
  zone: () => Zone,
  upstreams: readonly string[],
  onFailure: (error: string) => void,
  upstreamPort = 53,
): DnsHandler {
  return async (message, transport) => {
    let query: dns.Packet;
    try {
      query = dns.decode(message);
    } catch {
      return undefined;
    }
    if (query.type !== "query") return undefined;
    const askUpstream = async (wanted: Buffer): Promise<Buffer | undefined> => {
      for (const upstream of upstreams) {
        try {
          return await askDns(upstream, wanted, transport, upstreamTimeoutMs, upstreamPort);
        } catch (error) {
          onFailure(`${upstream}: ${errorMessage(error)}`);
        }
      }
      return undefined;
    };
    const own = answerFromZone(query, zone());
    if (own !== undefined) return encodeAnswer(await withAliasTarget(own, askUpstream), query, transport);
    return (await askUpstream(message)) ?? encodeAnswer(failure(query, serverFailure), query, transport);
  };
}

/** Adds what the alias of an ExternalName Service stands for: resolvers of programs do not ask again. */
async function withAliasTarget(
  answer: dns.Packet,
  askUpstream: (query: Buffer) => Promise<Buffer | undefined>,
): Promise<dns.Packet> {
  const type = answer.questions?.[0]?.type;
  const [alias, ...rest] = answer.answers ?? [];
  if (alias?.type !== "CNAME" || rest.length > 0 || (type !== "A" && type !== "AAAA")) return answer;
  const question: dns.Question = { type, name: alias.data };
  const query = dns.encode({ type: "query", id: 1, flags: dns.RECURSION_DESIRED, questions: [question] });
  const reply = await askUpstream(query);
  return reply === undefined ? answer : { ...answer, answers: [alias, ...(dns.decode(reply).answers ?? [])] };
}
