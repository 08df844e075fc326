// SPDX-License-Identifier: Apache-2.0
// Our side of the bench `policy`: a node with real maps, and a cluster in memory.
import type { KubeObject } from "../../lib/kube-object.ts";
import type { BenchContext, PolicyNode, PolicySources } from "./bench.ts";
import { FedInformer } from "./fed-informer.ts";
import { isOn, type MadePolicies, nodeName } from "./made-policies.ts";

export const ownNode = nodeName(0);
/** Those below are reserved. */
const firstIdentity = 256;

/** A node and what its agent reads. */
export class PolicySide {
  readonly made: MadePolicies;
  readonly #context: BenchContext;
  readonly #name: string;
  readonly #sources: PolicySources;
  readonly #labelsOf: (pod: KubeObject) => Record<string, string>;
  readonly #numbered = new Set<string>();
  #node: PolicyNode | undefined;
  /** Called when an object has changed. */
  onDirty: () => void = () => undefined;

  constructor(context: BenchContext, name: string, made: MadePolicies) {
    this.#context = context;
    this.#name = name;
    this.made = made;
    this.#sources = feed(made);
    const { namespaces } = this.#sources;
    this.#labelsOf = (pod) => context.parts.policies.labelsOf(pod, namespaces.get(pod.metadata.namespace!)!);
    for (const pod of made.pods) this.#giveNumber(pod);
  }

  get node(): PolicyNode {
    if (this.#node === undefined) throw new Error(`${this.#name} is not open`);
    return this.#node;
  }

  async open(): Promise<void> {
    this.#node = this.#context.parts.policies.node({
      name: this.#name,
      nodeName: ownNode,
      nodes: this.made.nodes,
      sources: this.#sources,
      // As the API server tells it: a little later.
      createIdentity: (object) => void setImmediate(() => this.#sources.identities.put(object)),
      onDirty: () => this.onDirty(),
    });
    await this.#node.open();
  }

  /** Returns the milliseconds. */
  sync(): number {
    const start = performance.now();
    this.node.sync();
    return performance.now() - start;
  }

  /** Changes a pod's labels; the numbers of other nodes' pods are made by their agents. */
  change(pod: KubeObject): void {
    this.#sources.pods.put(pod);
    if (!isOn(pod, ownNode)) setImmediate(() => this.#giveNumber(pod));
  }

  async close(): Promise<void> {
    await this.#node?.close();
  }

  #giveNumber(pod: KubeObject): void {
    const labels = this.#labelsOf(pod);
    const text = JSON.stringify(labels);
    if (this.#numbered.has(text)) return;
    this.#numbered.add(text);
    const { identities } = this.#sources;
    let number = firstIdentity + identities.items.size;
    while (identities.get(String(number)) !== undefined) number++;
    identities.put({ metadata: { name: String(number) }, spec: { labels } });
  }
}

function feed(made: MadePolicies): PolicySources {
  const informer = (objects: readonly KubeObject[]): FedInformer => {
    const one = new FedInformer();
    for (const object of objects) one.put(object);
    return one;
  };
  const kinds = ["NetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"];
  return {
    pods: informer(made.pods),
    namespaces: informer(made.namespaces),
    nodes: informer([]),
    services: informer(made.services),
    slices: informer(made.slices),
    identities: new FedInformer(),
    policies: kinds.map((kind) => informer(made.policies.filter((one) => one.kind === kind))),
  };
}
