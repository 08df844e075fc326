// SPDX-License-Identifier: Apache-2.0
// What the programs in bpf/socket.bpf.c and bpf/lib/serve.h do with a connection, in words. Where those change, this must.
import type { BackendView, FlagWord, FrontendView, ServiceView } from "../../agent/service-reader.ts";
import { hostPort } from "../../lib/addresses.ts";
import type { AskedNode } from "./agents.ts";
import { frontendText, serviceTitle } from "./service-summary.ts";

/** The node whose maps are read, and what of its configuration decides. */
export interface TraceNode extends Pick<AskedNode, "name" | "services" | "podNetwork"> {
  nodePortRange: [first: number, last: number];
}

/** How it ends: with a backend, with an error at once, without an answer, or beside the agent. */
type Outcome = "backend" | "refused" | "rejected" | "dropped" | "not served";

/** What one kind of client meets at one address. */
export interface TracePath {
  from: string;
  steps: string[];
  outcome: Outcome;
  /** The outcome in words. */
  result: string;
  /** Whom a new client gets, and how likely. */
  backends: { address: string; port: number; share: number; connections: number }[];
}

export interface FrontendTrace {
  service: string;
  address: string;
  port: number;
  kind: FrontendView["kind"];
  paths: TracePath[];
}

type Client = "socket" | "pod packet" | "outside";

/** What a connection to each address of a service would meet on a node. */
export function traceService(view: ServiceView, node: TraceNode): FrontendTrace[] {
  return view.frontends.map((frontend) => {
    const { address, port, kind } = frontend;
    const paths = clientsOf(view, frontend).map((client) => new Walk(view, frontend, node, client).path());
    return { service: serviceTitle(view), address, port, kind, paths };
  });
}

/** Who comes to this address. Packets from outside have no way to a ClusterIP. */
function clientsOf({ protocol }: ServiceView, { kind, flags }: FrontendView): Client[] {
  const hasSocket = protocol !== "SCTP";
  return [
    ...(hasSocket ? (["socket"] as const) : []),
    ...(!hasSocket || flags.includes("source ranges") ? (["pod packet"] as const) : []),
    ...(kind === "ClusterIP" ? [] : (["outside"] as const)),
  ];
}

const froms: Record<Client, string> = {
  socket: "a socket of a pod or of the node itself (connect, or sending a datagram)",
  "pod packet": "a packet of a pod of this node",
  outside: "a packet from outside the node",
};

/** One client's way, step by step, as the program would go it. */
class Walk {
  readonly #view: ServiceView;
  readonly #frontend: FrontendView;
  readonly #node: TraceNode;
  readonly #client: Client;
  readonly #steps: string[] = [];

  constructor(view: ServiceView, frontend: FrontendView, node: TraceNode, client: Client) {
    this.#view = view;
    this.#frontend = frontend;
    this.#node = node;
    this.#client = client;
  }

  path(): TracePath {
    return this.#passedBy() ?? this.#lookUp() ?? this.#admit() ?? this.#choose();
  }

  #has(flag: FlagWord): boolean {
    return this.#frontend.flags.includes(flag);
  }

  #end(outcome: Outcome, result: string, backends: TracePath["backends"] = []): TracePath {
    return { from: froms[this.#client], steps: this.#steps, outcome, result, backends };
  }

  /** Whether the programs look at it at all. */
  #passedBy(): TracePath | undefined {
    const { services, podNetwork } = this.#node;
    if (services === "off" || services === "shadow")
      return this.#end(
        "not served",
        `services is ${services} on this node: no program looks at the maps, and it is left to kube-proxy`,
      );
    if (this.#client === "pod packet" && podNetwork === "standby")
      return this.#end(
        "not served",
        "podNetwork is standby on this node: packets of pods do not pass the agent's programs",
      );
    if (services === "handover" && this.#client !== "socket" && this.#view.protocol === "TCP")
      this.#steps.push(
        "services is handover: only a packet that begins a connection goes on here; the others are netfilter's",
      );
    return undefined;
  }

  /** Which key is found. */
  #lookUp(): TracePath | undefined {
    const { address, port, kind, nodeAddresses } = this.#frontend;
    const { protocol, id, generation } = this.#view;
    const key = `${address} port ${port} ${protocol}`;
    if (nodeAddresses === undefined) {
      this.#steps.push(`sh_services has ${key}: service ${id}, generation ${generation}`);
      return undefined;
    }
    const own = nodeAddresses.join(", ") || "none";
    const others =
      kind === "HostPort" || this.#client === "outside"
        ? ""
        : "; so do the node addresses of other nodes, by sh_ipcache";
    const loopback = this.#client === "socket" ? "; loopback counts for the node's own processes only" : "";
    this.#steps.push(
      `the address is one of this node's on which such ports answer, by sh_endpoints (${own})${others}${loopback}`,
      `sh_services has no entry of that address itself, but ${key}: service ${id}, generation ${generation}`,
    );
    const [first, last] = this.#node.nodePortRange;
    if (kind === "NodePort" && this.#client !== "socket" && (port < first || port > last))
      return this.#end(
        "not served",
        `port ${port} is outside the range of node ports, ${first}-${last}: the packet goes to the node's own processes`,
      );
    if (nodeAddresses.length === 0 && this.#client === "outside")
      return this.#end(
        "not served",
        "no address of this node answers such ports: the packet goes on as it is",
      );
    return undefined;
  }

  /** Whether the client may use it. */
  #admit(): TracePath | undefined {
    if (!this.#has("source ranges")) return undefined;
    const ranges = this.#view.sourceRanges.join(", ") || "none";
    if (this.#client !== "socket") {
      this.#steps.push(`sh_source_ranges must have its source address (${ranges}), else it is dropped`);
      return undefined;
    }
    this.#steps.push(
      `sh_source_ranges must have the node's address for a process of the node (${ranges}), else it is refused`,
      this.#node.podNetwork === "standby"
        ? "a pod's address is not known here and not asked for, as podNetwork is standby"
        : "a pod's socket is left alone: its packets are judged by their source address, see below",
    );
    return undefined;
  }

  /** Which list of backends counts, and whom it gives. */
  #choose(): TracePath {
    const { affinitySeconds } = this.#view;
    const isLocal = this.#wantsLocal();
    const wanted = isLocal ? "local" : "cluster";
    const list = this.#view.backends.filter(({ policy }) => policy === wanted || policy === "both");
    if (list.length === 0) return this.#unserved(isLocal);
    this.#steps.push(
      `${this.#policyText(isLocal)}: ${list.length} ${list.length === 1 ? "backend" : "backends"}`,
    );
    if (affinitySeconds > 0) this.#steps.push(this.#affinityText());
    const byTable =
      !isLocal && this.#view.tableSize > 0 && (this.#client !== "socket" || this.#has("weighted"));
    this.#steps.push(this.#choiceText(byTable));
    if (this.#client === "outside")
      this.#steps.push(
        "a backend on this node sees the client's address; one on another node sees an address of this node",
      );
    const shareOf = ({ tableEntries }: BackendView): number =>
      byTable ? tableEntries / this.#view.tableSize : 1 / list.length;
    const backends = list.map((backend) => {
      const { address, port, connections } = backend;
      return { address, port, share: shareOf(backend), connections };
    });
    return this.#end("backend", "it goes to one of these", backends);
  }

  #wantsLocal(): boolean {
    return (
      this.#has("internalTrafficPolicy Local") ||
      (this.#client === "outside" && this.#has("externalTrafficPolicy Local"))
    );
  }

  #policyText(isLocal: boolean): string {
    if (isLocal)
      return `the list of the policy Local counts (${this.#has("internalTrafficPolicy Local") ? "internal" : "external"}TrafficPolicy)`;
    const aside = this.#has("externalTrafficPolicy Local")
      ? " (externalTrafficPolicy Local is for clients outside)"
      : "";
    return `the list of the policy Cluster counts${aside}`;
  }

  #affinityText(): string {
    const client = this.#client === "socket" ? "network namespace" : "source address";
    return `a client, known by its ${client}, stays with the backend that it had within ${this.#view.affinitySeconds} s, while sh_members has that`;
  }

  #choiceText(byTable: boolean): string {
    if (byTable)
      return `a new one is chosen by the Maglev table in sh_maglev (${this.#view.tableSize} entries), by a hash of the flow`;
    if (this.#client !== "socket")
      return "a new one is chosen by a hash of the flow, each as likely as another";
    return this.#view.protocol === "UDP"
      ? "a new one is chosen by the socket, each as likely as another; one socket's datagrams stay together"
      : "a new one is chosen at random, each as likely as another";
  }

  #unserved(isLocal: boolean): TracePath {
    const { backends, protocol } = this.#view;
    const isEmpty = backends.length === 0;
    this.#steps.push(
      `${this.#policyText(isLocal)}: ${isEmpty ? "no backends, and the other list has none either" : "no backends"}`,
    );
    if (this.#client === "socket")
      return this.#end("refused", "the call fails at once with ECONNREFUSED (before Linux 5.18: EPERM)");
    if (!isEmpty)
      return this.#end("dropped", "the packet is dropped (DROP_NO_BACKEND), so that a load balancer notices");
    const answer = protocol === "TCP" ? "a reset" : "ICMP port unreachable";
    return this.#end("rejected", `the client is answered with ${answer} (FORWARD_REJECTED)`);
  }
}

/** Traces for people. */
export function formatTraces(
  traces: readonly FrontendTrace[],
  node: TraceNode,
  problems: readonly string[],
): string {
  const lines = [
    `On node ${node.name} (services: ${node.services || "not reported"}, podNetwork: ${node.podNetwork || "not reported"})`,
  ];
  for (const { service, kind, paths, ...frontend } of traces) {
    lines.push("", `${kind} ${frontendText(frontend)}  (${service})`);
    for (const path of paths) lines.push(`  From ${path.from}:`, ...pathLines(path));
  }
  if (problems.length > 0)
    lines.push("", "Not as it should be:", ...problems.map((problem) => `  ! ${problem}`));
  return `${lines.join("\n")}\n`;
}

const mostBackends = 20;

function pathLines({ steps, outcome, result, backends }: TracePath): string[] {
  const shown = backends.slice(0, mostBackends).map(({ address, port, share, connections }) => {
    const percent = `${(100 * share).toFixed(1)} %`;
    return `         ${hostPort(address, port)}  ${percent}, ${connections} connections so far`;
  });
  const more = backends.length - shown.length;
  return [
    ...steps.map((step, index) => `    ${index + 1}. ${step}`),
    `    => ${outcome}: ${result}`,
    ...shown,
    ...(more > 0 ? [`         and ${more} more`] : []),
  ];
}
