// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { it } from "node:test";
import * as dns from "dns-packet";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { answerQuery } from "../internet/dns-server.ts";
import { answerFromZone, encodeAnswer } from "./answer.ts";
import { createHandler, readResolvers } from "./index.ts";
import { askDns, serveDns } from "./serve.ts";
import { reverseAddress, Zone } from "./zone.ts";

const service = (name: string, spec: object): KubeObject => ({ metadata: { name, namespace: "app" }, spec });
const ports = [{ name: "http", port: 80, protocol: "TCP" }];
const services = [
  service("web", { clusterIP: "10.96.0.7", clusterIPs: ["10.96.0.7", "fd10:96::7"], ports }),
  service("db", { clusterIP: "None", clusterIPs: ["None"], ports }),
  service("out", { type: "ExternalName", externalName: "world.example." }),
];
const slices: KubeObject[] = [
  {
    metadata: { name: "db-1", namespace: "app", labels: { "kubernetes.io/service-name": "db" } },
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    endpoints: [
      { addresses: ["10.244.1.2"], hostname: "db-0", conditions: { ready: true } },
      { addresses: ["10.244.1.3"], conditions: {} },
      { addresses: ["10.244.1.4"], conditions: { ready: false } },
    ],
  },
];
const zone = new Zone("cluster.local", services, slices);

function ask(name: string, type: string, flags = 0): dns.Packet | undefined {
  const questions = [{ name, type: type as "A" }];
  const answer = answerFromZone({ type: "query", id: 7, flags, questions }, zone);
  return answer && dns.decode(encodeAnswer(answer, {}, "tcp"));
}

const data = (name: string, type: string) =>
  ask(name, type)
    ?.answers?.map((answer: any) => answer.data)
    .sort();
const code = (name: string, type = "A") => (ask(name, type)?.flags ?? 0) & 15;

it("answers for Services of both families, in any case", () => {
  assert.deepEqual(data("web.app.svc.cluster.local", "A"), ["10.96.0.7"]);
  assert.deepEqual(data("WEB.app.SVC.cluster.local", "AAAA"), ["fd10:96::7"]);
});

it("answers for headless Services and their pods, ready ones only", () => {
  assert.deepEqual(data("db.app.svc.cluster.local", "A"), ["10.244.1.2", "10.244.1.3"]);
  assert.deepEqual(data("db-0.db.app.svc.cluster.local", "A"), ["10.244.1.2"]);
  assert.deepEqual(data("10-244-1-3.db.app.svc.cluster.local", "A"), ["10.244.1.3"]);
  assert.deepEqual(data("10-244-1-9.app.pod.cluster.local", "A"), ["10.244.1.9"]);
});

it("answers SRV with the target's address beside it", () => {
  const answer = ask("_http._tcp.web.app.svc.cluster.local", "SRV");
  assert.partialDeepStrictEqual(answer?.answers?.[0], {
    data: { port: 80, target: "web.app.svc.cluster.local" },
  });
  assert.equal(answer?.additionals?.length, 2);
  assert.equal(data("_http._tcp.db.app.svc.cluster.local", "SRV")?.length, 2);
});

it("answers pointers and aliases", () => {
  assert.deepEqual(data("7.0.96.10.in-addr.arpa", "PTR"), ["web.app.svc.cluster.local"]);
  assert.deepEqual(data("2.1.244.10.in-addr.arpa", "PTR"), ["db-0.db.app.svc.cluster.local"]);
  assert.deepEqual(data("out.app.svc.cluster.local", "A"), ["world.example"]);
  assert.equal(reverseAddress(`7.${"0.".repeat(19)}6.9.0.0.0.1.d.f.0.0.ip6.arpa`), undefined);
});

it("tells a name that is not there from one without such records", () => {
  assert.equal(code("nope.app.svc.cluster.local"), 3);
  assert.equal(ask("nope.app.svc.cluster.local", "A")?.authorities?.[0]?.type, "SOA");
  assert.equal(code("db.app.svc.cluster.local", "AAAA"), 0);
  assert.equal(ask("db.app.svc.cluster.local", "AAAA")?.authorities?.[0]?.type, "SOA");
  assert.equal(code("app.svc.cluster.local"), 0);
  assert.equal(ask("world.example", "A"), undefined);
  assert.equal(ask("9.9.9.9.in-addr.arpa", "PTR"), undefined);
});

it("passes other names on, by UDP and TCP, and cuts off what UDP has no room for", async () => {
  const world = {
    "world.example": ["192.0.2.10"],
    "big.example": Array.from({ length: 60 }, (_, i) => `192.0.2.${i}`),
  };
  const upstream = await serveDns("127.0.0.1", 0, async (query) =>
    dns.encode(answerQuery(dns.decode(query), world)),
  );
  const failures: string[] = [];
  const handler = createHandler(
    () => zone,
    ["127.0.0.1"],
    (error) => failures.push(error),
    upstream.port,
  );
  const server = await serveDns("127.0.0.1", 0, handler);
  const query = dns.encode({ type: "query", id: 9, questions: [{ name: "world.example", type: "A" }] });
  try {
    for (const transport of ["udp", "tcp"] as const) {
      const answer = dns.decode(await askDns("127.0.0.1", query, transport, 5_000, server.port));
      assert.equal(answer.id, 9);
      assert.partialDeepStrictEqual(answer.answers, [{ data: "192.0.2.10" }]);
    }
    const alias = dns.encode({
      type: "query",
      id: 8,
      questions: [{ name: "out.app.svc.cluster.local", type: "A" }],
    });
    const found = dns.decode(await askDns("127.0.0.1", alias, "udp", 5_000, server.port));
    assert.partialDeepStrictEqual(found.answers, [{ data: "world.example" }, { data: "192.0.2.10" }]);
    assert.deepEqual(failures, []);
  } finally {
    server.close();
    upstream.close();
  }
  const big = answerQuery({ type: "query", id: 1, questions: [{ name: "big.example", type: "A" }] }, world);
  const cut = dns.decode(encodeAnswer(big, {}, "udp"));
  assert.ok(cut.flag_tc === true && cut.answers?.length === 0);
});

it("reads resolvers, and gives no answer to what is no query", async () => {
  assert.deepEqual(readResolvers("# x\nsearch a\nnameserver 203.0.113.53\n nameserver 2001:db8::1\n"), [
    "203.0.113.53",
    "2001:db8::1",
  ]);
  const handler = createHandler(
    () => zone,
    [],
    () => {},
  );
  assert.equal(await handler(Buffer.from("junk"), "udp"), undefined);
});
