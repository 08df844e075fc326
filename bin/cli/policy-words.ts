// SPDX-License-Identifier: Apache-2.0
// What policies say, in words.
import type { Peer, Policy, PortMatch, Requirement, Rule, Selector } from "../../agent/policy/model.ts";
import { protocols } from "../../agent/policy/model.ts";
import { nodeLabelSource } from "../../agent/policy/node-peers.ts";
import { lastPort } from "../../agent/policy/ports.ts";
import { labelKeys } from "../../agent/policy/selector.ts";

const protocolNames = new Map<number, string>(
  Object.entries(protocols).map(([name, number]) => [number, name]),
);
const anyProtocol = ["TCP", "UDP", "SCTP"];

/** "pods app=web in namespace shop". */
export function subjectWords({ ofNodes, subject }: Policy): string {
  return ofNodes && subject.length === 0 ? "all nodes" : selectorWords(subject);
}

/** "allow ingress from pods app=web in namespace shop on 8080/TCP". */
export function ruleWords({ action, direction, peers, ports }: Rule): string {
  const preposition = direction === "ingress" ? "from" : "to";
  const who = peers === undefined ? "everybody" : listed(peers.map(peerWords), "or", "nobody");
  const what = ports === undefined ? "" : ` on ${listed(portWords(ports), "and", "no port")}`;
  return `${action} ${direction} ${preposition} ${who}${what}`;
}

function listed(words: readonly string[], last: string, none: string): string {
  if (words.length <= 1) return words[0] ?? none;
  return `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

function peerWords(peer: Peer): string {
  if (peer.kind === "labels") return selectorWords(peer.selector);
  if (peer.kind === "network") return peer.cidr.text;
  if (peer.kind === "cidr") {
    const except =
      peer.except.length === 0 ? "" : ` except ${peer.except.map(({ text }) => text).join(", ")}`;
    return `${peer.cidr.text}${except}`;
  }
  const { namespace, name, selector } = peer;
  const where = namespace === undefined ? "of any namespace" : `in namespace ${namespace}`;
  if (name !== undefined) return `what is behind Service ${name} ${where}`;
  return `what is behind Services ${selector.map(requirementWords).join(", ") || "of any name"} ${where}`;
}

function selectorWords(selector: Selector): string {
  if (selector.length === 0) return "everybody";
  const reserved = selector.filter(({ key }) => key.startsWith("reserved:"));
  const ofNodes = selector.filter(({ key }) => key.startsWith(nodeLabelSource));
  if (reserved.length + ofNodes.length === selector.length) {
    const who = reserved.map(({ key }) => key.slice("reserved:".length)).join(" ") || "nodes";
    return ofNodes.length === 0 ? who : `${who} with ${ofNodes.map(requirementWords).join(", ")}`;
  }
  const own: string[] = [];
  const where: string[] = [];
  for (const one of selector) {
    const { key, operator, values } = one;
    if (key === labelKeys.namespace && operator === "Exists") continue;
    if (key === labelKeys.namespace && operator === "In")
      where.push(`in namespace ${listed(values, "or", "none")}`);
    else if (key.startsWith(labelKeys.ofNamespace))
      where.push(
        `in namespaces with ${requirementWords({ ...one, key: key.slice(labelKeys.ofNamespace.length) })}`,
      );
    else if (key === labelKeys.serviceAccount && operator === "In")
      where.push(`with service account ${listed(values, "or", "none")}`);
    else own.push(requirementWords(one));
  }
  return [own.length === 0 ? "all pods" : `pods ${own.join(", ")}`, ...where].join(" ");
}

function requirementWords({ key, operator, values }: Requirement): string {
  const name = key.replace(/^(any|k8s|node):/, "");
  if (operator === "Exists") return name;
  if (operator === "DoesNotExist") return `!${name}`;
  const [only] = values;
  if (operator === "In") return values.length === 1 ? `${name}=${only}` : `${name} in (${values.join(", ")})`;
  return values.length === 1 ? `${name}!=${only}` : `${name} not in (${values.join(", ")})`;
}

/** Each port once, with its protocols: without them it is that of any. */
function portWords(ports: readonly PortMatch[]): string[] {
  const found = new Map<string, string[]>();
  for (const port of ports) {
    const protocol = protocolNames.get(port.protocol) ?? String(port.protocol);
    const text = protocol.startsWith("ICMP") ? `${protocol} type ${numberWords(port)}` : numberWords(port);
    found.set(text, [...(found.get(text) ?? []), protocol]);
  }
  return [...found].map(([text, names]) => {
    if (names[0]!.startsWith("ICMP") || anyProtocol.every((name) => names.includes(name))) return text;
    return `${text}/${names.join("+")}`;
  });
}

function numberWords(port: PortMatch): string {
  if ("name" in port) return port.name;
  const { first, last } = port;
  if (first <= 1 && last === lastPort) return "any port";
  return first === last ? String(first) : `${first}–${last}`;
}
