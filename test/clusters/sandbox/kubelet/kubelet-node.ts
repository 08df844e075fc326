// SPDX-License-Identifier: Apache-2.0

import type { KubeClient } from "../../../../lib/kube.ts";
import type { Informer } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Logger } from "../../../../lib/log.ts";
import type { CriClient } from "./cri.ts";
import type { EventRecorder } from "./events.ts";
import type { ObjectCache } from "./object-cache.ts";
import type { KubeletOptions } from "./options.ts";
import type { RuntimeReader } from "./pod-runtime.ts";
import type { TokenSource } from "./tokens.ts";

/** What every part of this kubelet shares: its settings and its ways to the cluster and the runtime. */
export interface KubeletNode {
  options: KubeletOptions;
  log: Logger;
  client: KubeClient;
  cri: CriClient;
  reader: RuntimeReader;
  events: EventRecorder;
  objects: ObjectCache;
  tokens: TokenSource;
  services: Informer;
  /** The Node object as last seen. */
  node(): KubeObject | undefined;
  /** Why pods with a network of their own cannot start now; undefined when they can. */
  networkProblem(): string | undefined;
}

/** A reason why a container or a pod cannot start now, as its status shows it. */
export class StartError extends Error {
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.name = "StartError";
    this.reason = reason;
  }
}
