// SPDX-License-Identifier: Apache-2.0
// Policies in force on a cluster: who reaches whom, before and after they change.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { layoutVersion } from "../../agent/datapath-layout.ts";
import type { NodeDenial } from "../../bin/cli/policy-audit.ts";
import type { NodeEndpoint } from "../../bin/cli/policy-list.ts";
import { hostPort } from "../../lib/addresses.ts";
import { waitFor } from "../../lib/wait.ts";
import { nodeExec } from "../clusters/index.ts";
import { checkPoliciesOf } from "../conformance/index.ts";
import type { Report } from "../connectivity/index.ts";
import { ClusterUnderTest, idlePod } from "./cluster-under-test.ts";

const name = "e2e-policy";
const [near, far] = [`${name}-worker`, `${name}-worker2`];
const port = 8080;

/** Pods by the name that the tests have for them. */
const places = {
  server: { namespace: "shop", node: near },
  friend: { namespace: "shop", node: far },
  neighbour: { namespace: "other", node: near },
  stranger: { namespace: "other", node: far },
} as const;
type PodName = keyof typeof places;
const names = Object.keys(places) as PodName[];

const policy = (policyName: string, spec: object) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: policyName, namespace: "shop" },
  spec,
});

describe("policies in force on two nodes, dual-stack", () => {
  let cluster: ClusterUnderTest;
  const addresses = new Map<PodName, string[]>();
  let service: string[];

  before(async () => {
    cluster = await ClusterUnderTest.create(name, ["--workers", "2", "--ip-family", "dual"]);
    await cluster.shunt(["install", "--yes", "--set", "modes.policy=enforce"], { timeoutMs: 240_000 });
    for (const namespace of ["shop", "other"]) await cluster.kubectl(["create", "namespace", namespace]);
    const serve = `import http from 'node:http'; http.createServer((q, r) => r.end('ok')).listen(${port}, '::')`;
    const command = ["/usr/local/bin/node", "--input-type=module", "-e", serve];
    const pods = names.map((pod) => {
      const object: any = idlePod(pod, { node: places[pod].node, command });
      object.metadata.namespace = places[pod].namespace;
      object.spec.containers[0].readinessProbe = { httpGet: { path: "/", port }, periodSeconds: 1 };
      return object;
    });
    await cluster.apply(...pods, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "server", namespace: "shop" },
      spec: { selector: { app: "server" }, ipFamilyPolicy: "RequireDualStack", ports: [{ port }] },
    });
    for (const namespace of ["shop", "other"])
      await cluster.kubectl([
        "-n",
        namespace,
        "wait",
        "--for=condition=Ready",
        "pod",
        "--all",
        "--timeout=90s",
      ]);
    for (const pod of names) {
      const { status } = await cluster.get("-n", places[pod].namespace, "pod", pod);
      addresses.set(
        pod,
        status.podIPs.map(({ ip }: { ip: string }) => ip),
      );
    }
    service = (await cluster.get("-n", "shop", "service", "server")).spec.clusterIPs;
  });
  after(async () => await cluster?.delete());

  async function reaches(from: PodName, target: readonly string[]): Promise<boolean[]> {
    const ask = async (address: string): Promise<boolean> => {
      const curl = ["curl", "-sf", "--max-time", "1", `http://${hostPort(address, port)}/`];
      const { exitCode } = await cluster.kubectl(
        ["-n", places[from].namespace, "exec", from, "--", ...curl],
        { allowFailure: true },
      );
      return exitCode === 0;
    };
    return await Promise.all(target.map(ask));
  }

  /** Waits until exactly these reach the server, in both families, directly and by its Service. */
  async function onlyReachedBy(...allowed: PodName[]): Promise<void> {
    const wanted = Object.fromEntries(
      names.slice(1).map((from) => [from, Array.from({ length: 4 }, () => allowed.includes(from))]),
    );
    let found: Record<string, boolean[]> = {};
    const look = async (): Promise<boolean> => {
      const targets = [...addresses.get("server")!, ...service];
      const results = await Promise.all(
        names.slice(1).map(async (from) => [from, await reaches(from, targets)] as const),
      );
      found = Object.fromEntries(results);
      return JSON.stringify(found) === JSON.stringify(wanted);
    };
    await waitFor("policies to be in force", look, { timeoutMs: 15_000, intervalMs: 300 }).catch(() =>
      assert.deepEqual(found, wanted),
    );
  }

  const setMode = (mode: string) =>
    cluster.kubectl([
      ...["patch", "nodes.shunt.dev", near, "--type", "merge"],
      ...["-p", JSON.stringify({ spec: { policy: mode } })],
    ]);
  const denials = async (...words: string[]): Promise<NodeDenial[]> => {
    const report = ["policy", "audit-report", "-n", "shop", "-o", "json", ...words];
    return JSON.parse((await cluster.shunt(report)).stdout).denials;
  };
  const trace = async (from: PodName, ...words: string[]) => {
    const ends = ["--from", `${places[from].namespace}/${from}`, "--to", "shop/server", "--port", `${port}`];
    const { exitCode, stdout } = await cluster.shunt(["policy", "trace", ...ends, ...words], {
      allowFailure: true,
    });
    return { exitCode, stdout };
  };
  /** The objects' verdict, and what the maps of the receiver's node say about its ingress. */
  const traced = async (from: PodName) => {
    const { exitCode, stdout } = await trace(from, "-o", "json");
    const { verdict, maps } = JSON.parse(stdout);
    const ingress = maps.find(({ direction }: any) => direction === "ingress");
    return {
      exitCode,
      verdict,
      node: ingress.node,
      maps: ingress.decision?.verdict,
      rule: ingress.decision?.rule,
    };
  };
  const endpointOf = async (pod: string): Promise<NodeEndpoint | undefined> => {
    const { stdout } = await cluster.shunt(["policy", "endpoints", "-n", "shop", "-o", "json"]);
    return JSON.parse(stdout).endpoints.find((one: NodeEndpoint) => one.pod === pod);
  };
  /** Of the CiliumNetworkPolicy shop/cilium: its line by kubectl, and what is told about the nodes. */
  const toldOfCilium = async (): Promise<{ line: string; nodes: [string, boolean, string, string[]][] }> => {
    const { stdout: line } = await cluster.kubectl(["-n", "shop", "get", "cnp", "cilium", "--no-headers"]);
    const { stdout } = await cluster.shunt(["policy", "get", "shop/cilium", "-o", "json"]);
    const { nodes } = JSON.parse(stdout);
    return {
      line,
      nodes: nodes.map(({ node, inForce, message, pods }: any) => [node, inForce, message, pods]),
    };
  };
  const everybody = names.slice(1);
  const fromFriend = { from: [{ podSelector: { matchLabels: { app: "friend" } } }] };

  test("without a policy everybody reaches everybody", async () => {
    await onlyReachedBy(...everybody);
    for (const { metadata, status } of (await cluster.get("nodes.shunt.dev")).items) {
      const { account, ...policies } = status.layers.policy;
      assert.deepEqual(policies, { mode: "enforce", policies: 0, pods: 0 }, metadata.name);
      assert.deepEqual([account.notInForce, account.more], [[], 0], metadata.name);
    }
    for (const from of names)
      for (const to of names)
        assert.deepEqual(await reaches(from, addresses.get(to)!), [true, true], `${from} -> ${to}`);
  });

  test("a pod that is isolated is reached by its node, and by itself, alone", async () => {
    await cluster.apply(
      policy("deny", { podSelector: { matchLabels: { app: "server" } }, policyTypes: ["Ingress"] }),
    );
    await onlyReachedBy();
    const { addresses: own, identity, labels, ...judged } = (await endpointOf("shop/server"))!;
    assert.deepEqual(own, addresses.get("server"));
    assert.deepEqual([identity >= 256, labels["k8s:app"]], [true, "server"]);
    assert.deepEqual(judged, {
      ...{ node: near, pod: "shop/server", ingress: "enforced", egress: "none" },
      policies: ["NetworkPolicy shop/deny"],
    });
    assert.deepEqual(await reaches("server", addresses.get("server")!), [true, true]);
    for (const address of addresses.get("server")!)
      await nodeExec(name, near, ["curl", "-sf", "--max-time", "2", `http://${hostPort(address, port)}/`]);
    const fromFar = [
      "curl",
      "-sf",
      "--max-time",
      "1",
      `http://${hostPort(addresses.get("server")![0]!, port)}/`,
    ];
    assert.notEqual((await nodeExec(name, far, fromFar, { allowFailure: true })).exitCode, 0);
    // It still gets answers to what it asks.
    assert.deepEqual(await reaches("server", addresses.get("stranger")!), [true, true]);
    assert.deepEqual(await reaches("server", addresses.get("neighbour")!), [true, true]);
  });

  test("who is selected by labels gets in, also when the labels come later", async () => {
    await cluster.apply(
      policy("allow", {
        podSelector: { matchLabels: { app: "server" } },
        ingress: [{ ...fromFriend, ports: [{ port }] }],
      }),
    );
    await onlyReachedBy("friend");
    assert.deepEqual(await traced("friend"), {
      ...{ exitCode: 0, verdict: "allowed", node: near, maps: "allowed" },
      rule: "NetworkPolicy shop/allow spec.ingress[0]",
    });
    const { rule, ...stranger } = await traced("stranger");
    assert.deepEqual(stranger, { exitCode: 0, verdict: "denied", node: near, maps: "denied" });
    assert.match(rule, /^NetworkPolicy shop\/(allow|deny)$/);
    const fromTeam = { from: [{ namespaceSelector: { matchLabels: { team: "a" } } }] };
    await cluster.apply(
      policy("team", { podSelector: { matchLabels: { app: "server" } }, ingress: [fromTeam] }),
    );
    await cluster.kubectl(["label", "namespace", "other", "team=a"]);
    await onlyReachedBy(...everybody);
    await cluster.kubectl(["label", "namespace", "other", "team-"]);
    await onlyReachedBy("friend");
    await cluster.kubectl(["-n", "shop", "label", "pod", "friend", "app=foe", "--overwrite"]);
    await onlyReachedBy();
    await cluster.kubectl(["-n", "shop", "label", "pod", "friend", "app=friend", "--overwrite"]);
    await onlyReachedBy("friend");
    await cluster.kubectl(["-n", "shop", "delete", "networkpolicy", "team"]);
  });

  test("a policy for another port lets nobody in", async () => {
    await cluster.apply(
      policy("allow", {
        podSelector: { matchLabels: { app: "server" } },
        ingress: [{ ...fromFriend, ports: [{ port: port + 1 }] }],
      }),
    );
    await onlyReachedBy();
  });

  test("a policy that cannot be used says so, and what was in force stays so", async () => {
    const object = (fromRequires: object) => ({
      apiVersion: "cilium.io/v2",
      kind: "CiliumNetworkPolicy",
      metadata: { name: "cilium", namespace: "shop" },
      spec: { endpointSelector: { matchLabels: { app: "server" } }, ingress: [fromRequires] },
    });
    await cluster.kubectl(["-n", "shop", "delete", "networkpolicy", "--all"]);
    await cluster.apply(object({ fromEndpoints: [{ matchLabels: { app: "friend" } }] }));
    await onlyReachedBy("friend");
    /** The columns VALID and IN FORCE. */
    const becomes = (...wanted: string[]) =>
      waitFor(
        `VALID and IN FORCE to be ${wanted.join(" and ")}`,
        async () => (await toldOfCilium()).line.trim().split(/ +/).slice(2).join() === wanted.join(),
        { timeoutMs: 15_000 },
      );
    await becomes("True", "True");
    const onNodes = async (): Promise<[string, string, string][]> =>
      (await cluster.get("-n", "shop", "cnp", "cilium")).status.conditions
        .filter(({ type }: any) => type.startsWith("InForce-On-"))
        .map(({ type, reason, message }: any) => [type.replace("InForce-On-", ""), reason, message]);
    const all = [`${name}-control-plane`, near, far];
    assert.deepEqual(
      await onNodes(),
      all.map((node) => [node, "Enforced", "generation 1"]),
    );
    const farMode = (mode: string | null) =>
      cluster.kubectl([
        ...["patch", "nodes.shunt.dev", far, "--type=merge"],
        ...["-p", JSON.stringify({ spec: { policy: mode } })],
      ]);
    await farMode("audit");
    await becomes("True", "False");
    assert.deepEqual((await onNodes())[2], [
      ...[far, "Audited", "generation 1: policies are only audited on this node"],
    ]);
    await farMode(null);
    await cluster.kubectl([
      ...["-n", "shop", "wait", "--for=condition=InForce", "cnp/cilium", "--timeout=15s"],
    ]);
    const placed = (await toldOfCilium()).nodes.filter(([node]) => node === near || node === far);
    assert.deepEqual(placed, [
      [near, true, "", ["shop/server"]],
      [far, true, "", []],
    ]);
    await cluster.apply(object({ fromRequires: [{ matchLabels: { app: "friend" } }] }));
    const health = async () => {
      const { status } = await cluster.get("nodes.shunt.dev", near);
      return status.conditions.find(({ type }: any) => type === "Healthy").message as string;
    };
    await waitFor("the problem to be told", async () => /fromRequires.*stays in force/.test(await health()), {
      timeoutMs: 15_000,
    });
    await becomes("False", "False");
    for (const [node, reason, message] of await onNodes()) {
      assert.equal(reason, "NotInForce", node);
      assert.match(message, /^generation 2: .*fromRequires.*\(the version before it stays in force\)$/);
    }
    const { status } = await cluster.get("-n", "shop", "cnp", "cilium");
    assert.match(status.conditions[0].message, /fromRequires.*stays in force on nodes that knew it/);
    for (const [node, inForce, message] of (await toldOfCilium()).nodes) {
      assert.equal(inForce, false, node);
      assert.match(message, /fromRequires.*the version before it stays in force/);
    }
    const { stdout } = await cluster.shunt(["policy", "list", "-n", "shop"]);
    assert.match(stdout, /CiliumNetworkPolicy +shop +cilium +False +0\/3 +1 +/);
    await onlyReachedBy("friend");
    await cluster.kubectl(["-n", "shop", "delete", "ciliumnetworkpolicy", "cilium"]);
    await onlyReachedBy(...everybody);
  });

  test("nodes are peers: as entities, by their labels, and where the API server is", async () => {
    const cilium = (policyName: string, spec: object) =>
      cluster.apply({
        apiVersion: "cilium.io/v2",
        kind: "CiliumNetworkPolicy",
        metadata: { name: policyName, namespace: "shop" },
        spec,
      });
    const server = { matchLabels: { app: "server" } };
    const ingressFrom = (peers: object) => cilium("nodes", { endpointSelector: server, ingress: [peers] });
    /** From a node, over each family. */
    const nodeReaches = async (node: string): Promise<boolean[]> =>
      await Promise.all(
        addresses.get("server")!.map(async (address) => {
          const curl = ["curl", "-sf", "--max-time", "1", `http://${hostPort(address, port)}/`];
          return (await nodeExec(name, node, curl, { allowFailure: true })).exitCode === 0;
        }),
      );
    const control = `${name}-control-plane`;
    const reached = async (...expected: string[]): Promise<void> => {
      let found: string[] = [];
      const look = async () => {
        found = [];
        for (const node of [far, control]) if ((await nodeReaches(node)).every(Boolean)) found.push(node);
        return found.join() === expected.join();
      };
      await waitFor("nodes to reach it", look, { timeoutMs: 15_000, intervalMs: 300 }).catch(() =>
        assert.deepEqual(found, expected),
      );
    };
    await ingressFrom({ fromEntities: ["remote-node"] });
    await onlyReachedBy();
    await reached(far, control);
    await ingressFrom({ fromEntities: ["world"] });
    await reached();
    await ingressFrom({ fromEntities: ["kube-apiserver"] });
    await reached(control);
    await cluster.kubectl(["label", "node", far, "rack=a"]);
    await ingressFrom({ fromNodes: [{ matchLabels: { rack: "a" } }] });
    await reached(far);
    await onlyReachedBy();
    await cluster.kubectl(["label", "node", far, "rack=b", "--overwrite"]);
    await reached();
    await cluster.kubectl(["-n", "shop", "delete", "ciliumnetworkpolicy", "nodes"]);
    await onlyReachedBy(...everybody);

    const friend = { matchLabels: { app: "friend" } };
    const asks = async (url: string): Promise<boolean> => {
      const ask = ["exec", "friend", "--", "curl", "-sk", "--max-time", "2", "-o", "/dev/null", url];
      return (await cluster.kubectl(["-n", "shop", ...ask], { allowFailure: true })).exitCode === 0;
    };
    const [apiServer] = (await cluster.get("service", "kubernetes")).spec.clusterIPs;
    await cilium("out", { endpointSelector: friend, egress: [{ toEntities: ["kube-apiserver"] }] });
    await onlyReachedBy("neighbour", "stranger");
    assert.equal(await asks(`https://${hostPort(apiServer, 443)}/version`), true);
    await cilium("out", { endpointSelector: friend, egress: [{ toEntities: ["world"] }] });
    await waitFor(
      "the API server to be out of reach",
      async () => !(await asks(`https://${hostPort(apiServer, 443)}/version`)),
      {
        timeoutMs: 15_000,
      },
    );
    await cluster.kubectl(["-n", "shop", "delete", "ciliumnetworkpolicy", "out"]);
    await onlyReachedBy(...everybody);
  });

  test("a policy about nodes judges what the node itself gets and sends, from pods, nodes and through the tunnel", async () => {
    const { status } = await cluster.get("node", near);
    const internal: { type: string; address: string }[] = status.addresses;
    const own = internal.filter(({ type }) => type === "InternalIP").map(({ address }) => address);
    const metrics = 9962;
    const aboutNear = (spec: object) =>
      cluster.apply({
        apiVersion: "cilium.io/v2",
        kind: "CiliumClusterwideNetworkPolicy",
        metadata: { name: "host" },
        spec: { nodeSelector: { matchLabels: { "kubernetes.io/hostname": near } }, ...spec },
      });
    const asks = (address: string, at: number) => [
      "curl",
      "-sf",
      "--max-time",
      "1",
      "-o",
      "/dev/null",
      `http://${hostPort(address, at)}/metrics`,
    ];
    const succeeds = async (asked: Promise<{ exitCode: number }>) => (await asked).exitCode === 0;
    /** Over each family. */
    const fromPod = (pod: PodName) =>
      own.map((address) =>
        succeeds(
          cluster.kubectl(["-n", places[pod].namespace, "exec", pod, "--", ...asks(address, metrics)], {
            allowFailure: true,
          }),
        ),
      );
    const fromNode = (node: string, to: readonly string[], at: number) =>
      to.map((address) => succeeds(nodeExec(name, node, asks(address, at), { allowFailure: true })));
    const becomes = async (what: string, asked: () => Promise<boolean>[], expected: boolean) => {
      const look = async () => (await Promise.all(asked())).every((one) => one === expected);
      await waitFor(`${what}: ${expected}`, look, { timeoutMs: 15_000, intervalMs: 300 });
    };
    const everyPod = async (expected: Record<Exclude<PodName, "server">, boolean>) => {
      for (const [pod, passes] of Object.entries(expected))
        await becomes(`${pod} to ${near}`, () => fromPod(pod as PodName), passes);
    };
    // Behind a tunnel pods reach other nodes under their own node's address: they are that node.
    const everyone = { friend: true, neighbour: true, stranger: true };
    await everyPod(everyone);
    const other = { matchLabels: { "k8s:io.kubernetes.pod.namespace": "other" } };
    const toPorts = [{ ports: [{ port: String(metrics), protocol: "TCP" }] }];
    await aboutNear({
      ingress: [{ fromEntities: ["all"] }],
      ingressDeny: [{ fromEndpoints: [other], toPorts }],
    });
    await everyPod({ ...everyone, neighbour: false });

    // Isolated: the API server's node is let in, and of pods one namespace.
    const egressDeny = [{ toEndpoints: [{ matchLabels: { ...other.matchLabels, "k8s:app": "stranger" } }] }];
    const control = `${name}-control-plane`;
    const someNodes = { fromEntities: ["kube-apiserver"] };
    await aboutNear({
      ...{ ingress: [someNodes, { fromEndpoints: [other], toPorts }], egressDeny },
      egress: [{ toEntities: ["cluster"] }],
    });
    await everyPod({ friend: false, neighbour: true, stranger: false });
    await becomes(`${far} to ${near}`, () => fromNode(far, own, metrics), false);
    await becomes(`${control} to ${near}`, () => fromNode(control, own, metrics), true);
    // Nor does anybody get in by the address that the link has.
    const { stdout: shown } = await nodeExec(name, near, [
      "ip",
      "-o",
      "-6",
      "address",
      "show",
      "scope",
      "link",
    ]);
    const { stdout: route } = await nodeExec(name, far, ["ip", "-o", "route", "get", own[0]!]);
    const device = /dev (\S+)/.exec(route)![1]!;
    const local = new RegExp(`^\\d+: ${device} +inet6 (fe80:\\S+)/`, "m").exec(shown)![1]!;
    const byLink = (node: string) => [
      succeeds(nodeExec(name, node, asks(`${local}%25${device}`, metrics), { allowFailure: true })),
    ];
    await becomes("by its link", () => byLink(far), false);
    await becomes("to the stranger", () => fromNode(near, addresses.get("stranger")!, port), false);
    await becomes("to the neighbour", () => fromNode(near, addresses.get("neighbour")!, port), true);
    await becomes("to the friend", () => fromNode(near, addresses.get("friend")!, port), true);
    // Pods behind the node go on as before, and its kubelet is reached.
    await onlyReachedBy(...everybody);
    const { stdout: told } = await cluster.shunt(["policy", "endpoints", "--node", near, "-o", "json"]);
    const host = JSON.parse(told).endpoints.find(({ pod }: NodeEndpoint) => pod === "host");
    assert.deepEqual(
      [host.identity, host.ingress, host.policies],
      [1, "enforced", ["CiliumClusterwideNetworkPolicy host"]],
    );
    const traceToNode = ["policy", "trace", "--to", `node:${near}`, "--port", String(metrics), "-o", "json"];
    for (const [from, verdict] of [
      ["other/neighbour", "allowed"],
      [`node:${control}`, "allowed"],
      [`node:${far}`, "denied"],
      ["192.0.2.1", "denied"],
    ] as const) {
      const { exitCode, stdout } = await cluster.shunt([...traceToNode, "--from", from], {
        allowFailure: true,
      });
      const traced = JSON.parse(stdout);
      const [maps] = traced.maps.filter(({ direction }: any) => direction === "ingress");
      assert.deepEqual(
        [exitCode, traced.verdict, maps.node, maps.decision.verdict],
        [0, verdict, near, verdict],
        from,
      );
    }
    const { stdout: denied } = await cluster.shunt(["policy", "audit-report", "--denied", "-o", "json"]);
    const ofHost = JSON.parse(denied).denials.filter(({ pod }: NodeDenial) => pod === "host");
    const denials = ofHost.map(({ direction, peer }: NodeDenial) => `${direction} ${peer.name}`);
    for (const one of [`ingress node:${far}`, "egress other/stranger"])
      assert.ok(denials.includes(one), denials.join());
    // Whoever forgets to let the node out can still take that back: the agent reaches the API server.
    await aboutNear({ egressDeny });
    await becomes("to the neighbour", () => fromNode(near, addresses.get("neighbour")!, port), false);
    await cluster.kubectl(["delete", "ciliumclusterwidenetworkpolicy", "host"]);
    await becomes("to the neighbour", () => fromNode(near, addresses.get("neighbour")!, port), true);
    await everyPod(everyone);
    await becomes("by its link", () => byLink(far), true);
    await becomes("to the stranger", () => fromNode(near, addresses.get("stranger")!, port), true);
  });

  test("policies as guides have them work; those of layer 7 and by DNS name are refused, and weaken nothing", async () => {
    const file = join(import.meta.dirname, "guide-policies.yaml");
    await cluster.kubectl(["create", "namespace", "production"]);
    const serve = `import http from 'node:http'; for (const at of [${port}, 9090]) http.createServer((q, r) => r.end('ok')).listen(at, '::')`;
    const command = ["/usr/local/bin/node", "--input-type=module", "-e", serve];
    const pods = ["backend", "frontend", "other"].map((pod) => {
      const object: any = idlePod(pod, { node: pod === "backend" ? near : far, command });
      object.metadata.namespace = "production";
      return object;
    });
    await cluster.apply(...pods);
    const inProduction = (...words: string[]) =>
      cluster.kubectl(["-n", "production", ...words], { allowFailure: true });
    await inProduction("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s");
    const { status } = await cluster.get("-n", "production", "pod", "backend");
    const own: string[] = status.podIPs.map(({ ip }: { ip: string }) => ip);
    const asks = async (from: string, address: string, at: number): Promise<boolean> => {
      const curl = ["curl", "-sf", "--max-time", "1", `http://${hostPort(address, at)}/`];
      return (await inProduction("exec", from, "--", ...curl)).exitCode === 0;
    };
    const isRight = async (): Promise<boolean> => {
      const found = await Promise.all(
        own.flatMap((address) => [
          asks("frontend", address, port),
          ...[
            asks("frontend", address, 9090),
            asks("other", address, port),
            asks("other", address, 9090),
          ].map(async (one) => !(await one)),
        ]),
      );
      return found.every(Boolean);
    };
    const conditions = async () => {
      const { items } = await cluster.get("ciliumnetworkpolicies", "-A");
      return items.map(({ metadata, status: told }: any) => [
        metadata.name,
        told?.conditions?.[0]?.status,
        /layer 7|toFQDNs/.test(told?.conditions?.[0]?.message ?? ""),
      ]);
    };
    await cluster.kubectl(["apply", "-f", file]);
    await waitFor("the policies to be in force", isRight, { timeoutMs: 15_000, intervalMs: 300 });
    const refused = [
      "egress-only-api",
      "allow-api-read-only",
      "allow-get-health-only",
      "restrict-external-dns",
    ];
    const expected = JSON.stringify(refused.map((one) => [one, "False", true]).toSorted());
    await waitFor(
      "the others to be refused",
      async () => JSON.stringify((await conditions()).toSorted()) === expected,
      { timeoutMs: 15_000 },
    );
    assert.equal(await isRight(), true);
    const { exitCode, stdout } = await cluster.shunt(["policy", "validate", "-f", file], {
      allowFailure: true,
    });
    assert.equal(exitCode, 1);
    assert.match(stdout, /\n2 of 6 policies are valid\n/);
    await cluster.kubectl(["delete", "-f", file]);
    await cluster.kubectl(["delete", "namespace", "production", "--wait=false"]);
  });

  test("an admin's policies go before those of namespaces, and the baseline after them", async () => {
    const inNamespace = (namespace: string) => ({
      namespaces: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
    });
    const admin = (kind: string, policyName: string, spec: object) =>
      cluster.apply({
        ...{ apiVersion: "policy.networking.k8s.io/v1alpha1", kind, metadata: { name: policyName } },
        spec: { subject: inNamespace("shop"), ...spec },
      });
    const from = (action: string, ...peers: object[]) => ({ ingress: [{ action, from: peers }] });
    await admin("BaselineAdminNetworkPolicy", "default", from("Deny", inNamespace("other")));
    await onlyReachedBy("friend");
    await cluster.apply(policy("open", { podSelector: { matchLabels: { app: "server" } }, ingress: [{}] }));
    await onlyReachedBy(...everybody);
    const stranger = {
      pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "stranger" } } },
    };
    await admin("AdminNetworkPolicy", "no-strangers", { priority: 5, ...from("Deny", stranger) });
    await onlyReachedBy("friend", "neighbour");
    await admin("AdminNetworkPolicy", "but", { priority: 4, ...from("Pass", inNamespace("other")) });
    await onlyReachedBy(...everybody);
    assert.equal((await traced("stranger")).rule, "NetworkPolicy shop/open spec.ingress[0]");
    const { stdout } = await cluster.shunt(["policy", "list"]);
    for (const line of ["AdminNetworkPolicy +- +but", "BaselineAdminNetworkPolicy +- +default"])
      assert.match(stdout, new RegExp(`^${line} +True +3/3 +2 `, "m"));

    // ClusterNetworkPolicy is of both tiers. Of the same priority AdminNetworkPolicy goes first.
    const ofCluster = (policyName: string, tier: string, priority: number, rule: object) =>
      cluster.apply({
        ...{ apiVersion: "policy.networking.k8s.io/v1alpha2", kind: "ClusterNetworkPolicy" },
        metadata: { name: policyName },
        spec: { tier, priority, subject: inNamespace("shop"), ingress: [rule] },
      });
    const noStrangers = {
      ...{ action: "Deny", from: [stranger] },
      protocols: [{ tcp: { destinationPort: { number: port } } }],
    };
    await ofCluster("no-strangers", "Admin", 3, noStrangers);
    await onlyReachedBy("friend", "neighbour");
    assert.equal((await traced("stranger")).rule, "ClusterNetworkPolicy no-strangers spec.ingress[0]");
    await ofCluster("no-strangers", "Admin", 4, noStrangers);
    await onlyReachedBy(...everybody);
    await cluster.kubectl(["delete", "adminnetworkpolicies", "--all"]);
    await onlyReachedBy("friend", "neighbour");
    await cluster.kubectl(["-n", "shop", "delete", "networkpolicy", "--all"]);
    await onlyReachedBy("friend");
    await ofCluster("others", "Baseline", 1, { action: "Pass", from: [inNamespace("other")] });
    await onlyReachedBy("friend", "neighbour");
    assert.equal((await traced("neighbour")).rule, "ClusterNetworkPolicy others spec.ingress[0]");
    await ofCluster("nobody", "Baseline", 0, { action: "Deny", from: [{ namespaces: {} }] });
    await onlyReachedBy();
    const list = (await cluster.shunt(["policy", "list"])).stdout;
    for (const one of ["no-strangers", "nobody", "others"])
      assert.match(list, new RegExp(`^ClusterNetworkPolicy +- +${one} +True +3/3 +2 `, "m"));
    await cluster.kubectl(["delete", "clusternetworkpolicies", "--all"]);
    await cluster.kubectl(["delete", "baselineadminnetworkpolicies", "--all"]);
    await onlyReachedBy(...everybody);

    // Networks are addresses, whoever has them: here one of two that a pod has.
    const targets = [...addresses.get("server")!, ...service];
    const [ipv4] = targets.filter((one) => !one.includes(":"));
    const egress = [{ action: "Deny", to: [{ networks: [`${ipv4}/32`] }] }];
    await admin("AdminNetworkPolicy", "one-address", { priority: 1, subject: inNamespace("other"), egress });
    for (const from of ["neighbour", "stranger"] as const)
      await waitFor(
        `${from} to reach the other address alone`,
        async () => (await reaches(from, targets)).every((ok, index) => ok === targets[index]!.includes(":")),
        { timeoutMs: 15_000, intervalMs: 300 },
      );
    assert.deepEqual(
      await reaches("friend", targets),
      targets.map(() => true),
    );
    await cluster.kubectl(["delete", "adminnetworkpolicies", "--all"]);
    await onlyReachedBy(...everybody);
  });

  test("audit lets everything pass and counts it", async () => {
    await cluster.apply(
      policy("deny", { podSelector: { matchLabels: { app: "server" } }, policyTypes: ["Ingress"] }),
    );
    await onlyReachedBy();
    const compare = async () => {
      const { exitCode, stdout } = await cluster.shunt(["policy", "compare", "-o", "json"], {
        allowFailure: true,
      });
      return { exitCode, ...JSON.parse(stdout) };
    };
    const agreed = await compare();
    assert.deepEqual([agreed.exitCode, agreed.differences, agreed.errors], [0, [], []]);
    assert.ok(agreed.denied >= 2 && agreed.tried === agreed.policies, JSON.stringify(agreed));
    await setMode("audit");
    await onlyReachedBy(...everybody);
    const differing = await compare();
    assert.deepEqual([differing.exitCode, differing.differences.length], [1, agreed.denied]);
    for (const { to, port: asked, policies, network } of differing.differences) {
      assert.match(to, /^shop\/server /);
      assert.deepEqual([asked, policies, network], [port, "denied", "open"]);
    }
    assert.match((await trace("stranger")).stdout, /denied, and let through: only audited/);
    assert.equal((await endpointOf("shop/server"))!.ingress, "audited");
    const { stdout } = await nodeExec(name, near, ["curl", "-sf", "http://127.0.0.1:9962/metrics"]);
    assert.match(stdout, /reason="AUDITED"\} [1-9]/);
    const told = await denials();
    const [own] = addresses.get("stranger")!;
    const ofStranger = told.find(({ peer }) => peer.address === own);
    assert.deepEqual(
      { ...ofStranger, packets: 0, lastSeen: "", peer: ofStranger?.peer.name },
      {
        ...{
          node: near,
          pod: "shop/server",
          direction: "ingress",
          peer: "other/stranger",
          port: `${port}/TCP`,
        },
        ...{ verdict: "audited", packets: 0, lastSeen: "", rule: "NetworkPolicy shop/deny" },
      },
    );
    assert.deepEqual(new Set(told.map(({ verdict }) => verdict)), new Set(["audited"]));
    const audited = async () =>
      (await cluster.get("nodes.shunt.dev", near)).status.layers.policy.audited as any;
    await waitFor("the node to report it", async () => (await audited())?.count >= 3, { timeoutMs: 20_000 });
    assert.match((await audited()).examples.join("\n"), /^shop\/server, ingress from other\/stranger \(/m);
    await setMode("enforce");
    await onlyReachedBy();
    assert.deepEqual(await denials(), []);
    assert.ok((await denials("--denied")).some(({ peer }) => peer.name === "other/stranger"));
    assert.equal(await audited(), undefined);
    // One namespace, or some of its pods, where the rest is enforced.
    const annotate = (text: string) =>
      cluster.kubectl(["annotate", "namespace", "shop", `shunt.dev/policy-audit${text}`]);
    await annotate("=app=server");
    await onlyReachedBy(...everybody);
    assert.equal((await endpointOf("shop/server"))!.ingress, "audited");
    await waitFor("the node to report it", async () => (await audited())?.count >= 3, { timeoutMs: 20_000 });
    await annotate("-");
    await onlyReachedBy();
    await waitFor("the report to end", async () => (await audited()) === undefined, { timeoutMs: 20_000 });
    await setMode("off");
    await onlyReachedBy(...everybody);
    assert.match((await trace("stranger")).stdout, /policies are off there/);
    await setMode("enforce");
    await onlyReachedBy();
  });

  test("maps that say something else than the objects are found out", async () => {
    const pin = ["pinned", `/sys/fs/bpf/shunt/${layoutVersion}/maps/sh_policy_of`];
    const { stdout } = await nodeExec(name, near, ["bpftool", "-j", "map", "dump", ...pin]);
    const entries: { key: string[]; value: string[] }[] = JSON.parse(stdout);
    const judged = entries.filter(({ value }) => value.some((byte) => Number(byte) !== 0));
    assert.ok(judged.length > 0);
    const zero = ["0", "0", "0", "0"];
    for (const { key } of judged)
      await nodeExec(name, near, ["bpftool", "map", "update", ...pin, "key", ...key, "value", ...zero]);
    const { exitCode, stdout: said } = await trace("stranger");
    assert.equal(exitCode, 1);
    assert.match(
      said,
      /maps of \S+-worker, ingress of shop\/server: allowed: .* \(DIFFERS from the objects\)/,
    );
    for (const mode of ["audit", "enforce"]) await setMode(mode);
    await onlyReachedBy();
    assert.equal((await trace("stranger")).exitCode, 0);
  });

  test("what a pod sends is judged too, by where it goes behind a Service", async () => {
    await cluster.kubectl(["-n", "shop", "delete", "networkpolicy", "--all"]);
    await onlyReachedBy(...everybody);
    const egress = [{ to: [{ podSelector: { matchLabels: { app: "server" } } }] }];
    await cluster.apply(
      policy("out", { podSelector: { matchLabels: { app: "friend" } }, policyTypes: ["Egress"], egress }),
    );
    await waitFor(
      "egress to be judged",
      async () => JSON.stringify(await reaches("friend", addresses.get("stranger")!)) === "[false,false]",
      { timeoutMs: 15_000 },
    );
    await onlyReachedBy(...everybody);
    await cluster.apply(
      policy("out", { podSelector: { matchLabels: { app: "friend" } }, policyTypes: ["Egress"], egress: [] }),
    );
    await onlyReachedBy("neighbour", "stranger");
    await cluster.kubectl(["-n", "shop", "delete", "networkpolicy", "--all"]);
    await onlyReachedBy(...everybody);
  });

  test("policies stay in force while there is no agent, and a new agent goes on", async () => {
    await cluster.apply(
      policy("allow", { podSelector: { matchLabels: { app: "server" } }, ingress: [fromFriend] }),
    );
    await onlyReachedBy("friend");
    const { stdout } = await nodeExec(name, near, ["pgrep", "-f", "bin/agent.ts"]);
    await nodeExec(name, near, ["kill", "-KILL", ...stdout.trim().split("\n")]);
    for (let looks = 0; looks < 5; looks++) {
      assert.deepEqual(await reaches("stranger", addresses.get("server")!), [false, false]);
      assert.deepEqual(await reaches("friend", addresses.get("server")!), [true, true]);
    }
    await cluster.shunt(["status", "--wait"]);
    await onlyReachedBy("friend");
  });

  test("a pod that starts is judged from its first packet on", async () => {
    const late: any = idlePod("late", { node: near, labels: { app: "server" } });
    late.metadata.namespace = "shop";
    const serve = `import http from 'node:http'; http.createServer((q, r) => r.end('ok')).listen(${port}, '::')`;
    late.spec.containers[0].command = ["/usr/local/bin/node", "--input-type=module", "-e", serve];
    await cluster.apply(late);
    await cluster.kubectl(["-n", "shop", "wait", "--for=condition=Ready", "pod/late", "--timeout=60s"]);
    const { status } = await cluster.get("-n", "shop", "pod", "late");
    const own = status.podIPs.map(({ ip }: { ip: string }) => ip);
    assert.deepEqual(await reaches("stranger", own), [false, false]);
    await waitFor("its server", async () => (await reaches("friend", own)).every(Boolean), {
      timeoutMs: 10_000,
    });
  });

  test("recipes hold packet by packet, over every protocol; where a node only audits, that is seen", async () => {
    const check = (only: string, settleMs?: number) =>
      checkPoliciesOf(cluster, {
        ...{ only, signal: AbortSignal.timeout(120_000), progress: () => undefined },
        ...(settleMs === undefined ? {} : { settleMs }),
      });
    const found = await check("recipe");
    assert.deepEqual([found.cases, found.differences], [14, 0], JSON.stringify(found.failures.slice(0, 5)));
    await setMode("audit");
    const audited = await check("recipe: deny all to a namespace", 1_500);
    assert.ok(audited.differences > 0);
    assert.equal(audited.failures[0]!.expected, "denied");
    await setMode("enforce");
  });

  test("the connectivity test's scenarios of policies pass", async () => {
    // Conformance tries NetworkPolicy cell by cell: of that kind a few are enough.
    const tests = ["^policy-(deny|entities|clusterwide)/", "^network-policy/all-"];
    const words = tests.flatMap((pattern) => ["--test", pattern]);
    const { stdout, exitCode } = await cluster.shunt(["connectivity", "test", "-o", "json", ...words], {
      timeoutMs: 300_000,
      allowFailure: true,
    });
    const { summary, tests: found } = JSON.parse(stdout) as Report;
    const cases = found.flatMap((one) => one.cases);
    const others = cases.filter(({ outcome }) => outcome !== "passed");
    assert.deepEqual([others, exitCode], [[], 0]);
    assert.ok(summary.scenarios.passed >= 30, JSON.stringify(summary));
    const left = await cluster.get(
      "networkpolicies,ciliumnetworkpolicies,ciliumclusterwidenetworkpolicies",
      "-A",
    );
    assert.deepEqual(
      left.items.filter(({ metadata }: any) => /shunt-test/.test(metadata.namespace ?? metadata.name)),
      [],
    );
  });
});
