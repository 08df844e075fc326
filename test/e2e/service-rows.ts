// SPDX-License-Identifier: Apache-2.0
// What kube-proxy does, a row each: the objects, and what a client must then see.

import type { Question, Reply } from "../connectivity/service-client.ts";
import { image } from "./cluster-under-test.ts";

export type Family = "ipv4" | "ipv6";
/** Where clients are: a pod of the node with the first server, that node, another node, a machine outside. */
export const vantages = ["pod", "node", "other node", "outside"] as const;
export type Vantage = (typeof vantages)[number];

/** What a row may use to ask. */
export interface Clients {
  ask(vantage: Vantage, questions: Question[]): Promise<Reply[]>;
  /** Address of a Service, of a node or of a client, in a family. */
  clusterIP(service: string, family: Family): string;
  nodeAddress(node: "node" | "other node", family: Family): string;
  nodePort(service: string, port?: string): number;
  outsideAddress(family: Family): string;
  podAddress(pod: string, family: Family): string;
  /** Changes an object by kubectl. */
  kubectl(...args: string[]): Promise<string>;
}

export interface Row {
  feature: string;
  /** Where it can be seen; everywhere when left out. */
  from?: readonly Vantage[];
  /** Returns what is wrong; undefined when all is as it should be. */
  check(clients: Clients, vantage: Vantage, family: Family): Promise<string | undefined>;
}

export const balancerAddress = { ipv4: "198.51.100.200", ipv6: "2001:db8:ee::200" };
const externalAddress = { ipv4: "198.51.100.210", ipv6: "2001:db8:ee::210" };
const rangedAddress = { ipv4: "198.51.100.220", ipv6: "2001:db8:ee::220" };
const localAddress = { ipv4: "198.51.100.230", ipv6: "2001:db8:ee::230" };
/** Prefixes that the machine outside must route to the first node. */
export const outsideRoutes = { ipv4: "198.51.100.192/26", ipv6: "2001:db8:ee::/64" };
const hostPort = 28_180;
const loopbackPort = 28_190;
const healthPort = 31_990;
const families: readonly Family[] = ["ipv4", "ipv6"];
const inCluster: readonly Vantage[] = ["pod", "node", "other node"];

const echoPorts = [
  { name: "tcp", port: 80, targetPort: 8082, protocol: "TCP" },
  { name: "udp", port: 80, targetPort: 8083, protocol: "UDP" },
];
const service = (name: string, spec: object, more: object = {}): any => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, ...more },
  spec: { ipFamilyPolicy: "RequireDualStack", ports: echoPorts, ...spec },
});
const both = { selector: { app: "echo" } };
const first = { selector: { name: "first" } };

/** Pods: two servers on two nodes, one that never gets ready, a client, clients on the hosts. */
export function pods(nodes: Record<"node" | "other node" | "third", string>): any[] {
  const command = (script: string) => ["node", `/etc/shunt-test/${script}`];
  const pod = (name: string, node: string, more: any = {}, container: any = {}): any => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { name, ...more.labels } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 1,
      tolerations: [{ operator: "Exists" }],
      ...more.spec,
      volumes: [{ name: "code", configMap: { name: "code" } }],
      containers: [
        {
          name: "main",
          image,
          imagePullPolicy: "IfNotPresent",
          command: command("echo-server.ts"),
          volumeMounts: [{ name: "code", mountPath: "/etc/shunt-test" }],
          ...container,
          env: [
            { name: "PORT_BASE", value: more.portBase ?? "8080" },
            { name: "POD_NAME", value: name },
          ],
        },
      ],
    },
  });
  const never = { exec: { command: ["/bin/busybox", "false"] }, periodSeconds: 1 };
  const host = (name: string, node: string) =>
    pod(name, node, { spec: { hostNetwork: true } }, { command: ["/bin/busybox", "sleep", "3600"] });
  const named = (number: number) => [{ name: "echo", containerPort: number }];
  return [
    pod(
      "first",
      nodes.node,
      { labels: { app: "echo" } },
      {
        ports: [
          ...named(8082),
          { containerPort: 8082, hostPort },
          { containerPort: 8082, hostPort: loopbackPort, hostIP: "127.0.0.1" },
        ],
      },
    ),
    pod("second", nodes["other node"], { labels: { app: "echo" } }, { ports: named(8082) }),
    pod("moved", nodes.third, { portBase: "9080" }, { ports: named(9082) }),
    pod("unready", nodes.third, {}, { readinessProbe: never }),
    pod("client", nodes.node),
    host("host-node", nodes.node),
    host("host-other", nodes["other node"]),
  ];
}

/** Slices of Services without selectors, with what a controller would write. */
export function slices(
  addressOf: (pod: string, family: Family) => string,
  nodes: Record<string, string>,
): any[] {
  const slice = (name: string, endpoints: { pod: string; node: string; [field: string]: unknown }[]): any[] =>
    families.map((family) => ({
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: `${name}-${family}`, labels: { "kubernetes.io/service-name": name } },
      addressType: family === "ipv4" ? "IPv4" : "IPv6",
      ports: echoPorts.map(({ name: port, targetPort, protocol }) => ({
        name: port,
        port: targetPort,
        protocol,
      })),
      endpoints: endpoints.map(({ pod, node, ...rest }) => ({
        addresses: [addressOf(pod, family)],
        nodeName: nodes[node],
        conditions: { ready: true },
        ...rest,
      })),
    }));
  const ending = { conditions: { ready: false, serving: true, terminating: true } };
  const hint = (zone: string) => ({ hints: { forZones: [{ name: zone }] }, zone });
  return [
    ...slice("hinted", [
      { pod: "first", node: "node", ...hint("zone-a") },
      { pod: "second", node: "other node", ...hint("zone-b") },
    ]),
    ...slice("ending", [
      { pod: "first", node: "node", ...ending },
      { pod: "second", node: "other node" },
    ]),
    ...slice("all-ending", [{ pod: "first", node: "node", ...ending }]),
    ...slice("leaving-pod", [{ pod: "second", node: "other node" }]),
    ...slice("leaving-node", [{ pod: "second", node: "other node" }]),
    ...slice("graceful", [{ pod: "first", node: "node" }]),
  ];
}

export const services: any[] = [
  service("plain", { ...both, type: "NodePort" }),
  service("balanced", { ...both, type: "LoadBalancer", externalIPs: Object.values(externalAddress) }),
  service("local", {
    ...first,
    type: "LoadBalancer",
    externalTrafficPolicy: "Local",
    healthCheckNodePort: healthPort,
  }),
  service("internal", { ...first, internalTrafficPolicy: "Local" }),
  service("sticky", {
    ...both,
    type: "NodePort",
    sessionAffinity: "ClientIP",
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 2 } },
  }),
  service("ranged", {
    ...both,
    type: "LoadBalancer",
    loadBalancerSourceRanges: ["172.30.0.1/32", "fd30::1/128"],
  }),
  service("hinted", {}),
  service("ending", {}),
  service("all-ending", {}),
  service("graceful", {}),
  service("leaving-pod", {}),
  service("leaving-node", {}),
  service("empty", { selector: { name: "nobody" }, type: "NodePort" }),
  service("unready", { selector: { name: "unready" }, publishNotReadyAddresses: true }),
  service("named", {
    selector: { name: "first" },
    ports: [{ name: "tcp", port: 80, targetPort: "echo", protocol: "TCP" }],
  }),
  service("others", both, { labels: { "service.kubernetes.io/service-proxy-name": "somebody" } }),
  service("foreign", { ...both, type: "LoadBalancer", loadBalancerClass: "example.com/somebody" }),
  service("itself", { selector: { name: "client" } }),
  service("headless", { ...both, clusterIP: "None" }),
];

/** What a cloud's controller would write. */
export const balancerStatus: Record<string, Record<Family, string>> = {
  balanced: balancerAddress,
  local: localAddress,
  ranged: rangedAddress,
};

const tcp = (host: string, port = 80, more: Partial<Question> = {}): Question => ({
  kind: "dial",
  protocol: "tcp",
  host,
  port,
  ...more,
});
const udp = (host: string, port = 80, more: Partial<Question> = {}): Question => ({
  ...tcp(host, port, more),
  protocol: "udp",
});
const namesOf = (replies: readonly Reply[]): string =>
  [...new Set(replies.map(({ pod }) => pod))].sort().join(" ");
const errorsOf = (replies: readonly Reply[]): string | undefined =>
  replies.find(({ error }) => error !== undefined)?.error;

/** Both protocols reach one of these servers, and answers come from the address that was asked. */
async function reaches(
  { ask }: Clients,
  vantage: Vantage,
  host: string,
  port: number | { tcp: number; udp: number },
  servers = ["first", "second"],
): Promise<string | undefined> {
  const [tcpPort, udpPort] = typeof port === "number" ? [port, port] : [port.tcp, port.udp];
  const replies = await ask(vantage, [tcp(host, tcpPort, { times: 3 }), udp(host, udpPort, { times: 3 })]);
  const wrong = replies.find(({ pod, from }) => !servers.includes(pod ?? "") || from !== host);
  return wrong === undefined ? undefined : (wrong.error ?? `${wrong.pod} answered from ${wrong.from}`);
}

/** Nobody serves, and the client knows at once. */
async function refuses(
  { ask }: Clients,
  vantage: Vantage,
  questions: Question[],
): Promise<string | undefined> {
  for (const [index, { error, ms }] of (await ask(vantage, questions)).entries()) {
    if (error === undefined) return "it was served";
    if (!/ECONNREFUSED|EPERM|EHOSTUNREACH/.test(error) || ms > 1_500)
      return `${questions[index]!.protocol}: ${error} after ${ms} ms`;
  }
  return undefined;
}

const ports = (clients: Clients, name: string) => ({
  tcp: clients.nodePort(name, "tcp"),
  udp: clients.nodePort(name, "udp"),
});

export const rows: readonly Row[] = [
  {
    feature: "ClusterIP, TCP and UDP",
    from: inCluster,
    check: (clients, vantage, family) => reaches(clients, vantage, clients.clusterIP("plain", family), 80),
  },
  {
    feature: "NodePort of a node with an endpoint",
    check: (clients, vantage, family) =>
      reaches(clients, vantage, clients.nodeAddress("node", family), ports(clients, "plain")),
  },
  {
    feature: "NodePort of another node",
    check: (clients, vantage, family) =>
      reaches(clients, vantage, clients.nodeAddress("other node", family), ports(clients, "plain")),
  },
  {
    feature: "load balancer address",
    check: (clients, vantage, family) => reaches(clients, vantage, balancerAddress[family], 80),
  },
  {
    feature: "externalIPs",
    check: (clients, vantage, family) => reaches(clients, vantage, externalAddress[family], 80),
  },
  {
    feature: "hostPort",
    check: async (clients, vantage, family) => {
      const host = clients.nodeAddress("node", family);
      const [reply] = await clients.ask(vantage, [tcp(host, hostPort)]);
      return reply?.pod === "first" ? undefined : (reply?.error ?? `${reply?.pod} answered`);
    },
  },
  {
    feature: "hostPort on 127.0.0.1, for the node alone",
    from: ["pod", "node"],
    check: async (clients, vantage, family) => {
      if (family === "ipv6") return undefined;
      const [reply] = await clients.ask(vantage, [tcp("127.0.0.1", loopbackPort)]);
      if (vantage === "pod")
        return reply?.error === "ECONNREFUSED" ? undefined : `a pod's loopback led to ${reply?.pod}`;
      return reply?.pod === "first" ? undefined : (reply?.error ?? `${reply?.pod} answered`);
    },
  },
  {
    feature: "externalTrafficPolicy Local keeps the client's address",
    from: ["outside"],
    check: async (clients, vantage, family) => {
      const questions = [
        tcp(clients.nodeAddress("node", family), clients.nodePort("local", "tcp")),
        udp(localAddress[family]),
      ];
      const wrong = (await clients.ask(vantage, questions)).find(
        ({ peer, pod }) => peer !== clients.outsideAddress(family) || pod !== "first",
      );
      return wrong === undefined ? undefined : (wrong.error ?? `${wrong.pod} saw ${wrong.peer}`);
    },
  },
  {
    feature: "externalTrafficPolicy Local: a node without an endpoint stays silent",
    from: ["outside"],
    check: async (clients, vantage, family) => {
      const host = clients.nodeAddress("other node", family);
      const [reply] = await clients.ask(vantage, [
        tcp(host, clients.nodePort("local", "tcp"), { timeoutMs: 1_000 }),
      ]);
      return reply?.error === undefined ? `${reply?.pod} answered` : undefined;
    },
  },
  {
    feature: "externalTrafficPolicy Local: from within the cluster, all endpoints",
    from: inCluster,
    check: (clients, vantage, family) => reaches(clients, vantage, localAddress[family], 80, ["first"]),
  },
  {
    feature: "healthCheckNodePort",
    from: ["node", "outside"],
    check: async (clients, vantage, family) => {
      const questions = (["node", "other node"] as const).map(
        (node): Question => ({ kind: "http", host: clients.nodeAddress(node, family), port: healthPort }),
      );
      const [here, there] = await clients.ask(vantage, questions);
      if (here?.status !== 200) return `with an endpoint: ${here?.error ?? here?.status}`;
      return there?.status === 503 ? undefined : `without one: ${there?.error ?? there?.status}`;
    },
  },
  {
    feature: "internalTrafficPolicy Local",
    from: inCluster,
    check: async (clients, vantage, family) => {
      const host = clients.clusterIP("internal", family);
      if (vantage !== "other node") return await reaches(clients, vantage, host, 80, ["first"]);
      const [reply] = await clients.ask(vantage, [tcp(host, 80, { timeoutMs: 1_000 })]);
      return reply?.error === undefined ? `${reply?.pod} of another node answered` : undefined;
    },
  },
  {
    feature: "session affinity",
    check: async (clients, vantage, family) => {
      const host =
        vantage === "outside" ? clients.nodeAddress("node", family) : clients.clusterIP("sticky", family);
      const port = vantage === "outside" ? clients.nodePort("sticky", "tcp") : 80;
      const replies = await clients.ask(vantage, [tcp(host, port, { times: 12 })]);
      const names = namesOf(replies);
      return errorsOf(replies) ?? (names.includes(" ") ? `${names} answered` : undefined);
    },
  },
  {
    feature: "session affinity ends after its time",
    from: ["pod", "outside"],
    check: async (clients, vantage, family) => {
      const host =
        vantage === "outside" ? clients.nodeAddress("node", family) : clients.clusterIP("sticky", family);
      const port = vantage === "outside" ? clients.nodePort("sticky", "tcp") : 80;
      // Seven times anew: all the same by chance in one of 64 runs, so once more before it counts.
      for (let round = 0; round < 2; round++) {
        const replies = await clients.ask(vantage, [tcp(host, port, { times: 7, pauseMs: 2_300 })]);
        const error = errorsOf(replies);
        if (error !== undefined) return error;
        if (namesOf(replies).includes(" ")) return undefined;
      }
      return "always the same server";
    },
  },
  {
    feature: "loadBalancerSourceRanges",
    from: ["pod", "outside"],
    check: async (clients, vantage, family) => {
      const host = rangedAddress[family];
      if (vantage === "outside") return await reaches(clients, vantage, host, 80);
      const [reply] = await clients.ask(vantage, [tcp(host, 80, { timeoutMs: 1_000 })]);
      return reply?.error === undefined ? `${reply?.pod} served a client outside the ranges` : undefined;
    },
  },
  {
    feature: "topology hints",
    from: inCluster,
    check: (clients, vantage, family) =>
      reaches(clients, vantage, clients.clusterIP("hinted", family), 80, [
        vantage === "other node" ? "second" : "first",
      ]),
  },
  {
    feature: "ending endpoints serve only when no other does",
    from: inCluster,
    check: async (clients, vantage, family) =>
      (await reaches(clients, vantage, clients.clusterIP("ending", family), 80, ["second"])) ??
      (await reaches(clients, vantage, clients.clusterIP("all-ending", family), 80, ["first"])),
  },
  {
    feature: "connections to an ending endpoint live on",
    from: ["pod"],
    check: async (clients, vantage, family) => {
      const host = clients.clusterIP("graceful", family);
      const held = clients.ask(vantage, [{ kind: "hold", host, port: 80, pauseMs: 4_000 }]);
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      const conditions = { ready: false, serving: true, terminating: true };
      const patch = [
        { op: "replace", path: "/endpoints/0/conditions", value: conditions },
        {
          op: "add",
          path: "/endpoints/-",
          value: { addresses: [clients.podAddress("second", family)], conditions: { ready: true } },
        },
      ];
      const slice = `graceful-${family}`;
      await clients.kubectl("patch", "endpointslice", slice, "--type=json", "-p", JSON.stringify(patch));
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const next = await reaches(clients, vantage, host, 80, ["second"]);
      const [reply] = await held;
      return reply?.error ?? (reply?.pod === "first" ? next : `${reply?.pod} was connected`);
    },
  },
  {
    feature: "sockets connected to an endpoint that is gone end at once, TCP and UDP",
    from: ["pod", "node"],
    check: async (clients, vantage, family) => {
      const name = `leaving-${vantage}`;
      const host = clients.clusterIP(name, family);
      const held = (["tcp", "udp"] as const).map((protocol) =>
        clients.ask(vantage, [{ kind: "hold", protocol, host, port: 80, pauseMs: 8_000 }]),
      );
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      const patch = JSON.stringify([{ op: "replace", path: "/endpoints", value: [] }]);
      await clients.kubectl("patch", "endpointslice", `${name}-${family}`, "--type=json", "-p", patch);
      for (const [index, replies] of (await Promise.all(held)).entries()) {
        const { error, ms } = replies[0]!;
        if (error !== "ECONNABORTED" || ms > 6_000)
          return `${["tcp", "udp"][index]}: ${error ?? "it lived on"} after ${ms} ms`;
      }
      return undefined;
    },
  },
  {
    feature: "publishNotReadyAddresses",
    from: ["pod"],
    check: (clients, vantage, family) =>
      reaches(clients, vantage, clients.clusterIP("unready", family), 80, ["unready"]),
  },
  {
    feature: "without endpoints: an error at once",
    check: async (clients, vantage, family) => {
      const host =
        vantage === "outside" ? clients.nodeAddress("node", family) : clients.clusterIP("empty", family);
      const { tcp: one, udp: other } = vantage === "outside" ? ports(clients, "empty") : { tcp: 80, udp: 80 };
      const kind = "connect";
      return await refuses(clients, vantage, [tcp(host, one, { kind }), udp(host, other, { kind })]);
    },
  },
  {
    feature: "named ports, and ports that change",
    from: ["pod"],
    check: async (clients, vantage, family) => {
      const host = clients.clusterIP("named", family);
      const select = async (name: string): Promise<string | undefined> => {
        await clients.kubectl(
          "patch",
          "service",
          "named",
          "-p",
          JSON.stringify({ spec: { selector: { name } } }),
        );
        for (let count = 0; ; count++) {
          const [reply] = await clients.ask(vantage, [tcp(host)]);
          if (reply?.pod === name) return undefined;
          if (count > 20) return reply?.error ?? `${reply?.pod} answered, not ${name}`;
        }
      };
      return (await select("moved")) ?? (await select("first"));
    },
  },
  {
    feature: "service.kubernetes.io/service-proxy-name is left alone",
    from: ["pod", "node"],
    check: async (clients, vantage, family) => {
      const [reply] = await clients.ask(vantage, [
        tcp(clients.clusterIP("others", family), 80, { timeoutMs: 1_000 }),
      ]);
      return reply?.error === undefined ? "it was served" : undefined;
    },
  },
  {
    feature: "a foreign loadBalancerClass gets its ClusterIP and no address",
    from: ["pod"],
    check: async (clients, vantage, family) => {
      const status = await clients.kubectl(
        "get",
        "service",
        "foreign",
        "-o",
        "jsonpath={.status.loadBalancer}",
      );
      if (!["", "{}"].includes(status)) return `its status is ${status}`;
      return await reaches(clients, vantage, clients.clusterIP("foreign", family), 80);
    },
  },
  {
    feature: "headless: names lead to pods",
    from: ["pod"],
    check: async (clients, vantage, family) => {
      const host = "headless.default.svc.cluster.local";
      const [reply] = await clients.ask(vantage, [{ kind: "lookup", host }]);
      const wanted = ["first", "second"].map((pod) => clients.podAddress(pod, family));
      const missing = wanted.filter((address) => !(reply?.addresses ?? []).includes(address));
      return missing.length === 0 ? undefined : (reply?.error ?? `no ${missing}`);
    },
  },
  {
    feature: "a pod reaches itself by its Service",
    from: ["pod"],
    check: (clients, vantage, family) =>
      reaches(clients, vantage, clients.clusterIP("itself", family), 80, ["client"]),
  },
  {
    feature: "the API server's Service",
    from: inCluster,
    check: async (clients, vantage, family) => {
      if (family === "ipv6") return undefined;
      const host = clients.clusterIP("kubernetes", family);
      const [reply] = await clients.ask(vantage, [{ kind: "connect", host, port: 443 }]);
      return reply?.error;
    },
  },
];
