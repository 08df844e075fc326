// SPDX-License-Identifier: Apache-2.0
// policy.networking.k8s.io: v1alpha1 AdminNetworkPolicy and BaselineAdminNetworkPolicy, and v1alpha2 ClusterNetworkPolicy, which
// is both in one, as their API reference has them.
import { parseCidr } from "../../lib/addresses.ts";
import { errorMessage } from "../../lib/errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import {
  type Action,
  type Direction,
  type Parsed,
  type Path,
  type Peer,
  type PortMatch,
  type Problem,
  protocols,
  type Rule,
  type Tier,
} from "./model.ts";
import { nodeLabelSource, nodesWith } from "./node-peers.ts";
import { isPortName, readPort } from "./ports.ts";
import { anyPod, labelKeys, readSelector } from "./selector.ts";

const numbers: Record<string, number> = { TCP: protocols.TCP, UDP: protocols.UDP, SCTP: protocols.SCTP };
/** What has no priority goes after all that has one. */
const afterPriorities = 1001;
/** The only name that a baseline may have: there is one in a cluster. */
const baselineName = "default";

/** In what the kinds differ: their tier, and the words for what a rule does. */
function formOf({ kind, spec }: KubeObject): { tier: Tier; actions: Record<string, Action> } {
  if (kind === "AdminNetworkPolicy")
    return { tier: "admin", actions: { Allow: "allow", Deny: "deny", Pass: "pass" } };
  if (kind === "BaselineAdminNetworkPolicy")
    return { tier: "baseline", actions: { Allow: "allow", Deny: "deny" } };
  const tier = spec.tier === "Admin" ? "admin" : "baseline";
  return { tier, actions: { Accept: "allow", Deny: "deny", Pass: "pass" } };
}

/** Reads an object whose shape its schema has checked. */
export function parseAdminPolicy(object: KubeObject): Parsed {
  const { kind, metadata, spec } = object;
  const { tier, actions } = formOf(object);
  const reader = new Reader(actions);
  if (kind === "BaselineAdminNetworkPolicy" && metadata.name !== baselineName)
    reader.say(["metadata", "name"], `there is one baseline, and its name is "${baselineName}"`);
  const subject = reader.pods(spec.subject, ["spec", "subject"]);
  const rules = [...reader.rules("ingress", "from", spec), ...reader.rules("egress", "to", spec)];
  if (reader.problems.length > 0) return { policies: [], problems: reader.problems };
  const policy = {
    ...{ name: `${kind} ${metadata.name}`, tier, priority: spec.priority ?? afterPriorities },
    ...{ subject, ofNodes: false, isolates: { ingress: false, egress: false }, rules },
  };
  return { policies: [policy], problems: [] };
}

class Reader {
  readonly problems: Problem[] = [];
  readonly #actions: Record<string, Action>;

  constructor(actions: Record<string, Action>) {
    this.#actions = actions;
  }

  say(path: Path, message: string): void {
    this.problems.push({ path, message });
  }

  /** Pods of namespaces, or some of them: exactly one of both is to be said. */
  pods({ namespaces, pods }: any, path: Path) {
    if ((namespaces === undefined) === (pods === undefined))
      this.say(path, "it must have one of namespaces and pods");
    const ofNamespace = (raw: unknown, at: Path) =>
      readSelector(raw, (key) => labelKeys.ofNamespace + key, at, this.problems);
    if (pods === undefined) return [anyPod, ...ofNamespace(namespaces, [...path, "namespaces"])];
    return [
      anyPod,
      ...ofNamespace(pods.namespaceSelector, [...path, "pods", "namespaceSelector"]),
      ...readSelector(
        pods.podSelector,
        (key) => `k8s:${key}`,
        [...path, "pods", "podSelector"],
        this.problems,
      ),
    ];
  }

  rules(direction: Direction, peersKey: "from" | "to", spec: any): Rule[] {
    return (spec[direction] ?? []).map((raw: any, index: number): Rule => {
      const path = ["spec", direction, index];
      const action = this.#actions[raw.action];
      if (action === undefined)
        this.say([...path, "action"], `must be one of ${Object.keys(this.#actions).join(", ")}`);
      if (raw[peersKey].length === 0) this.say([...path, peersKey], "it needs at least one peer");
      const ports: any[] = raw.ports ?? [];
      const protocols: any[] = raw.protocols ?? [];
      const named = protocols.findIndex((one) => one.destinationNamedPort !== undefined);
      if (
        named >= 0 &&
        raw[peersKey].some((one: any) => one.namespaces === undefined && one.pods === undefined)
      )
        this.say(
          [...path, "protocols", named, "destinationNamedPort"],
          "only ports of pods have names: no other peer can stand beside it",
        );
      const hasNetworks = raw[peersKey].some(({ networks }: any) => networks !== undefined);
      for (const [at, { namedPort }] of ports.entries())
        if (hasNetworks && namedPort !== undefined)
          this.say([...path, "ports", at, "namedPort"], "ports of networks have no names");
      return {
        ...{ direction, action: action ?? "deny" },
        peers: raw[peersKey].flatMap((peer: any, at: number) =>
          this.#peer(peer, direction, [...path, peersKey, at]),
        ),
        ports:
          ports.length + protocols.length === 0
            ? undefined
            : [
                ...ports.flatMap((port, at) => this.#port(port, [...path, "ports", at])),
                ...protocols.flatMap((one, at) => this.#protocol(one, [...path, "protocols", at])),
              ],
        at: `spec.${direction}[${index}]`,
      };
    });
  }

  #peer(raw: any, direction: Direction, path: Path): Peer[] {
    if (raw.domainNames !== undefined) {
      this.say([...path, "domainNames"], "names are not supported");
      return [];
    }
    if (direction === "ingress" || (raw.nodes === undefined && raw.networks === undefined))
      return [{ kind: "labels", selector: this.pods(raw, path) }];
    if (Object.keys(raw).length > 1)
      this.say(path, "it must have one of namespaces, pods, nodes and networks");
    if (raw.networks !== undefined) return this.#networks(raw.networks, [...path, "networks"]);
    const labels = readSelector(raw.nodes, (key) => nodeLabelSource + key, [...path, "nodes"], this.problems);
    return nodesWith(labels);
  }

  #networks(texts: readonly string[], path: Path): Peer[] {
    return texts.flatMap((text, index): Peer[] => {
      const at = [...path, index];
      if (texts.indexOf(text) < index) this.say(at, `${text} is there already`);
      try {
        // parseCidr would take ::ffff:10.0.0.0/8 for 10.0.0.0/8, and the API server takes it for nothing.
        if (text.includes(":") && text.includes("."))
          throw new Error(`"${text}" is not a CIDR of one family`);
        return [{ kind: "network", cidr: parseCidr(text) }];
      } catch (error) {
        this.say(at, errorMessage(error));
        return [];
      }
    });
  }

  #port({ portNumber, namedPort, portRange }: any, path: Path): PortMatch[] {
    const said = [portNumber, namedPort, portRange].filter((one) => one !== undefined);
    if (said.length !== 1) {
      this.say(path, "it must have one of portNumber, portRange and namedPort");
      return [];
    }
    if (namedPort !== undefined) return this.#namedPort(namedPort, [...path, "namedPort"]);
    const [key, { protocol = "TCP" }] =
      portNumber === undefined ? (["portRange", portRange] as const) : (["portNumber", portNumber] as const);
    const number = numbers[protocol];
    if (number === undefined) {
      this.say([...path, key, "protocol"], `"${protocol}" is none of TCP, UDP, SCTP`);
      return [];
    }
    if (key === "portNumber")
      return readPort({ port: portNumber.port }, [number], [...path, key], this.problems);
    if (portRange.end < portRange.start)
      this.say([...path, key, "end"], `${portRange.end} is before its start`);
    return readPort(
      { port: portRange.start, endPort: portRange.end },
      [number],
      [...path, key],
      this.problems,
    );
  }

  /** Of ClusterNetworkPolicy. */
  #protocol({ destinationNamedPort, ...byProtocol }: any, path: Path): PortMatch[] {
    if (destinationNamedPort !== undefined)
      return this.#namedPort(destinationNamedPort, [...path, "destinationNamedPort"]);
    const [[name, { destinationPort }]] = Object.entries<any>(byProtocol) as [[string, any]];
    const protocol = numbers[name.toUpperCase()]!;
    const { number, range } = destinationPort;
    if (range === undefined) return [{ protocol, first: number, last: number }];
    if (range.end <= range.start)
      this.say(
        [...path, name, "destinationPort", "range", "end"],
        `${range.end} is not after its start, ${range.start}`,
      );
    return [{ protocol, first: range.start, last: range.end }];
  }

  /** Of any protocol. A number is no name: no port of a pod is called so. */
  #namedPort(name: string, path: Path): PortMatch[] {
    if (!isPortName(name)) this.say(path, `"${name}" is no port's name`);
    return Object.values(numbers).map((protocol) => ({ protocol, name }));
  }
}
