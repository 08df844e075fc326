// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import type { KubeClient, Query } from "../../../../lib/kube.ts";
import { Informer } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Logger } from "../../../../lib/log.ts";
import { EventRecorder } from "./event-recorder.ts";
import type { ManagerFlags } from "./flags.ts";
import { type KnownResource, pathOf } from "./resources.ts";
import { type Reconcile, WorkQueue } from "./work-queue.ts";

/** The controller manager's own user, for the one controller that has no ServiceAccount. */
export const ownUser = "kube-controller-manager";

/** Hands out the client that a controller of this name writes with. */
export type ClientSource = (controllerName: string) => Promise<KubeClient>;

/** What all controllers share: flags, the reading client, one cache a resource, and their end. */
export class Controllers {
  readonly flags: ManagerFlags;
  readonly reader: KubeClient;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly #clientSource: ClientSource;
  readonly #informers = new Map<string, Informer>();

  constructor(
    flags: ManagerFlags,
    reader: KubeClient,
    clientSource: ClientSource,
    log: Logger,
    signal: AbortSignal,
  ) {
    this.flags = flags;
    this.reader = reader;
    this.log = log;
    this.signal = signal;
    this.#clientSource = clientSource;
  }

  /** The one cache of this list path and query; the first to ask starts it. */
  informer(path: string, query: Query = {}): Informer {
    const key = JSON.stringify([path, query]);
    let informer = this.#informers.get(key);
    if (informer === undefined) {
      informer = new Informer(this.reader, path, this.log, query);
      this.#informers.set(key, informer);
      void informer.run(this.signal);
    }
    return informer;
  }

  /** Sets a controller up and starts it when the caches it asked for are filled. */
  async start(name: string, setUp: (controller: Controller) => void): Promise<void> {
    const client = await this.#clientSource(name);
    const controller = new Controller(this, name, client);
    setUp(controller);
    await controller.run();
  }
}

/** One controller's view of what is shared, with a client, queues and events of its own. */
export class Controller {
  readonly shared: Controllers;
  readonly name: string;
  readonly client: KubeClient;
  readonly events: EventRecorder;
  readonly log: Logger;
  readonly #informers: Informer[] = [];
  readonly #queues: WorkQueue[] = [];
  readonly #periodic: { everyMs: number; work: () => Promise<void> }[] = [];

  constructor(shared: Controllers, name: string, client: KubeClient) {
    this.shared = shared;
    this.name = name;
    this.client = client;
    this.log = shared.log.with({ controller: name });
    this.events = new EventRecorder(client, name, this.log);
  }

  /** The shared cache of a resource; the controller does not start before it is filled. */
  informer(resource: KnownResource, query: Query = {}, namespace?: string): Informer<KubeObject> {
    const informer = this.shared.informer(pathOf(resource, namespace), query);
    this.#informers.push(informer);
    return informer;
  }

  queue(reconcile: Reconcile, workers?: number): WorkQueue {
    const queue = new WorkQueue(reconcile, this.log, workers);
    this.#queues.push(queue);
    return queue;
  }

  /** Calls `work` again and again, once started, with this pause between the end of one and the next. */
  every(everyMs: number, work: () => Promise<void>): void {
    this.#periodic.push({ everyMs, work });
  }

  async run(): Promise<void> {
    const { signal } = this.shared;
    await Promise.all(this.#informers.map((informer) => informer.whenSynced(signal)));
    for (const queue of this.#queues) queue.start(signal);
    for (const { everyMs, work } of this.#periodic) this.#repeat(everyMs, work);
    this.log.debug("started");
  }

  #repeat(everyMs: number, work: () => Promise<void>): void {
    const { signal } = this.shared;
    const round = async () => {
      try {
        await work();
      } catch (error) {
        if (!signal.aborted) this.log.warn("periodic work failed", { error: errorMessage(error) });
      }
      if (!signal.aborted) timer = setTimeout(round, everyMs);
    };
    let timer = setTimeout(round, 0);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  }
}
