// SPDX-License-Identifier: Apache-2.0
// Which pods there are, by what labels policies know them, and which number that is.
import { type Informer, objectKey } from "../../lib/kube-informer.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Attachment } from "../endpoint-store.ts";
import { isAudited } from "./audited-pods.ts";
import type { End, NamedPort } from "./decide.ts";
import { reservedIdentities } from "./entities.ts";
import { type IsUsual, identityText, relevantLabels, textOfIdentity } from "./identity.ts";
import { namedPorts, podLabels } from "./labels.ts";
import type { Labels } from "./model.ts";
import { type Identity, sameSet } from "./peer-index.ts";

/** A pod with a network of its own that runs, or soon will. */
export interface Workload extends End {
  key: string;
  uid: string;
  node: string;
  addresses: readonly string[];
  labels: Labels;
  /** Text of its labels, as `identityText` has it. */
  text: string;
  /** What policies deny it is counted, and passes. */
  isAudited: boolean;
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

/** Pods with the same labels. */
interface Group {
  labels: Labels;
  pods: Set<Workload>;
}

/** Identities that are no more, and that are new. One whose ports changed is both. */
export interface IdentityChange {
  removed: readonly Identity[];
  added: readonly Identity[];
}

/** All pods and numbers as of the last `update`, which looks only at what has changed since. */
export class Workloads {
  readonly #sources: { pods: Informer; namespaces: Informer; identities: Informer };
  readonly #nodeName: string;
  readonly #isUsual: IsUsual;
  readonly #byKey = new Map<string, Workload>();
  readonly #byUid = new Map<string, Workload>();
  readonly #ofOwnNode = new Set<Workload>();
  readonly #groups = new Map<string, Group>();
  /** Text of labels by number, and the other way around. */
  readonly #texts = new Map<number, string>();
  readonly #numbers = new Map<string, number[]>();
  readonly #identities = new Map<string, readonly Identity[]>();
  /** What has changed, by key; the texts of before and after are found when it is looked at. */
  readonly #changedPods = new Set<string>();
  readonly #changedNamespaces = new Set<string>();
  readonly #changedNumbers = new Set<string>();
  #selectedBy: ReadonlySet<string> = new Set();
  #isNew = true;
  #byAddress: ReadonlyMap<string, Workload> | undefined;
  #elsewhere: ReadonlyMap<string, number> | undefined;

  constructor(
    sources: { pods: Informer; namespaces: Informer; identities: Informer },
    nodeName: string,
    isUsual: IsUsual,
  ) {
    this.#sources = sources;
    this.#nodeName = nodeName;
    this.#isUsual = isUsual;
    sources.pods.onChange(({ object }) => this.#changedPods.add(objectKey(object)));
    sources.namespaces.onChange(({ object }) => this.#changedNamespaces.add(objectKey(object)));
    sources.identities.onChange(({ object }) => this.#changedNumbers.add(objectKey(object)));
  }

  /** The pods of this node. */
  get ofOwnNode(): Iterable<Workload> {
    return this.#ofOwnNode;
  }

  /** The pod that has an address. */
  at(address: string): Workload | undefined {
    this.#byAddress ??= new Map(
      [...this.#byKey.values()].flatMap((one) => one.addresses.map((text) => [text, one] as const)),
    );
    return this.#byAddress.get(address);
  }

  /** The pod of an endpoint: a static pod has another uid at the API server than on its node. */
  of({ podUid, podNamespace, podName }: Attachment): Workload | undefined {
    return this.#byUid.get(podUid) ?? this.#byKey.get(`${podNamespace}/${podName}`);
  }

  /** The number of these labels: the lowest, where two nodes made one each. */
  numberOf(text: string): number | undefined {
    return this.#numbers.get(text)?.[0];
  }

  /** Where pods with these labels are; undefined: nowhere. */
  placeOf(text: string): "here" | "elsewhere" | undefined {
    const group = this.#groups.get(text);
    if (group === undefined) return undefined;
    return [...group.pods].some(({ node }) => node === this.#nodeName) ? "here" : "elsewhere";
  }

  /** Numbers by address, of the pods of other nodes. The same map until one changes. */
  get elsewhere(): ReadonlyMap<string, number> {
    if (this.#elsewhere !== undefined) return this.#elsewhere;
    const found = new Map<string, number>();
    for (const { node, addresses, text } of this.#byKey.values()) {
      const number = node === this.#nodeName ? undefined : this.numberOf(text);
      if (number !== undefined) for (const address of addresses) found.set(address, number);
    }
    this.#elsewhere = found;
    return found;
  }

  /** `selectedBy`: keys of labels that policies ask for and that would not count otherwise. */
  update(selectedBy: ReadonlySet<string>): IdentityChange {
    if (!sameSet(selectedBy, this.#selectedBy))
      for (const key of this.#byKey.keys()) this.#changedPods.add(key);
    this.#selectedBy = selectedBy;
    if (this.#changedNamespaces.size > 0)
      for (const pod of this.#sources.pods.list())
        if (this.#changedNamespaces.has(pod.metadata.namespace ?? "default"))
          this.#changedPods.add(objectKey(pod));
    if (this.#changedPods.size > 0) this.#byAddress = undefined;
    if (this.#changedPods.size > 0 || this.#changedNumbers.size > 0) this.#elsewhere = undefined;
    const touched = new Set<string>();
    for (const key of this.#changedPods) this.#readPod(key, touched);
    for (const name of this.#changedNumbers) this.#readNumber(name, touched);
    for (const changed of [this.#changedPods, this.#changedNamespaces, this.#changedNumbers]) changed.clear();
    const change = { removed: [] as Identity[], added: this.#isNew ? reservedPeers() : [] };
    this.#isNew = false;
    for (const text of touched) this.#remake(text, change);
    return change;
  }

  #readPod(key: string, touched: Set<string>): void {
    const before = this.#byKey.get(key);
    if (before !== undefined) {
      touched.add(before.text);
      if (this.#byUid.get(before.uid) === before) this.#byUid.delete(before.uid);
      this.#ofOwnNode.delete(before);
      const group = this.#groups.get(before.text)!;
      group.pods.delete(before);
      if (group.pods.size === 0) this.#groups.delete(before.text);
    }
    const workload = this.#workloadOf(this.#sources.pods.get(key));
    if (workload === undefined) {
      this.#byKey.delete(key);
      return;
    }
    const { uid, text, labels, node } = workload;
    touched.add(text);
    this.#byKey.set(key, workload);
    this.#byUid.set(uid, workload);
    if (node === this.#nodeName) this.#ofOwnNode.add(workload);
    const group = this.#groups.get(text) ?? { labels, pods: new Set() };
    this.#groups.set(text, group);
    group.pods.add(workload);
  }

  #workloadOf(pod: KubeObject | undefined): Workload | undefined {
    const { phase, podIPs = [] } = pod?.status ?? {};
    if (pod === undefined || pod.spec?.hostNetwork === true || phase === "Succeeded" || phase === "Failed")
      return undefined;
    const namespace = this.#sources.namespaces.get(pod.metadata.namespace ?? "default");
    const labels = relevantLabels(podLabels(pod, namespace), this.#selectedBy, this.#isUsual);
    return {
      key: `${pod.metadata.namespace}/${pod.metadata.name}`,
      uid: pod.metadata.uid ?? "",
      node: pod.spec?.nodeName ?? "",
      addresses: podIPs.map(({ ip }: { ip: string }) => ip),
      labels,
      ports: namedPorts(pod),
      text: identityText(labels),
      isAudited: isAudited(pod, namespace),
    };
  }

  #readNumber(name: string, touched: Set<string>): void {
    const number = Number(name);
    const before = this.#texts.get(number);
    if (before !== undefined) {
      touched.add(before);
      this.#texts.delete(number);
      const others = this.#numbers.get(before)!.filter((one) => one !== number);
      if (others.length === 0) this.#numbers.delete(before);
      else this.#numbers.set(before, others);
    }
    const object = this.#sources.identities.get(name);
    if (object === undefined) return;
    const text = textOfIdentity(object);
    touched.add(text);
    this.#texts.set(number, text);
    const numbers = [...(this.#numbers.get(text) ?? []), number];
    this.#numbers.set(
      text,
      numbers.toSorted((a, b) => a - b),
    );
  }

  /** Whom policies can name by these labels. */
  #remake(text: string, change: { removed: Identity[]; added: Identity[] }): void {
    const group = this.#groups.get(text);
    const before = this.#identities.get(text) ?? [];
    const ports = portsOf(group?.pods ?? []);
    const isSame = ({ ports: known }: Identity) => JSON.stringify(known) === JSON.stringify(ports);
    const now = (group === undefined ? [] : (this.#numbers.get(text) ?? [])).map(
      (id) => before.find((one) => one.id === id && isSame(one)) ?? { id, labels: group!.labels, ports },
    );
    change.removed.push(...before.filter((one) => !now.includes(one)));
    change.added.push(...now.filter((one) => !before.includes(one)));
    if (now.length === 0) this.#identities.delete(text);
    else this.#identities.set(text, now);
  }
}

/** The ports that pods give names to, each once, in one order. */
function portsOf(pods: Iterable<Workload>): NamedPort[] {
  const ports = new Map<string, NamedPort>();
  for (const pod of pods)
    for (const port of pod.ports) ports.set(`${port.name}/${port.protocol}/${port.port}`, port);
  return [...ports].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, port]) => port);
}
