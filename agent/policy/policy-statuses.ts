// SPDX-License-Identifier: Apache-2.0
// What policy objects themselves say about their validity, which is the same on every node.
import { createHash } from "node:crypto";
import { errorMessage } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isConflict } from "../../lib/kube-errors.ts";
import type { Logger } from "../../lib/log.ts";
import { type PolicyKind, policyResources } from "../../lib/policy-schema.ts";
import { Coalesced } from "../coalesce.ts";
import { type Condition, stampConditions } from "../node-mode.ts";
import { type ObjectProblem, ProblemEvents } from "../problem-events.ts";
import type { PolicyState } from "./policy-controller.ts";

/** Kinds with a status: all but NetworkPolicy. */
const hasStatus = (kind: string | undefined): kind is PolicyKind =>
  kind !== "NetworkPolicy" && Object.hasOwn(policyResources, kind ?? "");

/** Nobody writes sooner; then nodes do so one after the other, if nobody has. */
const firstMs = 200;
const perNodeMs = 200;
const mostSpreadMs = 30_000;
/** Where somebody else insists on another status, and after a failure, the pause doubles. */
const pauseMs = 1_000;
const mostPauseMs = { setbacks: 600_000, failures: 60_000 } as const;
/** Most writes of a round: what the others wrote meanwhile is looked at before the next. */
const mostAtOnce = 20;
const mostText = 2_000;
const keptText = " (the version before it stays in force on nodes that knew it)";

/** What is to be said of one object. */
interface Pending {
  /** What it says, of which generation. */
  text: string;
  /** When this node writes it; undefined while that is not needed. */
  dueMs: number | undefined;
  /** The version of the object that was looked at last, and the one that this node has written upon. */
  seen: string | undefined;
  written?: string | undefined;
  /** How often somebody has changed the object, and not to what is right. */
  setbacks: number;
  failures: number;
}

/** Keeps the condition Valid of objects right; of NetworkPolicies, which have no status, an Event tells what is wrong. */
export class PolicyStatuses {
  readonly #client: KubeClient;
  readonly #nodeName: string;
  readonly #nodeCount: () => number;
  readonly #log: Logger;
  readonly #states: () => readonly PolicyState[] | undefined;
  readonly #events: ProblemEvents;
  readonly #work: Coalesced;
  readonly #pending = new Map<string, Pending>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: {
    client: KubeClient;
    nodeName: string;
    nodeCount: () => number;
    log: Logger;
    /** All policy objects; undefined: nothing can be said now. */
    states: () => readonly PolicyState[] | undefined;
    onError?: (part: string) => void;
  }) {
    const { client, nodeName, nodeCount, log, states } = options;
    this.#client = client;
    this.#nodeName = nodeName;
    this.#nodeCount = nodeCount;
    this.#log = log;
    this.#states = states;
    this.#events = new ProblemEvents(client);
    const onError = options.onError ?? (() => undefined);
    this.#work = new Coalesced("policy status", () => this.#round(), { log, delayMs: 50, onError });
  }

  /** Objects may have changed, or what is known of them. */
  trigger(): void {
    this.#work.trigger();
  }

  async stop(): Promise<void> {
    await this.#work.stop();
    clearTimeout(this.#timer);
  }

  async #round(): Promise<void> {
    clearTimeout(this.#timer);
    const states = this.#states();
    if (states === undefined) return;
    const due = this.#findDue(states);
    await Promise.all(due.slice(0, mostAtOnce).map((state) => this.#write(state)));
    await this.#events.tell(states.flatMap(eventOf));
    const next = Math.min(
      ...[...this.#pending.values()].map(({ dueMs }) => dueMs ?? Number.POSITIVE_INFINITY),
    );
    if (next !== Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(() => this.trigger(), Math.max(0, next - performance.now())).unref();
  }

  /** Those that are not right for so long that it is this node's turn, in an order of this node's own. */
  #findDue(states: readonly PolicyState[]): PolicyState[] {
    const now = performance.now();
    const seen = new Set<string>();
    const due = states.filter((state) => {
      const { kind, metadata } = state.object;
      if (!hasStatus(kind)) return false;
      const uid = metadata.uid ?? "";
      seen.add(uid);
      const text = `${metadata.generation} ${conditionOf(state).message}`;
      const known = this.#pending.get(uid);
      const fresh = { text, dueMs: undefined, seen: metadata.resourceVersion, setbacks: 0, failures: 0 };
      const pending: Pending = known?.text === text ? known : fresh;
      this.#pending.set(uid, pending);
      const isSeen = pending.seen === metadata.resourceVersion;
      pending.seen = metadata.resourceVersion;
      if (isRight(state) || pending.written === metadata.resourceVersion) {
        pending.dueMs = undefined;
        return false;
      }
      if (!isSeen) {
        pending.setbacks++;
        pending.dueMs = undefined;
      }
      pending.dueMs ??= now + this.#delayMs(uid, pending);
      return pending.dueMs <= now;
    });
    for (const uid of this.#pending.keys()) if (!seen.has(uid)) this.#pending.delete(uid);
    const dueMs = ({ object }: PolicyState): number =>
      this.#pending.get(object.metadata.uid ?? "")?.dueMs ?? 0;
    return due.toSorted((a, b) => dueMs(a) - dueMs(b));
  }

  /** Another for each node and object, so that one node writes and the others see it. */
  #delayMs(uid: string, pending: Pending): number {
    const hash = createHash("sha256").update(`${this.#nodeName} ${uid}`).digest().readUInt32BE(0);
    const spread = Math.min(mostSpreadMs, perNodeMs * this.#nodeCount());
    const pauses = (["setbacks", "failures"] as const).map((why) =>
      pending[why] === 0 ? firstMs : Math.min(mostPauseMs[why], pauseMs * 2 ** (pending[why] - 1)),
    );
    return Math.max(...pauses) + (hash / 2 ** 32) * spread;
  }

  async #write(state: PolicyState): Promise<void> {
    const { kind, metadata, status } = state.object;
    const { apiVersion, plural } = policyResources[kind as PolicyKind];
    const { name, namespace, uid = "", resourceVersion } = metadata;
    const pending = this.#pending.get(uid)!;
    const before = conditionsOf(status);
    const condition = conditionOf(state);
    const [stamped] = stampConditions([condition], before as Condition[], new Date());
    const conditions = before.some(({ type }) => type === condition.type)
      ? before.map((one) => (one.type === condition.type ? stamped : one))
      : [...before, stamped];
    const path = `${resourcePath(apiVersion, plural, namespace, name)}/status`;
    try {
      // Refused when the object has changed: conditions of others that are not seen here yet would be lost.
      await this.#client.request("PATCH", path, {
        body: { metadata: { resourceVersion }, status: { conditions } },
        contentType: "application/merge-patch+json",
        timeoutMs: 5_000,
      });
      pending.dueMs = undefined;
      pending.written = resourceVersion;
      pending.failures = 0;
    } catch (error) {
      // Somebody was first: what they wrote is heard of.
      if (!isConflict(error) && ++pending.failures === 1)
        this.#log.warn("policy status not written", {
          policy: `${kind} ${name}`,
          error: errorMessage(error),
        });
      pending.dueMs = performance.now() + this.#delayMs(uid, pending);
    }
  }
}

/** Those of a list that is anybody's to write. */
function conditionsOf(status: any): { type: string; status?: string; message?: string }[] {
  const all: unknown = status?.conditions;
  return Array.isArray(all) ? all.filter((one) => typeof one?.type === "string") : [];
}

/** As Cilium writes it, with a reason. */
function conditionOf({ problem, judgedBy }: PolicyState): Condition {
  const type = "Valid";
  if (problem === undefined)
    return { type, status: "True", reason: "ValidationSucceeded", message: "Policy validation succeeded" };
  const kept = judgedBy === undefined ? "" : keptText;
  return { type, status: "False", reason: "ValidationFailed", message: problem.slice(0, mostText) + kept };
}

/** Whether an object says already what is to be said. Only who knew the version before knows that it stays in force. */
function isRight(state: PolicyState): boolean {
  const wanted = conditionOf(state);
  const found = conditionsOf(state.object.status).find(({ type }) => type === wanted.type);
  if (found?.status !== wanted.status) return false;
  return (
    wanted.status === "True" || [wanted.message, wanted.message + keptText].includes(found.message ?? "")
  );
}

function eventOf({ object, problem }: PolicyState): ObjectProblem[] {
  const { apiVersion = "", kind = "", metadata } = object;
  const { namespace = "", name = "", uid } = metadata;
  if (problem === undefined || hasStatus(kind)) return [];
  const subject = { apiVersion, kind, namespace, name, ...(uid === undefined ? {} : { uid }) };
  return [{ object: subject, reason: "NotInForce", message: problem }];
}
