// SPDX-License-Identifier: Apache-2.0
import { rm } from "node:fs/promises";
import { errorMessage, ShuntError } from "../lib/errors.ts";
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import { forgetManagers, Informer } from "../lib/kube-informer.ts";
import type { Logger } from "../lib/log.ts";
import { installPlugin } from "./cni/conf-file.ts";
import { CniServer } from "./cni/server.ts";
import { Coalesced } from "./coalesce.ts";
import type { AgentConfig, Modes } from "./config.ts";
import { Datapath } from "./datapath.ts";
import { layoutVersion } from "./datapath-layout.ts";
import { EndpointManager } from "./endpoint-manager.ts";
import { EndpointStore } from "./endpoint-store.ts";
import { collectFlows, type FlowFigures, FlowStats } from "./flow-collector.ts";
import { serveAgent } from "./health-server.ts";
import { Ipcache } from "./ipcache.ts";
import { AgentMetrics, readPacketCounts } from "./metrics.ts";
import {
  type Condition,
  createShuntNode,
  modesOf,
  removeTaint,
  routesServices,
  shuntNodes,
  stampConditions,
} from "./node-mode.ts";
import { type NodeFacts, nodeAddresses, nodeFacts } from "./node-model.ts";
import { NodeReconciler } from "./node-reconciler.ts";
import { buildFile, cniConfFile, endpointFolder, pinRoot, socketPath } from "./paths.ts";
import { visibleNetns } from "./pod-link.ts";
import type { PolicyLayer } from "./policy/policy-layer.ts";
import { namedPod, noPolicies, type PolicyReport, policiesOff, viewEndpoint } from "./policy/policy-views.ts";
import { ProblemEvents } from "./problem-events.ts";
import { ServiceController } from "./service-controller.ts";
import { eventOfService } from "./service-events.ts";
import { ServiceHealth } from "./service-health.ts";
import type { ServiceView } from "./service-reader.ts";
import { forgetMostOfSlice } from "./service-slices.ts";
import { type ServiceFilter, viewServices } from "./service-view.ts";
import { SocketCloser } from "./socket-closer.ts";
import { type NodeStatusReport, reportOf } from "./status-report.ts";

const resyncMs = 30_000;
/** What the node tells of its policies is written seldom in large clusters: so long after the last write, for each node. */
const accountPauseMs = 20;

export interface DaemonOptions {
  config: AgentConfig;
  nodeName: string;
  client: KubeClient;
  /** The cgroup v2 folder whose sockets are translated; undefined when the node has none. */
  cgroupPath: string | undefined;
  log: Logger;
}

/** The node agent: follows the API server and keeps this node's pod network and services in the wanted state. */
export class Daemon {
  readonly #options: DaemonOptions;
  readonly #log: Logger;
  readonly #startedAt = new Date();
  readonly #datapath: Datapath;
  readonly #store: EndpointStore;
  readonly #endpoints: EndpointManager;
  readonly #ipcache: Ipcache;
  readonly #node: NodeReconciler;
  readonly #services: ServiceController;
  readonly #serviceHealth: ServiceHealth;
  readonly #socketCloser: SocketCloser;
  readonly #serviceEvents: ProblemEvents;
  readonly #metrics: AgentMetrics;
  readonly #cni: CniServer;
  readonly #nodes: Informer;
  readonly #shuntNodes: Informer;
  readonly #informers: Informer[];
  readonly #networkWork: Coalesced;
  readonly #serviceWork: Coalesced;
  readonly #statusWork: Coalesced;
  readonly #flowWork: Coalesced;
  readonly #sources: { services: Informer; slices: Informer };
  /** From the moment when this node is told to judge packets. */
  #policy: PolicyLayer | undefined;
  #signal: AbortSignal | undefined;
  #flows: FlowFigures | undefined;
  #networkError: string | undefined = "starting";
  #serviceError: string | undefined;
  #cniInstalled = false;
  #reported = "";
  /** The same without what a change of policies changes, and when that was. */
  #reportedWithout = "";
  #reportedMs = 0;
  #accountTimer: NodeJS.Timeout | undefined;

  constructor(options: DaemonOptions) {
    const { client, nodeName, log } = options;
    this.#options = options;
    this.#log = log;
    const onError = (part: string) => this.#metrics.countError(part);
    this.#datapath = new Datapath({
      withDriver: options.config.acceleration !== "disabled",
      pinFolder: `${pinRoot}/${layoutVersion}`,
      objectFolder: buildFile("bpf"),
      log,
      mapSizes: options.config.mapSizes,
    });
    this.#store = new EndpointStore(endpointFolder);
    this.#ipcache = new Ipcache(() => this.#datapath.map("sh_ipcache"));
    this.#endpoints = new EndpointManager({
      ...{ store: this.#store, datapath: this.#datapath, log },
      admit: async (endpoint) => (await this.#policy?.admit(endpoint)) ?? 0,
    });
    this.#node = new NodeReconciler({
      config: options.config,
      datapath: this.#datapath,
      endpoints: this.#endpoints,
      ipcache: this.#ipcache,
      log,
      beforeTakeover: (modes) => this.#fillMaps(modes),
    });
    const informer = (path: string, query = {}, prepare = forgetManagers) =>
      new Informer(client, path, log, query, prepare);
    this.#nodes = informer(resourcePath("v1", "nodes"));
    this.#shuntNodes = informer(shuntNodes());
    const sources = {
      services: informer(resourcePath("v1", "services")),
      slices: informer(resourcePath("discovery.k8s.io/v1", "endpointslices"), {}, forgetMostOfSlice),
      pods: informer(resourcePath("v1", "pods"), { fieldSelector: `spec.nodeName=${nodeName}` }),
    };
    this.#sources = sources;
    this.#informers = [this.#nodes, this.#shuntNodes, ...Object.values(sources)];
    this.#networkWork = new Coalesced("node network", () => this.#reconcileNode(), { log, onError });
    this.#serviceWork = new Coalesced("services", () => this.#reconcileServices(), { log, onError });
    this.#statusWork = new Coalesced("status", () => this.#writeStatus(), { log, delayMs: 200, onError });
    this.#socketCloser = new SocketCloser({
      sockets: () => (this.#datapath.loaded ? this.#datapath.map("sh_socket_nat") : undefined),
      known: (names) => this.#services.known(names),
      namespaces: () => this.#endpoints.list().flatMap((endpoint) => visibleNetns(endpoint.netns) ?? []),
      log,
    });
    this.#flowWork = new Coalesced("stale flows", () => this.#collectFlows(), { log, onError });
    this.#services = new ServiceController({
      informers: sources,
      nodeName,
      log,
      onDirty: () => this.#serviceWork.trigger(),
      onGone: (gone) => this.#socketCloser.gone(gone),
    });
    this.#serviceHealth = new ServiceHealth({ log, nodePort: options.config.proxyHealthPort });
    this.#serviceEvents = new ProblemEvents(client);
    this.#metrics = new AgentMetrics({
      datapath: this.#datapath,
      endpoints: this.#endpoints,
      services: this.#services,
      flows: () => this.#flows,
    });
    this.#cni = new CniServer({
      socketPath,
      endpoints: this.#endpoints,
      log,
      notReady: () => (this.#node.ready ? undefined : `the agent is not ready: ${this.#networkError}`),
      observe: (command, outcome, seconds) => this.#metrics.observeCni(command, outcome, seconds),
    });
  }

  /** Runs until the signal aborts. The datapath goes on without it. */
  async run(signal: AbortSignal): Promise<void> {
    const { config, log } = this.#options;
    this.#signal = signal;
    await this.#store.load((file, why) => log.warn("endpoint state left out", { file, why }));
    const { healthPort, metricsPort } = config;
    serveAgent(
      { healthPort, metricsPort, log, signal },
      {
        ready: () => this.#report().conditions.find(({ type }) => type === "Ready")!,
        status: () => this.#statusDetails(),
        services: (filter) => this.#servicesInMaps(filter),
        trace: (request) => this.#policy?.trace(request) ?? { mode: "off" },
        denials: () => (this.#datapath.loaded ? (this.#policy?.denials() ?? []) : undefined),
        policies: () => this.#policy?.policyViews() ?? noPolicies(this.#modes.policy),
        endpoints: () =>
          this.#policy?.endpointViews() ?? this.#endpoints.list().map((one) => viewEndpoint(namedPod(one))),
        metrics: this.#metrics.registry,
      },
    );
    this.#nodes.onChange(() => this.#networkWork.trigger());
    this.#shuntNodes.onChange(({ type, object, previous }) => {
      // Of other nodes only the mode matters; their status changes often.
      const isOwn = object.metadata.name === this.#options.nodeName;
      if (isOwn) this.#trigger();
      else if (type !== "modified" || JSON.stringify(object.spec) !== JSON.stringify(previous?.spec))
        this.#networkWork.trigger();
    });
    const resync = setInterval(() => this.#resync(), resyncMs);
    const runs = this.#informers.map((informer) => informer.run(signal));
    for (const informer of this.#informers)
      informer.whenSynced(signal).then(
        () => this.#trigger(),
        () => undefined,
      );
    log.info("agent started", { node: this.#options.nodeName, routing: config.routing });
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    clearInterval(resync);
    this.#serviceHealth.stop();
    await this.#cni.stop();
    await Promise.all([
      this.#networkWork.stop(),
      this.#serviceWork.stop(),
      this.#statusWork.stop(),
      this.#flowWork.stop(),
      this.#policy?.stop(),
      this.#socketCloser.stop(),
    ]);
    await Promise.all(runs);
    log.info("agent stopped; the datapath stays");
  }

  #trigger(): void {
    this.#networkWork.trigger();
    this.#serviceWork.trigger();
  }

  #nextVerifyMs = 0;
  /** A look at all service maps, at most so often that it takes half a per cent of a core. */
  #verifyServices(): void {
    const started = performance.now();
    if (started < this.#nextVerifyMs) return;
    try {
      this.#services.verify();
    } catch (error) {
      this.#metrics.countError("service maps");
      this.#log.error("service maps cannot be verified", { error: errorMessage(error) });
    }
    this.#nextVerifyMs = performance.now() + 200 * (performance.now() - started);
  }

  #resync(): void {
    this.#networkWork.trigger();
    this.#verifyServices();
    this.#flowWork.trigger();
    if (this.#node.ready)
      this.#endpoints
        .reconcile()
        .catch((error) => this.#log.error("endpoint check failed", { error: errorMessage(error) }));
  }

  async #collectFlows(): Promise<void> {
    if (!this.#datapath.loaded) return;
    const before = this.#flows;
    this.#flows = await collectFlows(
      this.#datapath.map("sh_nat"),
      new FlowStats(this.#datapath.map("sh_flow_stats")),
    );
    const evicted = this.#flows.evicted - (before?.evicted ?? this.#flows.evicted);
    if (evicted > 0)
      this.#log.warn("the flow table is full: flows that were idle longest are lost", {
        evicted,
        remedy: "raise services.maps.flows",
      });
  }

  get #modes(): Modes {
    return modesOf(this.#shuntNodes.get(this.#options.nodeName), this.#options.config.defaults);
  }

  async #reconcileNode(): Promise<void> {
    if (!this.#nodes.synced || !this.#shuntNodes.synced) return;
    const { nodeName, client } = this.#options;
    try {
      if (this.#shuntNodes.get(nodeName) === undefined) await createShuntNode(client, nodeName);
      const self = this.#nodes.get(nodeName);
      if (self === undefined) throw new Error(`there is no Node object named ${nodeName}`);
      const broken = (why: string) => this.#log.warn("node object left out in part", { why });
      const facts = this.#nodes.list().map((node) => nodeFacts(node, broken));
      const own = facts.find((node) => node.name === nodeName)!;
      this.#services.setZone(own.zone);
      const modes = this.#modes;
      await this.#node.reconcile(
        own,
        facts.filter((node) => node !== own),
        modes,
        (name) => modesOf(this.#shuntNodes.get(name), this.#options.config.defaults).podNetwork === "active",
      );
      this.#followMoves(facts);
      await this.#followPolicy(modes.policy);
      await this.#startCni();
      await this.#setCni(modes.podNetwork === "active");
      await removeTaint(client, self);
      this.#networkError = undefined;
    } catch (error) {
      this.#networkError = errorMessage(error);
      throw error;
    } finally {
      this.#serviceWork.trigger();
      this.#statusWork.trigger();
    }
  }

  /** Another layout's programs run until those that take their place know all Services and policies. */
  async #fillMaps({ services, policy }: Modes): Promise<void> {
    await this.#followPolicy(policy);
    if (policy === "enforce") await this.#policy!.whenInForce();
    if (services === "off") return;
    this.#services.setMaps(this.#datapath.serviceMaps);
    this.#services.sync();
    if (!this.#services.complete)
      throw new ShuntError("Services are not read yet: the programs of the agent before go on", {
        code: "NotReady",
      });
  }

  /** Names of the nodes whose pods are ours. */
  #moved: ReadonlySet<string> = new Set();
  /** Pods of a node that has not moved may come from its address: their network masquerades. That is over when it moves. */
  #followMoves(nodes: readonly NodeFacts[]): void {
    const active = new Set(this.#node.activePeers);
    const fresh = nodes.filter(({ name }) => active.has(name) && !this.#moved.has(name));
    this.#moved = active;
    if (fresh.length > 0) this.#policy?.forgetDenials(new Set(fresh.flatMap(nodeAddresses)));
  }

  /**
   * What policies need takes memory, and is loaded when the first is to be judged; also where the agent before did so, for what
   * policies themselves say of this node.
   */
  async #followPolicy(mode: Modes["policy"]): Promise<void> {
    const { mode: before = "off" } =
      this.#shuntNodes.get(this.#options.nodeName)?.status?.layers?.policy ?? {};
    if (mode === "off" && before === "off" && this.#policy === undefined) return;
    if (this.#policy === undefined) {
      const { PolicyLayer: Layer } = await import("./policy/policy-layer.ts");
      const { client, nodeName, log } = this.#options;
      this.#policy = new Layer({
        ...{ client, nodeName, log, ...this.#sources, nodes: this.#nodes, shuntNodes: this.#shuntNodes },
        identityLabels: this.#options.config.identityLabels,
        datapath: this.#datapath,
        endpoints: this.#endpoints,
        ipcache: this.#ipcache,
        onError: (part) => this.#metrics.countError(part),
        onReport: () => this.#statusWork.trigger(),
      });
      this.#policy.run(this.#signal!);
    }
    this.#policy.setMode(mode);
    this.#policy.trigger();
  }

  #cniStarted: Promise<void> | undefined;
  /** The socket appears when pods can be served: until then the plugin waits. */
  async #startCni(): Promise<void> {
    this.#cniStarted ??= this.#cni.start().catch((error) => {
      this.#cniStarted = undefined;
      throw error;
    });
    await this.#cniStarted;
  }

  async #setCni(active: boolean): Promise<void> {
    if (active && (await installPlugin(socketPath)))
      this.#log.info("CNI configuration written", { file: cniConfFile });
    if (!active) await rm(cniConfFile, { force: true });
    this.#cniInstalled = active;
  }

  #reconcileServices(): void {
    if (!this.#datapath.loaded || !this.#shuntNodes.synced) return;
    const mode = this.#modes.services;
    const isRouting = routesServices(this.#modes);
    try {
      if (!isRouting) this.#datapath.detachSockets();
      this.#services.setMaps(mode === "off" ? undefined : this.#datapath.serviceMaps);
      this.#services.sync();
      if (isRouting && this.#services.complete) {
        if (this.#options.cgroupPath === undefined)
          throw new Error("no cgroup version 2 hierarchy is mounted below /sys/fs/cgroup");
        this.#datapath.attachSockets(this.#options.cgroupPath);
      }
      if (this.#node.ready && (!isRouting || this.#services.complete)) this.#datapath.retireOlder();
      this.#serviceError = undefined;
    } catch (error) {
      this.#serviceError = errorMessage(error);
      throw error;
    } finally {
      this.#answerHealthChecks();
      this.#statusWork.trigger();
    }
  }

  #answerHealthChecks(): void {
    const self = this.#nodes.get(this.#options.nodeName);
    const healthy = this.#services.complete && this.#serviceError === undefined;
    const leaving = self !== undefined && nodeFacts(self).leaving;
    this.#serviceHealth.set(
      this.#services.healthChecks,
      routesServices(this.#modes) ? { healthy, leaving } : undefined,
    );
  }

  #report(): NodeStatusReport {
    const modes = this.#modes;
    return reportOf({
      modes,
      generation: this.#shuntNodes.get(this.#options.nodeName)?.metadata.generation,
      datapathLoaded: this.#datapath.loaded,
      attachments: this.#datapath.attachments,
      podNetworkProblem: this.#networkError,
      cniInstalled: this.#cniInstalled,
      servicesProblem:
        this.#serviceError ??
        (modes.services !== "off" && !this.#services.complete ? "Services are not read yet" : undefined),
      serviceSize: this.#services.size,
      serviceProblems: this.#services.problems,
      policy: this.#policyReport,
      network: this.#node.report,
      activePeers: this.#node.activePeers,
    });
  }

  get #policyReport(): PolicyReport {
    const { policy: asked } = this.#modes;
    const problem = asked === "off" ? undefined : "policies are not read yet";
    return this.#policy?.report ?? { ...policiesOff, problem };
  }

  async #writeStatus(): Promise<void> {
    const { client, nodeName } = this.#options;
    const object = this.#shuntNodes.get(nodeName);
    if (object === undefined) return;
    const report = this.#report();
    const text = JSON.stringify(report);
    await this.#serviceEvents.tell(this.#services.problems.map(eventOfService));
    if (text === this.#reported) return;
    const pauseMs = this.#reportedMs + accountPauseMs * this.#nodes.items.size - performance.now();
    const { policy, ...layers } = report.layers as Record<string, any>;
    const textWithout = JSON.stringify({
      ...{ ...report, layers },
      policy: { ...policy, account: null, policies: null, pods: null },
    });
    if (textWithout === this.#reportedWithout && pauseMs > 0) {
      this.#accountTimer ??= setTimeout(() => {
        this.#accountTimer = undefined;
        this.#statusWork.trigger();
      }, pauseMs).unref();
      return;
    }
    const previous: Condition[] = object.status?.conditions ?? [];
    const conditions = stampConditions(report.conditions, previous, new Date());
    const status = { ...report, conditions, startedAt: this.#startedAt.toISOString() };
    await client.patch(`${shuntNodes(nodeName)}/status`, "merge", { status });
    this.#reported = text;
    this.#reportedWithout = textWithout;
    this.#reportedMs = performance.now();
  }

  async #servicesInMaps(filter: ServiceFilter): Promise<ServiceView[] | undefined> {
    if (!this.#datapath.loaded) return undefined;
    return await viewServices((name) => this.#datapath.map(name), this.#services, filter);
  }

  #statusDetails(): unknown {
    const report = this.#report();
    return {
      node: this.#options.nodeName,
      pid: process.pid,
      startedAt: this.#startedAt.toISOString(),
      ready: report.conditions.find(({ type }) => type === "Ready")?.status === "True",
      ...report,
      network: this.#node.report,
      attachments: this.#datapath.attachments,
      pools: this.#endpoints.pools,
      endpoints: this.#endpoints.list(),
      packets: readPacketCounts(this.#datapath),
    };
  }
}
