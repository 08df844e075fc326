// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ServiceView } from "../../agent/service-reader.ts";
import { formatTraces, type TraceNode, type TracePath, traceService } from "./service-trace.ts";
import { backend, frontend, webView } from "./testing-service-view.ts";

const node: TraceNode = { name: "n1", services: "on", podNetwork: "active", nodePortRange: [30_000, 32_767] };
const clusterIP = frontend("10.96.0.1", 80, "ClusterIP");
const nodePort = frontend("0.0.0.0", 30_080, "NodePort");
const balanced = frontend("203.0.113.5", 80, "ExternalIP/LoadBalancer", ["source ranges"]);

/** The only frontend's paths by the first words of whom they are for. */
function pathsOf(view: Partial<ServiceView>, at: Partial<TraceNode> = {}) {
  const [trace, ...rest] = traceService(webView(view), { ...node, ...at });
  assert.equal(rest.length, 0);
  const path = (start: string) => trace!.paths.find(({ from }) => from.startsWith(start));
  return { socket: path("a socket"), pod: path("a packet of a pod"), outside: path("a packet from outside") };
}
const shares = (path: TracePath | undefined) =>
  path?.backends.map(({ address, share }) => `${address} ${share.toFixed(2)}`);
const said = (path: TracePath | undefined, pattern: RegExp) =>
  assert.match(path?.steps.join("\n") ?? "", pattern);

describe("a trace", () => {
  test("of a ClusterIP is a socket's alone: each backend is as likely as the other", () => {
    const { socket, pod, outside } = pathsOf({ frontends: [clusterIP] });
    assert.deepEqual([pod, outside], [undefined, undefined]);
    assert.equal(socket?.outcome, "backend");
    assert.deepEqual(shares(socket), ["10.0.0.1 0.50", "10.0.0.2 0.50"]);
    said(socket, /sh_services has 10\.96\.0\.1 port 80 TCP: service 7, generation 3/);
    said(socket, /policy Cluster counts: 2 backends/);
    said(socket, /at random/);
  });

  test("of a NodePort from outside goes by the table, from a socket only when there are weights", () => {
    const view = {
      tableSize: 1000,
      backends: [backend("10.0.0.1", "cluster", 0, 750), backend("10.0.0.2", "cluster", 0, 250)],
    };
    const plain = pathsOf({ ...view, frontends: [nodePort] });
    assert.deepEqual(shares(plain.outside), ["10.0.0.1 0.75", "10.0.0.2 0.25"]);
    assert.deepEqual(shares(plain.socket), ["10.0.0.1 0.50", "10.0.0.2 0.50"]);
    said(plain.outside, /by sh_endpoints \(172\.30\.0\.2\)\n.*but 0\.0\.0\.0 port 30080 TCP/);
    const weighted = { ...nodePort, flags: ["weighted" as const] };
    assert.deepEqual(shares(pathsOf({ ...view, frontends: [weighted] }).socket), [
      "10.0.0.1 0.75",
      "10.0.0.2 0.25",
    ]);
  });

  test("of externalTrafficPolicy Local gives those outside this node's backends, and sockets all", () => {
    const flags = ["externalTrafficPolicy Local" as const];
    const backends = [backend("10.0.0.1", "both"), backend("10.0.0.2")];
    const paths = pathsOf({ frontends: [{ ...nodePort, flags }], backends });
    assert.deepEqual(shares(paths.outside), ["10.0.0.1 1.00"]);
    assert.equal(paths.socket?.backends.length, 2);
    const none = pathsOf({ frontends: [{ ...nodePort, flags }], backends: [backend("10.0.0.2")] });
    assert.equal(none.outside?.outcome, "dropped");
    assert.equal(none.socket?.outcome, "backend");
  });

  test("of internalTrafficPolicy Local without one here is refused", () => {
    const flags = ["internalTrafficPolicy Local" as const];
    const { socket } = pathsOf({ frontends: [{ ...clusterIP, flags }], backends: [backend("10.0.0.2")] });
    assert.equal(socket?.outcome, "refused");
    assert.match(socket.result, /ECONNREFUSED/);
    said(socket, /policy Local counts \(internalTrafficPolicy\): no backends$/);
  });

  test("without backends refuses sockets and answers those outside", () => {
    const { socket, outside } = pathsOf({ frontends: [nodePort], backends: [] });
    assert.deepEqual([socket?.outcome, outside?.outcome], ["refused", "rejected"]);
    assert.match(outside!.result, /a reset/);
    const udp = pathsOf({ frontends: [nodePort], backends: [], protocol: "UDP" });
    assert.match(udp.outside!.result, /port unreachable/);
  });

  test("of SCTP has no socket, and packets of pods", () => {
    const { socket, pod } = pathsOf({ protocol: "SCTP" });
    assert.equal(socket, undefined);
    assert.equal(pod?.outcome, "backend");
    assert.equal(pathsOf({ protocol: "SCTP" }, { podNetwork: "standby" }).pod?.outcome, "not served");
  });

  test("of source ranges says whose address is looked at, and where", () => {
    const paths = pathsOf({ frontends: [balanced], sourceRanges: ["192.0.2.0/24"] });
    said(paths.outside, /its source address \(192\.0\.2\.0\/24\), else it is dropped/);
    said(paths.pod, /its source address \(192\.0\.2\.0\/24\)/);
    said(paths.socket, /a pod's socket is left alone/);
    const standby = pathsOf({ frontends: [balanced] }, { podNetwork: "standby" });
    said(standby.socket, /not asked for, as podNetwork is standby/);
  });

  test("of affinity says by what a client is known", () => {
    const { socket, outside } = pathsOf({ frontends: [nodePort], affinitySeconds: 60 });
    said(socket, /known by its network namespace, .* within 60 s/);
    said(outside, /known by its source address/);
  });

  test("knows modes in which nothing, or not everything, is looked up", () => {
    for (const services of ["off", "shadow"]) {
      const { socket, outside } = pathsOf({ frontends: [nodePort] }, { services });
      assert.deepEqual([socket?.outcome, outside?.outcome], ["not served", "not served"]);
    }
    const { socket, outside } = pathsOf({ frontends: [nodePort] }, { services: "handover" });
    said(outside, /only a packet that begins a connection/);
    assert.ok(!socket?.steps.join().includes("handover"));
  });

  test("knows node ports that are out of range or answer nowhere", () => {
    const far = pathsOf({ frontends: [{ ...nodePort, port: 8080 }] });
    assert.deepEqual([far.outside?.outcome, far.socket?.outcome], ["not served", "backend"]);
    const nowhere = pathsOf({ frontends: [{ ...nodePort, nodeAddresses: [] }] });
    assert.equal(nowhere.outside?.outcome, "not served");
  });

  test("for people is numbered steps and their end", () => {
    const view = webView({ backends: [backend("10.0.0.1", "cluster", 12)] });
    const text = formatTraces(traceService(view, node), node, ["1 of 2 slots are missing in sh_backends"]);
    assert.deepEqual(text.trimEnd().split("\n"), [
      "On node n1 (services: on, podNetwork: active)",
      "",
      "ClusterIP 10.96.0.1:80  (default/web:http/TCP/ipv4)",
      "  From a socket of a pod or of the node itself (connect, or sending a datagram):",
      "    1. sh_services has 10.96.0.1 port 80 TCP: service 7, generation 3",
      "    2. the list of the policy Cluster counts: 1 backend",
      "    3. a new one is chosen at random, each as likely as another",
      "    => backend: it goes to one of these",
      "         10.0.0.1:8080  100.0 %, 12 connections so far",
      "",
      "Not as it should be:",
      "  ! 1 of 2 slots are missing in sh_backends",
    ]);
  });
});
