// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { forgetManagers, Informer } from "../../lib/kube-informer.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Logger } from "../../lib/log.ts";
import { policyResources } from "../../lib/policy-schema.ts";
import { sleep } from "../../lib/wait.ts";
import { Coalesced } from "../coalesce.ts";
import type { Modes } from "../config.ts";
import type { Datapath } from "../datapath.ts";
import { policyHost } from "../datapath-layout.ts";
import type { EndpointManager } from "../endpoint-manager.ts";
import type { Endpoint } from "../endpoint-store.ts";
import type { Ipcache } from "../ipcache.ts";
import { policyFile } from "../paths.ts";
import { type DenialView, denialText, forgetDenials, readDenials } from "./denials.ts";
import { IdentityAllocator } from "./identity.ts";
import { IdentityCollector } from "./identity-collector.ts";
import { NodeWords, wordsOfNodes } from "./in-force.ts";
import { LastValid } from "./last-valid.ts";
import { type LiveTrace, type TraceRequest, traceMaps } from "./live-trace.ts";
import { hostName } from "./node-peers.ts";
import { PolicyController } from "./policy-controller.ts";
import type { EndpointJudgement } from "./policy-state.ts";
import { PolicyStatuses } from "./policy-statuses.ts";
import {
  type EndpointView,
  type NamedEndpoint,
  type NodePolicies,
  namedPod,
  noPolicies,
  type PolicyReport,
  policiesOff,
  viewEndpoint,
  viewPolicy,
} from "./policy-views.ts";
import { forgetMostOfPod } from "./workloads.ts";

/** For so long a pod's start waits for its labels. */
const admitMs = 5_000;
const identities = (name?: string): string =>
  resourcePath("shunt.dev/v1alpha1", "identities", undefined, name);

/** While it audits, what would be denied is looked at so often. */
const auditMs = 10_000;
/** Most of it that the report tells. */
const mostExamples = 10;

/** All that an agent needs to judge packets, from the moment when its node is told to. */
export class PolicyLayer {
  readonly #datapath: Datapath;
  readonly #endpoints: EndpointManager;
  readonly #ipcache: Ipcache;
  readonly #controller: PolicyController;
  readonly #informers: Informer[];
  readonly #work: Coalesced;
  readonly #auditWork: Coalesced;
  readonly #statuses: PolicyStatuses;
  readonly #collector: IdentityCollector;
  #runs: Promise<void>[] = [];
  #mode: Modes["policy"] = "off";
  #error: string | undefined;
  #audited: PolicyReport["audited"];
  readonly #onReport: () => void;

  constructor(options: {
    client: KubeClient;
    nodeName: string;
    identityLabels: readonly string[];
    log: Logger;
    datapath: Datapath;
    endpoints: EndpointManager;
    ipcache: Ipcache;
    nodes: Informer;
    shuntNodes: Informer;
    services: Informer;
    slices: Informer;
    onError: (part: string) => void;
    /** Called when `report` may have changed. */
    onReport: () => void;
  }) {
    this.#onReport = options.onReport;
    const { client, nodeName, identityLabels, log, nodes, shuntNodes, services, slices } = options;
    this.#datapath = options.datapath;
    this.#endpoints = options.endpoints;
    this.#ipcache = options.ipcache;
    const informer = (group: string, plural: string, prepare = forgetManagers) =>
      new Informer(client, resourcePath(group, plural), log, {}, prepare);
    const pods = informer("v1", "pods", forgetMostOfPod);
    const namespaces = informer("v1", "namespaces");
    const numbers = informer("shunt.dev/v1alpha1", "identities");
    // Where other projects define a kind, it may be of another version, or gone.
    const policies = Object.values(policyResources).map(
      ({ apiVersion, plural }) =>
        new Informer(client, resourcePath(apiVersion, plural), log, {}, forgetManagers, {
          mayBeAbsent: true,
        }),
    );
    this.#informers = [pods, namespaces, numbers, ...policies];
    this.#work = new Coalesced("policies", () => void this.#sync(), { log, onError: options.onError });
    this.#auditWork = new Coalesced("policy audit", () => this.#lookAtAudit(), {
      ...{ log, onError: options.onError },
    });
    this.#controller = new PolicyController({
      informers: { pods, namespaces, identities: numbers, nodes, services, slices, policies },
      ...{ nodeName, identityLabels, lastValid: new LastValid(policyFile, log) },
      identities: new IdentityAllocator({
        list: () => numbers.list(),
        get: (name) => client.find(identities(name)),
        create: (object) => client.create(identities(), object),
      }),
      log,
      onDirty: () => this.#work.trigger(),
    });
    this.#statuses = new PolicyStatuses({
      ...{ client, nodeName, log, nodeCount: () => nodes.items.size, onError: options.onError },
      states: () => this.#controller.states(),
      nodeWords: () => new NodeWords(wordsOfNodes(nodes, shuntNodes), this.#controller.account()?.read),
    });
    for (const one of policies) one.onChange(() => this.#statuses.trigger());
    nodes.onChange(({ type }) => {
      if (type !== "modified") this.#statuses.trigger();
    });
    shuntNodes.onChange(({ type, object, previous }) => {
      const told = (one?: KubeObject) => JSON.stringify(one?.status?.layers?.policy);
      if (type !== "modified" || told(object) !== told(previous)) this.#statuses.trigger();
    });
    this.#collector = new IdentityCollector({
      ...{ client, nodeName, log, nodeCount: () => nodes.items.size, onError: options.onError },
      list: () => numbers.list(),
      isUsed: (text) => this.#controller.placeOf(text),
      isKnown: () => this.#mode !== "off" && this.#controller.size !== undefined,
    });
  }

  /** What is in force, and what is not. */
  get report(): PolicyReport {
    if (this.#mode === "off") return policiesOff;
    const { size, problems } = this.#controller;
    const problem = this.#error ?? (size === undefined ? "policies are not read yet" : undefined);
    const audited = problem === undefined && this.#controller.isAuditing ? this.#audited : undefined;
    const account = this.#controller.account();
    const { policies, pods } = size ?? { policies: 0, pods: 0 };
    return { mode: this.#mode, policies, pods, audited, invalid: problems, account, problem };
  }

  /** What the kernel's maps say about a connection of a pod of this node. */
  trace({ pod, ...connection }: TraceRequest): LiveTrace {
    const endpoints = this.#endpoints.list();
    const own = pod === hostName ? policyHost : endpoints.find((one) => namedPod(one).pod === pod)?.id;
    if (this.#mode === "off" || own === undefined || !this.#datapath.loaded) return { mode: this.#mode };
    const maps = {
      ...{ endpoints: this.#datapath.map("sh_endpoints"), ipcache: this.#datapath.map("sh_ipcache") },
      ...{ policyOf: this.#datapath.map("sh_policy_of") },
      policyTables: this.#datapath.map("sh_policy_tables"),
      policyNetworks: this.#datapath.map("sh_policy_networks"),
      policyPorts: this.#datapath.map("sh_policy_ports"),
      policyPrefixes: this.#datapath.map("sh_policy_prefixes"),
    };
    const { rule, ...decision } = traceMaps(maps, { endpoint: own, ...connection });
    const { ruleText } = this.#controller.denialSources(endpoints);
    return { mode: this.#mode, decision: { ...decision, rule: ruleText(rule) } };
  }

  /** What policies deny on this node, or would. */
  denials(): DenialView[] {
    if (this.#mode === "off" || !this.#datapath.loaded) return [];
    const sources = this.#controller.denialSources(this.#endpoints.list());
    return readDenials(this.#datapath.map("sh_policy_denials"), sources);
  }

  /** Counts anew what is denied from or to these addresses. */
  forgetDenials(peers: ReadonlySet<string>): void {
    if (this.#datapath.loaded) forgetDenials(this.#datapath.map("sh_policy_denials"), peers);
  }

  /** Which policies are in force on this node. */
  policyViews(): NodePolicies {
    if (this.#mode === "off") return noPolicies("off");
    const { problem } = this.report;
    const judged = this.#judged().flatMap(({ pod, judgement }) =>
      judgement === undefined ? [] : [{ pod, labels: judgement.labels }],
    );
    const policies = (this.#controller.states() ?? []).map((state) => viewPolicy(state, judged));
    return { mode: this.#mode, ...(problem === undefined ? {} : { problem }), policies };
  }

  /** By which policies this node's pods are judged, and the node itself. */
  endpointViews(): EndpointView[] {
    if (this.#mode === "off") return this.#endpoints.list().map((one) => viewEndpoint(namedPod(one)));
    const states = this.#controller.states() ?? [];
    return this.#judged().map(({ judgement, ...one }) => viewEndpoint(one, judgement, states));
  }

  #judged(): (NamedEndpoint & { judgement: EndpointJudgement | undefined })[] {
    const pods = this.#endpoints
      .list()
      .map((one) => ({ ...namedPod(one), judgement: this.#controller.judgementOf(one) }));
    const host = this.#controller.judgementOfHost();
    return host === undefined
      ? pods
      : [{ pod: hostName, addresses: host.addresses, judgement: host }, ...pods];
  }

  /** Follows the API server until the signal aborts. */
  run(signal: AbortSignal): void {
    this.#runs = this.#informers.map((informer) => informer.run(signal));
    for (const informer of this.#informers)
      informer.whenSynced(signal).then(
        () => this.trigger(),
        () => undefined,
      );
    this.#collector.start();
    const timer = setInterval(() => this.#auditWork.trigger(), auditMs);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  async stop(): Promise<void> {
    const works = [this.#work, this.#auditWork, this.#statuses, this.#collector];
    await Promise.all(works.map((work) => work.stop()));
    await Promise.all(this.#runs);
  }

  setMode(mode: Modes["policy"]): void {
    if (mode === this.#mode) return;
    this.#mode = mode;
    this.#audited = undefined;
    this.trigger();
  }

  /** Resolves to a new pod's number once its packets are judged as policies say. Throws when that takes too long. */
  async admit(endpoint: Endpoint): Promise<number> {
    const deadline = performance.now() + admitMs;
    for (;;) {
      // It may be told otherwise while a pod waits.
      if (this.#mode === "off") return 0;
      const number = this.#sync()?.get(endpoint.id);
      if (number !== undefined) return number;
      if (performance.now() >= deadline) break;
      await sleep(50);
    }
    if (this.#mode === "audit") return 0;
    throw new ShuntError(
      `The policies of pod ${endpoint.podNamespace}/${endpoint.podName} are not known yet`,
      {
        code: "NotReady",
        remedy: "The agent needs the API server for its labels; the kubelet tries again.",
      },
    );
  }

  /** Resolves once packets would be judged as policies say. Throws when that takes too long. */
  async whenInForce(): Promise<void> {
    const deadline = performance.now() + admitMs;
    while (this.#sync() === undefined) {
      if (performance.now() >= deadline)
        throw new ShuntError("Policies are not read yet: the programs of the agent before go on", {
          code: "NotReady",
        });
      await sleep(50);
    }
  }

  /** Something that policies look at has changed: an endpoint, the maps. */
  trigger(): void {
    this.#work.trigger();
  }

  #lookAtAudit(): void {
    if (this.#mode === "off" || !this.#controller.isAuditing) {
      this.#audited = undefined;
      return;
    }
    // Who was not known yet when the packet came is asked about again with the next connection.
    const denials = this.denials().filter(
      ({ peer, verdict }) => verdict === "audited" && peer.identity !== 0,
    );
    // Of the same kind are clients from outside, each with an address of its own.
    const kinds = Map.groupBy(denials, ({ pod, direction, peer, port }) =>
      JSON.stringify([pod, direction, peer.name, port]),
    );
    // In an order that does not change with each packet: what has changed is written to the API server.
    const texts = [...kinds.values()].map(([denial]) => denialText(denial!)).toSorted();
    this.#audited = { count: kinds.size, examples: texts.slice(0, mostExamples) };
    this.#onReport();
  }

  /** Returns the numbers of this node's pods, by endpoint id. */
  #sync(): ReadonlyMap<number, number> | undefined {
    if (!this.#datapath.loaded) return undefined;
    try {
      const numbers = this.#reconcile();
      this.#error = undefined;
      return numbers;
    } catch (error) {
      this.#error = errorMessage(error);
      throw error;
    } finally {
      this.#onReport();
    }
  }

  #reconcile(): ReadonlyMap<number, number> | undefined {
    this.#controller.setMaps(
      this.#mode === "off" ? undefined : this.#datapath.policyMaps,
      this.#mode === "audit",
    );
    this.#statuses.trigger();
    const found = this.#controller.sync(this.#endpoints.list());
    if (found === undefined) return undefined;
    this.#endpoints.setIdentities(found.own);
    this.#ipcache.setIdentities(found.elsewhere, found.nodes);
    return found.own;
  }
}
