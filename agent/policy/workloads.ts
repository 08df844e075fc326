// SPDX-License-Identifier: Apache-2.0
// Which pods there are, by what labels policies know them, and which number that is.
import type { Informer } from "../../lib/kube-informer.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { End, NamedPort } from "./decide.ts";
import { reservedIdentities } from "./entities.ts";
import { identityText, labelsOfIdentity, relevantLabels } from "./identity.ts";
import { namedPorts, podLabels } from "./labels.ts";
import type { Labels } from "./model.ts";
import type { Identity } from "./peer-index.ts";

/** A pod with a network of its own that runs, or soon will. */
export interface Workload extends End {
  key: string;
  uid: string;
  node: string;
  addresses: readonly string[];
  labels: Labels;
  /** Text of its labels, as `identityText` has it. */
  text: string;
}

/** Takes out of a pod what no policy asks for: an agent that judges keeps all pods of the cluster. */
export function forgetMostOfPod(pod: KubeObject): void {
  const { name, namespace, uid, labels, resourceVersion } = pod.metadata;
  const ports = (containers: any[] = []) =>
    containers.filter((one) => one.ports?.length > 0).map((one) => ({ ports: one.ports }));
  const { nodeName, hostNetwork, serviceAccountName, containers, initContainers } = pod.spec ?? {};
  pod.metadata = {
    ...{ name, namespace, uid, resourceVersion },
    ...(labels === undefined ? {} : { labels }),
  } as KubeObject["metadata"];
  pod.spec = { nodeName, hostNetwork, serviceAccountName, containers: ports(containers) };
  if (initContainers !== undefined) pod.spec.initContainers = ports(initContainers);
  const { phase, podIPs } = pod.status ?? {};
  pod.status = { phase, podIPs };
}

/** Reserved identities that are neither nodes nor the world, with the labels of each. */
function reservedPeers(): Identity[] {
  const one = (...names: (keyof typeof reservedIdentities)[]): Identity => ({
    id: reservedIdentities[names[0]!],
    labels: new Map(names.map((name) => [`reserved:${name}`, ""])),
    ports: [],
  });
  return [one("health"), one("unmanaged")];
}

/** All pods and numbers as of now. */
export class Workloads {
  readonly all: readonly Workload[];
  readonly #numbers = new Map<string, number[]>();

  constructor(
    sources: { pods: Informer; namespaces: Informer; identities: Informer },
    selectedBy: ReadonlySet<string>,
  ) {
    this.all = sources.pods.list().flatMap((pod): Workload[] => {
      const { phase, podIPs = [] } = pod.status ?? {};
      if (pod.spec?.hostNetwork === true || phase === "Succeeded" || phase === "Failed") return [];
      const namespace = sources.namespaces.get(pod.metadata.namespace ?? "default");
      const labels = relevantLabels(podLabels(pod, namespace), selectedBy);
      return [
        {
          key: `${pod.metadata.namespace}/${pod.metadata.name}`,
          uid: pod.metadata.uid ?? "",
          node: pod.spec?.nodeName ?? "",
          addresses: podIPs.map(({ ip }: { ip: string }) => ip),
          labels,
          ports: namedPorts(pod),
          text: identityText(labels),
        },
      ];
    });
    for (const object of sources.identities.list()) {
      const text = identityText(labelsOfIdentity(object));
      const numbers = this.#numbers.get(text) ?? [];
      numbers.push(Number(object.metadata.name));
      this.#numbers.set(
        text,
        numbers.toSorted((a, b) => a - b),
      );
    }
  }

  /** The number of these labels: the lowest, where two nodes made one each. */
  numberOf(text: string): number | undefined {
    return this.#numbers.get(text)?.[0];
  }

  /** Whom policies can name, without nodes and prefixes. */
  identities(): Identity[] {
    const found = new Map<string, { labels: Labels; ports: Map<string, NamedPort> }>();
    for (const { text, labels, ports } of this.all) {
      const known = found.get(text) ?? { labels, ports: new Map<string, NamedPort>() };
      for (const port of ports) known.ports.set(`${port.name}/${port.protocol}/${port.port}`, port);
      found.set(text, known);
    }
    const identities = reservedPeers();
    for (const [text, { labels, ports }] of found)
      for (const id of this.#numbers.get(text) ?? [])
        identities.push({ id, labels, ports: [...ports.values()] });
    return identities;
  }

  /** Numbers by address, of the pods of other nodes. */
  elsewhere(ownNode: string): Map<string, number> {
    const found = new Map<string, number>();
    for (const { node, addresses, text } of this.all) {
      const number = node === ownNode ? undefined : this.numberOf(text);
      if (number !== undefined) for (const address of addresses) found.set(address, number);
    }
    return found;
  }
}
