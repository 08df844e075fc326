// SPDX-License-Identifier: Apache-2.0
// networking.k8s.io/v1 NetworkPolicy, as its API reference has it.
import type { KubeObject } from "../../lib/kube-object.ts";
import { readBlock } from "./cidr-block.ts";
import {
  type Direction,
  type Parsed,
  type Path,
  type Peer,
  type PortMatch,
  type Problem,
  protocols,
  type Rule,
} from "./model.ts";
import { lastPort, readPort } from "./ports.ts";
import { anyPod, isOne, labelKeys, readSelector } from "./selector.ts";

const podKey = (key: string): string => `k8s:${key}`;
const namespaceKey = (key: string): string => labelKeys.ofNamespace + key;
const numbers: Record<string, number> = { TCP: protocols.TCP, UDP: protocols.UDP, SCTP: protocols.SCTP };

/** Reads an object whose shape its schema has checked. */
export function parseNetworkPolicy(object: KubeObject): Parsed {
  const { namespace = "default", name } = object.metadata;
  const spec = object.spec ?? {};
  const reader = new Reader(namespace);
  const subject = [
    isOne(labelKeys.namespace, namespace),
    ...reader.selector(spec.podSelector, podKey, ["spec", "podSelector"]),
  ];
  // Ingress is isolated unless the types say otherwise, egress when there are rules for it.
  const types: string[] = spec.policyTypes ?? [
    "Ingress",
    ...((spec.egress ?? []).length > 0 ? ["Egress"] : []),
  ];
  const isolates = { ingress: types.includes("Ingress"), egress: types.includes("Egress") };
  const rules = [
    ...(isolates.ingress ? reader.rules("ingress", "from", spec.ingress) : []),
    ...(isolates.egress ? reader.rules("egress", "to", spec.egress) : []),
  ];
  if (reader.problems.length > 0) return { policies: [], problems: reader.problems };
  const policy = {
    ...{ name: `NetworkPolicy ${namespace}/${name}`, tier: "namespace" as const, priority: 0 },
    ...{ subject, ofNodes: false, isolates, rules },
  };
  return { policies: [policy], problems: [] };
}

class Reader {
  readonly problems: Problem[] = [];
  readonly #namespace: string;

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  selector(raw: unknown, keyOf: (key: string) => string, path: Path) {
    return readSelector(raw, keyOf, path, this.problems);
  }

  rules(direction: Direction, peersKey: "from" | "to", raw: any[] | null | undefined): Rule[] {
    return (raw ?? []).map((rule, index) => {
      const path = ["spec", direction, index];
      const peers: any[] = rule?.[peersKey] ?? [];
      const ports: any[] = rule?.ports ?? [];
      return {
        direction,
        action: "allow",
        // No list and an empty one both mean everybody.
        peers:
          peers.length === 0
            ? undefined
            : peers.flatMap((peer, at) => this.#peer(peer, [...path, peersKey, at])),
        ports:
          ports.length === 0
            ? undefined
            : ports.flatMap((port, at) => this.#port(port, [...path, "ports", at])),
        at: `spec.${direction}[${index}]`,
      };
    });
  }

  #peer({ podSelector, namespaceSelector, ipBlock }: any, path: Path): Peer[] {
    if (ipBlock !== undefined) {
      if (podSelector !== undefined || namespaceSelector !== undefined)
        this.problems.push({ path, message: "ipBlock stands alone: a selector beside it is not allowed" });
      return readBlock(ipBlock, true, [...path, "ipBlock"], this.problems);
    }
    if (podSelector === undefined && namespaceSelector === undefined) {
      this.problems.push({
        path,
        message: "it names nobody: podSelector, namespaceSelector or ipBlock is needed",
      });
      return [];
    }
    const where =
      namespaceSelector === undefined
        ? [isOne(labelKeys.namespace, this.#namespace)]
        : [anyPod, ...this.selector(namespaceSelector, namespaceKey, [...path, "namespaceSelector"])];
    const which = this.selector(podSelector, podKey, [...path, "podSelector"]);
    return [{ kind: "labels", selector: [...where, ...which] }];
  }

  #port({ protocol = "TCP", port, endPort }: any, path: Path): PortMatch[] {
    const number = numbers[protocol];
    if (number === undefined) {
      this.problems.push({ path: [...path, "protocol"], message: `"${protocol}" is none of TCP, UDP, SCTP` });
      return [];
    }
    if (port !== undefined) return readPort({ port, endPort }, [number], path, this.problems);
    if (endPort !== undefined)
      this.problems.push({ path: [...path, "endPort"], message: "endPort needs port, as a number" });
    return [{ protocol: number, first: 0, last: lastPort }];
  }
}
