// SPDX-License-Identifier: Apache-2.0
// cilium.io/v2 CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy.
import { hostPrefix } from "../../lib/addresses.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { readBlock } from "./cidr-block.ts";
import { entityNames, isEntity, selectorsOfEntity } from "./entities.ts";
import { icmpType } from "./icmp.ts";
import {
  type Action,
  type Direction,
  type Parsed,
  type Path,
  type Peer,
  type Policy,
  type PortMatch,
  type Problem,
  pathText,
  protocols,
  type Requirement,
  type Rule,
} from "./model.ts";
import { nodesWith } from "./node-peers.ts";
import { readPort } from "./ports.ts";
import { anyPod, isOne, labelKeys, readSelector } from "./selector.ts";

const mostPorts = 40;
const sourced = /^(k8s|reserved|cidr|any|node|unspec):/;
/** Keys without a source are those of any; labels of namespaces are written with or without theirs. */
const endpointKey = (key: string): string => {
  if (sourced.test(key)) return key;
  return key.startsWith("io.kubernetes.pod.namespace") || key.startsWith("io.cilium.k8s.")
    ? `k8s:${key}`
    : `any:${key}`;
};
/** Labels of nodes have a source of their own here, whichever a policy writes. */
const nodeKey = (key: string): string =>
  /^(reserved|cidr|unspec):/.test(key) ? key : `node:${key.replace(sourced, "")}`;

const protocolNumbers: Record<string, readonly number[]> = {
  ANY: [protocols.TCP, protocols.UDP, protocols.SCTP],
  TCP: [protocols.TCP],
  UDP: [protocols.UDP],
  SCTP: [protocols.SCTP],
};

/** Rule fields that are somebody's peers: who they are, and how they are read. */
const peerFields = {
  ingress: ["fromEndpoints", "fromCIDR", "fromCIDRSet", "fromEntities", "fromNodes"],
  egress: ["toEndpoints", "toCIDR", "toCIDRSet", "toEntities", "toServices", "toNodes"],
} as const;

/** What is refused, and why: a policy with it would not do what it says. */
const refused: Record<string, string> = {
  fromRequires: "fromRequires is deprecated and not supported: add the labels to fromEndpoints",
  toRequires: "toRequires is deprecated and not supported: add the labels to toEndpoints",
  fromGroups: "fromGroups (cloud provider groups) is not supported: name CIDRs",
  toGroups: "toGroups (cloud provider groups) is not supported: name CIDRs",
  toFQDNs: "toFQDNs is not supported yet: policies by DNS name are not in force",
  authentication: "authentication is not supported: there is no mutual authentication",
};
const refusedOfPorts: Record<string, string> = {
  terminatingTLS: "terminatingTLS is not supported",
  originatingTLS: "originatingTLS is not supported",
  serverNames: "serverNames is not supported",
  listener: "listener is not supported",
  rules: "rules of layer 7 are not supported yet: they would not be in force",
};

/** Reads an object whose shape its schema has checked. */
export function parseCiliumPolicy(object: KubeObject): Parsed {
  const { name, namespace } = object.metadata;
  const isClusterwide = object.kind === "CiliumClusterwideNetworkPolicy";
  const own = isClusterwide ? undefined : (namespace ?? "default");
  const reader = new Reader(own);
  const specs: [any, Path][] = [
    ...(object.spec == null ? [] : [[object.spec, ["spec"]] as [any, Path]]),
    ...(object.specs ?? []).map((spec: any, index: number): [any, Path] => [spec, ["specs", index]]),
  ];
  if (specs.length === 0) reader.say([], "it has neither spec nor specs");
  const title = `${object.kind} ${own === undefined ? "" : `${own}/`}${name}`;
  const policies = specs.flatMap(([spec, path]) => reader.policy(spec, path, title));
  return reader.problems.length > 0
    ? { policies: [], problems: reader.problems }
    : { policies, problems: [] };
}

class Reader {
  readonly problems: Problem[] = [];
  /** undefined: the whole cluster. */
  readonly #namespace: string | undefined;

  constructor(namespace: string | undefined) {
    this.#namespace = namespace;
  }

  say(path: Path, message: string): void {
    this.problems.push({ path, message });
  }

  policy(spec: any, path: Path, name: string): Policy[] {
    const ofNodes = spec.nodeSelector != null;
    if (ofNodes === (spec.endpointSelector != null)) {
      this.say(path, "it must have one of endpointSelector and nodeSelector");
      return [];
    }
    if (ofNodes && this.#namespace !== undefined)
      this.say(
        [...path, "nodeSelector"],
        "nodeSelector is for CiliumClusterwideNetworkPolicy: nodes have no namespace",
      );
    const subject = ofNodes
      ? readSelector(spec.nodeSelector, nodeKey, [...path, "nodeSelector"], this.problems)
      : this.#subject(spec.endpointSelector, [...path, "endpointSelector"]);
    const rules = (["ingress", "egress"] as const).flatMap((direction) => [
      ...this.#rules(spec, direction, "allow", path),
      ...this.#rules(spec, direction, "deny", path),
    ]);
    const hasRules = (direction: Direction): boolean =>
      (spec[direction] ?? []).length > 0 || (spec[`${direction}Deny`] ?? []).length > 0;
    const isolates = {
      ingress: spec.enableDefaultDeny?.ingress ?? hasRules("ingress"),
      egress: spec.enableDefaultDeny?.egress ?? hasRules("egress"),
    };
    return [{ name, tier: "namespace", priority: 0, subject, ofNodes, isolates, rules }];
  }

  #subject(raw: any, path: Path): Requirement[] {
    const found = readSelector(raw, endpointKey, path, this.problems);
    if (this.#namespace === undefined) return [anyPod, ...found];
    for (const { key, operator, values } of found)
      if (key === labelKeys.namespace && !(operator === "In" && values.includes(this.#namespace)))
        this.say(path, `it selects pods of another namespace than its own, ${this.#namespace}`);
    return [isOne(labelKeys.namespace, this.#namespace), ...found];
  }

  #rules(spec: any, direction: Direction, action: Action, base: Path): Rule[] {
    const field = action === "deny" ? `${direction}Deny` : direction;
    return (spec[field] ?? []).flatMap((raw: any, index: number) => {
      const path = [...base, field, index];
      for (const [key, why] of Object.entries(refused))
        if (raw[key] != null && !(key === "authentication" && raw[key].mode === "disabled"))
          this.say([...path, key], why);
      const ports = this.#ports(raw, path);
      if (spec.nodeSelector != null && direction === "ingress" && ports?.some((port) => "name" in port))
        this.say([...path, "toPorts"], "ports of nodes have no names: write their numbers");
      const named = this.#peers(raw, direction, path);
      // A rule that names neither peers nor ports allows and denies nothing: it only isolates.
      if (named === undefined && ports === undefined) return [];
      const peers = named === "everybody" ? undefined : named;
      return [{ direction, action, peers, ports, at: pathText(path) }];
    });
  }

  /** undefined: the rule does not say. */
  #peers(raw: any, direction: Direction, path: Path): Peer[] | "everybody" | undefined {
    const named = peerFields[direction].filter((key) => raw[key] != null);
    const used = named.filter((key) => raw[key].length > 0);
    if (used.length > 1)
      this.say(path, `${used.join(" and ")} cannot stand in one rule: write a rule for each`);
    if (named.length === 0) return undefined;
    const read = named.flatMap((one) => this.#peersOf(one, raw[one], [...path, one]));
    return read.includes("everybody") ? "everybody" : (read as Peer[]);
  }

  #peersOf(key: (typeof peerFields)[Direction][number], list: any[], path: Path): (Peer | "everybody")[] {
    switch (key) {
      case "fromEndpoints":
      case "toEndpoints":
        return list.map((raw, index) => ({
          kind: "labels",
          selector: this.#endpoints(raw, [...path, index]),
        }));
      case "fromNodes":
      case "toNodes":
        return list.flatMap((raw, index) =>
          nodesWith(readSelector(raw, nodeKey, [...path, index], this.problems)),
        );
      case "fromCIDR":
      case "toCIDR":
        // Also an address may stand there.
        return list.flatMap((text, index) =>
          this.#block({ cidr: text.includes("/") ? text : hostPrefix(text) }, [...path, index]),
        );
      case "fromCIDRSet":
      case "toCIDRSet":
        return list.flatMap((raw, index) => this.#block(raw, [...path, index]));
      case "fromEntities":
      case "toEntities":
        return list.flatMap((name, index) => this.#entity(name, [...path, index]));
      case "toServices":
        return list.flatMap((raw, index) => this.#service(raw, [...path, index]));
    }
  }

  #endpoints(raw: any, path: Path): Requirement[] {
    const found = readSelector(raw, endpointKey, path, this.problems);
    const isScoped = found.some(
      ({ key }) =>
        key === labelKeys.namespace || key.startsWith(labelKeys.ofNamespace) || key.startsWith("reserved:"),
    );
    if (isScoped) return found;
    return [this.#namespace === undefined ? anyPod : isOne(labelKeys.namespace, this.#namespace), ...found];
  }

  #entity(name: string, path: Path): (Peer | "everybody")[] {
    if (!isEntity(name)) {
      this.say(path, `"${name}" is no entity: ${entityNames.join(", ")}`);
      return [];
    }
    return selectorsOfEntity(name)?.map((selector) => ({ kind: "labels", selector })) ?? ["everybody"];
  }

  #block(raw: any, path: Path): Peer[] {
    if (raw.cidrGroupRef != null || raw.cidrGroupSelector != null) {
      this.say(path, "groups of CIDRs are not supported: write the CIDRs");
      return [];
    }
    return readBlock({ ...raw, cidr: raw.cidr ?? "" }, false, path, this.problems);
  }

  #service({ k8sService, k8sServiceSelector }: any, path: Path): Peer[] {
    if ((k8sService == null) === (k8sServiceSelector == null)) {
      this.say(path, "it must have one of k8sService and k8sServiceSelector");
      return [];
    }
    if (k8sService != null) {
      const namespace = k8sService.namespace || this.#namespace;
      if (!k8sService.serviceName || namespace === undefined) {
        this.say([...path, "k8sService"], "it needs serviceName and, in a clusterwide policy, namespace");
        return [];
      }
      return [{ kind: "services", namespace, name: k8sService.serviceName, selector: [] }];
    }
    const at = [...path, "k8sServiceSelector"];
    const selector = readSelector(
      k8sServiceSelector.selector,
      (key) => key,
      [...at, "selector"],
      this.problems,
    );
    return [{ kind: "services", namespace: k8sServiceSelector.namespace || this.#namespace, selector }];
  }

  #ports(raw: any, path: Path): PortMatch[] | undefined {
    if (raw.icmps != null && raw.toPorts != null)
      this.say([...path, "icmps"], "icmps cannot stand beside toPorts: write a rule for each");
    if (raw.icmps?.length > 0)
      return raw.icmps.flatMap(({ fields = [] }: any, index: number) =>
        fields.flatMap((field: any, at: number) =>
          this.#icmp(field, [...path, "icmps", index, "fields", at]),
        ),
      );
    if (!(raw.toPorts?.length > 0)) return undefined;
    if (raw.toServices?.length > 0) this.say([...path, "toPorts"], "toPorts cannot stand beside toServices");
    return raw.toPorts.flatMap((rule: any, index: number) =>
      this.#portRule(rule, [...path, "toPorts", index]),
    );
  }

  #portRule(raw: any, path: Path): PortMatch[] {
    for (const [key, why] of Object.entries(refusedOfPorts))
      if (raw[key] != null && Object.keys(raw[key]).length > 0) this.say([...path, key], why);
    const ports: any[] = raw.ports ?? [];
    if (ports.length > mostPorts)
      this.say([...path, "ports"], `${ports.length} ports are more than ${mostPorts}`);
    return ports.flatMap(({ port, endPort, protocol }, index) => {
      const at = [...path, "ports", index];
      const matched = protocolNumbers[(protocol || "ANY").toUpperCase()];
      if (matched !== undefined)
        return readPort({ port, endPort, isZeroAll: true }, matched, at, this.problems);
      this.say(
        [...at, "protocol"],
        `"${protocol}" is none of ${Object.keys(protocolNumbers).join(", ")} (for ICMP: icmps)`,
      );
      return [];
    });
  }

  #icmp({ family = "IPv4", type }: any, path: Path): PortMatch[] {
    const number = icmpType(family, type);
    if (number === undefined) {
      this.say([...path, "type"], `"${type}" is no type of ${family}'s ICMP (0–255, or its name)`);
      return [];
    }
    return [{ protocol: family === "IPv4" ? protocols.ICMP : protocols.ICMPv6, first: number, last: number }];
  }
}
