// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../lib/errors.ts";
import { type Change, type Informer, objectKey } from "../../lib/kube-informer.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Logger } from "../../lib/log.ts";
import { policyHost } from "../datapath-layout.ts";
import type { Endpoint } from "../endpoint-store.ts";
import { auditProblem } from "./audited-pods.ts";
import { BehindServices } from "./behind-services.ts";
import { CompiledSubjects } from "./compiled-subjects.ts";
import type { DenialSources } from "./denials.ts";
import { reservedIdentities } from "./entities.ts";
import {
  type IdentityAllocator,
  type IsUsual,
  identityText,
  labelsOfIdentity,
  usualLabels,
} from "./identity.ts";
import { accountOf } from "./in-force.ts";
import type { LastValid, PolicyVersions } from "./last-valid.ts";
import { type Parsed, type Policy, pathText } from "./model.ts";
import {
  addressesOfNode,
  apiServerAddresses,
  hostName,
  isOfApiServer,
  NodePeers,
  type NodesAsPeers,
  reachesApiServer,
} from "./node-peers.ts";
import { type Identity, PeerIndex, type ServicesPeer, sameSet } from "./peer-index.ts";
import { PolicyIndex } from "./policy-index.ts";
import type { EndpointJudgement, PolicyProblem, PolicyState } from "./policy-state.ts";
import { type EndpointPolicy, type PolicyMaps, PolicyTable } from "./policy-table.ts";
import type { PolicyAccount } from "./policy-views.ts";
import { PrefixNumbers } from "./prefix-numbers.ts";
import { isPolicy, parsePolicy } from "./validate.ts";
import { type IdentityChange, type Workload, Workloads } from "./workloads.ts";

export interface PolicyInformers {
  pods: Informer;
  namespaces: Informer;
  identities: Informer;
  nodes: Informer;
  services: Informer;
  slices: Informer;
  /** Of every kind of policy. */
  policies: readonly Informer[];
}

/** So long after a failure a number is asked for again. */
const askAgainMs = 1_000;

/** Follows policies and pods, and keeps what this node's pods are judged by. */
export class PolicyController {
  readonly #informers: PolicyInformers;
  readonly #nodeName: string;
  readonly #identities: IdentityAllocator;
  readonly #log: Logger;
  readonly #onDirty: () => void;
  readonly #isUsual: IsUsual;
  readonly #parsed = new WeakMap<KubeObject, Parsed>();
  /** What each object says, or said when it could last be used; by uid. */
  #inForce: ReadonlyMap<string, readonly Policy[]> = new Map();
  /** The objects that say so, and those that the agent before had kept in force. */
  #valid: PolicyVersions = new Map();
  #left: PolicyVersions | undefined;
  readonly #lastValid: Pick<LastValid, "read" | "write"> | undefined;
  /** The same as in force, as it came into the maps. */
  #applied: ReadonlyMap<string, readonly Policy[]> = new Map();
  /** undefined: to be read again. */
  #policies: PolicyIndex | undefined;
  /** Keys of labels that they ask for. */
  #selectedKeys: ReadonlySet<string> = new Set();
  readonly #workloads: Workloads;
  readonly #behind: BehindServices;
  /** Services that policies name, and what is behind them that is no pod: prefixes of single addresses. */
  #services: readonly ServicesPeer[] = [];
  #behindServices: ReadonlySet<string> = new Set();
  readonly #peers: PeerIndex;
  readonly #compiled = new CompiledSubjects();
  #prefixes = new PrefixNumbers();
  readonly #nodePeers = new NodePeers();
  /** Nodes as policies know them, undefined: to be read again; and those that are in the maps. */
  #nodes: NodesAsPeers | undefined;
  #writtenNodes: readonly Identity[] = [];
  /** Nodes and prefixes of which the index knows. */
  #otherPeers: ReadonlySet<Identity> = new Set();
  #table: PolicyTable | undefined;
  #audit = true;
  #problems: readonly PolicyProblem[] = [];
  #namespaceProblems: readonly PolicyProblem[] = [];
  #size: { policies: number; pods: number } | undefined;
  /** The account, and the policies that it is of. */
  #accounted:
    | {
        applied: ReadonlyMap<string, readonly Policy[]>;
        inForce: ReadonlyMap<string, readonly Policy[]>;
        account: PolicyAccount;
      }
    | undefined;

  constructor(options: {
    informers: PolicyInformers;
    nodeName: string;
    identities: IdentityAllocator;
    /** Patterns of labels that make identities, or do not, before the usual ones. */
    identityLabels?: readonly string[];
    /** Keeps for the next agent what stays in force although it is not what an object says now. */
    lastValid?: Pick<LastValid, "read" | "write">;
    log: Logger;
    /** Asked for when something changed; answers by calling `sync` soon. */
    onDirty: () => void;
  }) {
    this.#informers = options.informers;
    this.#nodeName = options.nodeName;
    this.#identities = options.identities;
    this.#log = options.log;
    this.#onDirty = options.onDirty;
    this.#lastValid = options.lastValid;
    this.#isUsual = usualLabels(options.identityLabels ?? []);
    const { policies, ...others } = options.informers;
    this.#workloads = new Workloads(others, options.nodeName, this.#isUsual);
    this.#behind = new BehindServices(others, (address) => this.#workloads.at(address)?.text);
    this.#peers = new PeerIndex([], (peer) => this.#behind.find(peer));
    others.namespaces.onChange(() => {
      this.#namespaceProblems = others.namespaces.list().flatMap((namespace) => {
        const message = auditProblem(namespace);
        return message === undefined ? [] : [{ policy: `Namespace ${namespace.metadata.name}`, message }];
      });
    });
    const { nodes, ...quiet } = others;
    for (const informer of Object.values(quiet)) informer.onChange(() => options.onDirty());
    for (const informer of policies)
      informer.onChange((change) => {
        if (this.#saysTheSame(change)) return;
        this.#policies = undefined;
        options.onDirty();
      });
    // Heartbeats of nodes say nothing to policies.
    nodes.onChange(({ type, object, previous }) => {
      if (type === "modified" && nodeText(object) === nodeText(previous)) return;
      this.#nodes = undefined;
      options.onDirty();
    });
    others.slices.onChange(({ object }) => {
      if (isOfApiServer(object)) this.#policies = undefined;
    });
    others.identities.onChange(({ type, object }) => {
      if (type === "deleted") options.identities.forget(labelsOfIdentity(object));
    });
  }

  /** Policies that are not in force, and what of Namespaces cannot be used. */
  get problems(): readonly PolicyProblem[] {
    return [...this.#problems, ...this.#namespaceProblems];
  }

  /** Whether policies are only audited for some pods of this node. */
  get isAuditing(): boolean {
    return this.#audit || [...this.#workloads.ofOwnNode].some(({ isAudited }) => isAudited);
  }

  /** How many policies there are, and pods of this node that one is about; undefined until all was read. */
  get size(): { policies: number; pods: number } | undefined {
    return this.#size;
  }

  /** All policy objects, as of the last `sync` where there are maps; undefined until all was read. */
  states(): PolicyState[] | undefined {
    const { policies } = this.#informers;
    const isOff = this.#table === undefined;
    if (isOff ? policies.some(({ synced }) => !synced) : this.#size === undefined) return undefined;
    return policies.flatMap((informer) =>
      informer.list().flatMap((object): PolicyState[] => {
        const parsed = this.#parsed.get(object) ?? (isOff ? parsePolicy(object) : undefined);
        if (parsed === undefined) return [];
        this.#parsed.set(object, parsed);
        const judgedBy = this.#applied.get(uidOf(object));
        return [{ object, problem: problemOf(parsed), judgedBy, inForce: judgedBy === parsed.policies }];
      }),
    );
  }

  /** What the node tells of its policies, as of the last `sync`; undefined until all was read. */
  account(): PolicyAccount | undefined {
    if (this.#size === undefined) return undefined;
    const { applied, inForce } = this.#accounted ?? {};
    if (this.#accounted === undefined || applied !== this.#applied || inForce !== this.#inForce)
      this.#accounted = {
        ...{ applied: this.#applied, inForce: this.#inForce, account: accountOf(this.states() ?? []) },
      };
    return this.#accounted.account;
  }

  /** What policies know of the node itself, as of the last `sync`. */
  judgementOfHost(): (EndpointJudgement & { addresses: readonly string[] }) | undefined {
    const own = this.#nodes?.own;
    return own && { ...own, identity: reservedIdentities.host, word: this.#table?.wordOf(policyHost) ?? 0 };
  }

  /** Where pods with these labels are, as of the last `sync`. */
  placeOf(text: string): "here" | "elsewhere" | undefined {
    return this.#workloads.placeOf(text);
  }

  /** The pod of an endpoint with its number and what it is judged by, as of the last `sync`. */
  judgementOf(endpoint: Endpoint): EndpointJudgement | undefined {
    const workload = this.#workloads.of(endpoint);
    if (workload === undefined) return undefined;
    const { labels, text } = workload;
    return { labels, identity: this.#workloads.numberOf(text), word: this.#table?.wordOf(endpoint.id) ?? 0 };
  }

  /** What a reader of denials asks, as of the last `sync`. */
  denialSources(endpoints: readonly Endpoint[]): DenialSources {
    const byId = new Map([
      [policyHost as number, hostName],
      ...endpoints.map((one) => [one.id, `${one.podNamespace}/${one.podName}`] as const),
    ]);
    return {
      endpoint: (id) => {
        const pod = byId.get(id);
        return pod === undefined ? undefined : { pod, word: this.#table?.wordOf(id) ?? 0 };
      },
      nameAt: (address) => this.#workloads.at(address)?.key ?? this.#nodes?.names.get(address),
      labelsOf: (identity) => {
        const object = this.#informers.identities.get(String(identity));
        return object === undefined ? undefined : labelsOfIdentity(object);
      },
      ruleText: (rule) => this.#table?.ruleText(rule) ?? "",
    };
  }

  /** Fills these maps from now on; undefined: none. */
  setMaps(maps: PolicyMaps | undefined, audit: boolean): void {
    this.#audit = audit;
    if (maps !== undefined) {
      if (this.#table !== undefined) return;
      this.#table = new PolicyTable(maps);
      this.#prefixes = new PrefixNumbers(this.#table.prefixes);
      this.#nodes = undefined;
      return;
    }
    this.#table = undefined;
    this.#size = undefined;
    this.#applied = new Map();
  }

  /** Whether only the status or what policies do not look at has changed: nothing is to be done then. */
  #saysTheSame({ type, object, previous }: Change): boolean {
    const { generation } = object.metadata;
    const parsed = previous === undefined ? undefined : this.#parsed.get(previous);
    if (type !== "modified" || parsed === undefined || generation === undefined) return false;
    if (generation !== previous?.metadata.generation) return false;
    this.#parsed.set(object, parsed);
    return true;
  }

  get #synced(): boolean {
    const { policies, ...others } = this.#informers;
    return [...policies, ...Object.values(others)].every(({ synced }) => synced);
  }

  /**
   * Brings the maps in line. Returns the number of each endpoint by its id, and those of other nodes' pods by address;
   * undefined while something has not been read yet: what was in force stays so.
   */
  sync(endpoints: readonly Endpoint[]):
    | {
        own: ReadonlyMap<number, number>;
        elsewhere: ReadonlyMap<string, number>;
        nodes: ReadonlyMap<string, number>;
      }
    | undefined {
    if (this.#table === undefined || !this.#synced) return undefined;
    const policies = this.#policies ?? this.#readPolicies();
    const workloads = this.#workloads;
    const unusual = [...this.#selectedKeys].filter((key) => !this.#isUsual(key.replace(/^any:/, "k8s:")));
    const changed = workloads.update(new Set(unusual));
    const behind = new Set(this.#services.flatMap((peer) => [...this.#behind.find(peer).others]));
    if (!sameSet(behind, this.#behindServices)) this.#nodes = undefined;
    this.#behindServices = behind;
    const nodes = this.#nodes ?? this.#readNodes(policies);
    this.#updatePeers(changed, nodes.identities);
    const wanted = new Map<number, EndpointPolicy>();
    const kept = new Set<number>();
    const own = new Map<number, number>();
    // Also those that another network serves: policies of other nodes' pods may name them.
    for (const workload of workloads.ofOwnNode)
      if (workloads.numberOf(workload.text) === undefined) this.#askForNumber(workload);
    for (const endpoint of endpoints) {
      const workload = workloads.of(endpoint);
      if (workload === undefined) {
        kept.add(endpoint.id);
        continue;
      }
      const number = workloads.numberOf(workload.text);
      if (number !== undefined) own.set(endpoint.id, number);
      const compiled = this.#compiled.of(workload, policies, this.#peers);
      wanted.set(endpoint.id, { ...compiled, audit: this.#audit || workload.isAudited });
    }
    const host = nodes.own && { labels: nodes.own.labels, text: identityText(nodes.own.labels), ports: [] };
    if (host === undefined) kept.add(policyHost);
    else wanted.set(policyHost, { ...this.#compiled.of(host, policies, this.#peers), audit: this.#audit });
    this.#compiled.forgetUnasked();
    this.#peers.forgetUnasked();
    this.#table.apply(wanted, this.#prefixes.named, kept);
    this.#prefixes.written();
    this.#writtenNodes = nodes.identities;
    this.#applied = this.#inForce;
    const isJudged = ([id, { ingress, egress }]: [number, EndpointPolicy]) =>
      id !== policyHost && (ingress !== undefined || egress !== undefined);
    const count = policies.all.filter(({ isImplied }) => !isImplied).length;
    this.#size = { policies: count, pods: [...wanted].filter(isJudged).length };
    return { own, elsewhere: workloads.elsewhere, nodes: nodes.byAddress };
  }

  #updatePeers({ removed, added }: IdentityChange, nodes: readonly Identity[]): void {
    // Addresses are looked up by the numbers of before until those of now are written.
    const numbers = new Set(nodes.map(({ id }) => id));
    const leaving = this.#writtenNodes.filter(({ id }) => !numbers.has(id));
    const others = new Set([...nodes, ...leaving, ...this.#prefixes.peers]);
    const gone = [...this.#otherPeers].filter((one) => !others.has(one));
    const fresh = [...others].filter((one) => !this.#otherPeers.has(one));
    this.#otherPeers = others;
    this.#peers.change([...removed, ...gone], [...added, ...fresh]);
    this.#peers.servicesChanged();
  }

  /** Nodes, and the prefixes, of which those of API servers are some. */
  #readNodes(policies: PolicyIndex): NodesAsPeers {
    const nodes = this.#nodePeers.read(this.#informers.nodes.list(), {
      ...{ ownNode: this.#nodeName, selectedBy: this.#selectedKeys },
      apiServers: apiServerAddresses(this.#informers.slices.list()),
    });
    const textOf = ({ id, labels }: Identity): string => `${id} ${identityText(labels)}`;
    const known = new Map([...this.#otherPeers].map((one) => [textOf(one), one]));
    const identities = nodes.identities.map((one) => known.get(textOf(one)) ?? one);
    this.#prefixes.name(policies.all, {
      ...{ apiServers: nodes.apiServersElsewhere, others: this.#behindServices },
    });
    this.#nodes = { ...nodes, identities };
    return this.#nodes;
  }

  #readPolicies(): PolicyIndex {
    const problems: PolicyProblem[] = [];
    const inForce = new Map<string, readonly Policy[]>();
    const valid = new Map<string, KubeObject>();
    const earlier = new Map<string, KubeObject>();
    const left = this.#left ?? this.#lastValid?.read() ?? new Map<string, KubeObject>();
    const policies = this.#informers.policies.flatMap((informer) =>
      informer.list().flatMap((object) => {
        const known = this.#parsed.get(object);
        const parsed = known ?? parsePolicy(object);
        this.#parsed.set(object, parsed);
        const why = problemOf(parsed);
        const uid = uidOf(object);
        if (why === undefined) {
          inForce.set(uid, parsed.policies);
          valid.set(uid, object);
          return parsed.policies;
        }
        // What was in force is not weakened by a mistake, nor by another agent.
        const version = this.#valid.get(uid) ?? left.get(uid);
        const before = this.#inForce.get(uid) ?? usable(version);
        if (before !== undefined) {
          inForce.set(uid, before);
          valid.set(uid, version!);
          earlier.set(uid, version!);
        }
        const message = before === undefined ? why : `${why} (the version before it stays in force)`;
        const policy = `${object.kind} ${objectKey(object)}`;
        problems.push({ policy, message });
        if (known === undefined) this.#log.warn("policy is not in force", { policy, message });
        return before ?? [];
      }),
    );
    this.#problems = problems;
    this.#inForce = inForce;
    this.#valid = valid;
    this.#left = new Map();
    this.#lastValid?.write(earlier);
    this.#selectedKeys = selectedKeys(policies);
    this.#services = policies.flatMap(({ rules }) =>
      rules.flatMap(({ peers = [] }) => peers.filter((peer) => peer.kind === "services")),
    );
    this.#nodes = undefined;
    this.#policies = new PolicyIndex([...policies, reachesApiServer(this.#informers.slices.list())]);
    return this.#policies;
  }

  /** What is made is heard of as all objects are. */
  #askForNumber({ key, labels }: Workload): void {
    this.#identities.allocate(labels).catch((error) => {
      this.#log.error("no identity for a pod", { pod: key, error: errorMessage(error) });
      setTimeout(this.#onDirty, askAgainMs).unref();
    });
  }
}

/** What policies know of a node. */
const nodeText = (node: KubeObject | undefined): string =>
  node === undefined ? "" : JSON.stringify([node.metadata.labels, addressesOfNode(node)]);
const uidOf = (object: KubeObject): string => object.metadata.uid ?? objectKey(object);

/** What an earlier version says. undefined: it cannot be used (any more). */
function usable(object: KubeObject | undefined): readonly Policy[] | undefined {
  if (object === undefined || !isPolicy(object)) return undefined;
  const parsed = parsePolicy(object);
  return problemOf(parsed) === undefined ? parsed.policies : undefined;
}

/** Why an object cannot be used. */
function problemOf({ problems }: Parsed): string | undefined {
  if (problems.length === 0) return undefined;
  return problems.map(({ path, message }) => `${pathText(path)}: ${message}`).join("; ");
}

/** Keys of labels that policies ask for. */
function selectedKeys(policies: readonly Policy[]): Set<string> {
  const selectors = policies.flatMap(({ subject, rules }) => [
    subject,
    ...rules.flatMap(({ peers = [] }) =>
      peers.flatMap((peer) => (peer.kind === "labels" ? [peer.selector] : [])),
    ),
  ]);
  return new Set(selectors.flatMap((selector) => selector.map(({ key }) => key)));
}
