// SPDX-License-Identifier: Apache-2.0
// What policy objects themselves say: whether they are valid, which is the same on every node, and where they are in force.
import { createHash } from "node:crypto";
import { errorMessage } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isConflict } from "../../lib/kube-errors.ts";
import type { Logger } from "../../lib/log.ts";
import { hasStatus, isInForceType, type PolicyKind, policyResources } from "../../lib/policy-schema.ts";
import { Coalesced } from "../coalesce.ts";
import { type Condition, stampConditions } from "../node-mode.ts";
import { type ObjectProblem, ProblemEvents } from "../problem-events.ts";
import type { NodeWords } from "./in-force.ts";
import type { PolicyState } from "./policy-state.ts";

/** Nobody writes sooner; then nodes do so one after the other, if nobody has. */
const firstMs = 200;
const perNodeMs = 200;
const mostSpreadMs = 30_000;
/** What many nodes tell is written seldom: so long after the last write, for each node. */
const pausePerNodeMs = 20;
/** So long after a change nodes are waited for that have not told whether it is in force. */
const waitForNodesMs = 3_000;
/** With more nodes than that rounds are so far apart, for each node. */
const manyNodes = 50;
const roundPerNodeMs = 2;
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
  generation: number | undefined;
  /** When this generation was first seen. */
  sinceMs: number;
  /** When this node writes it; undefined while that is not needed. */
  dueMs: number | undefined;
  /** Until when it waits for nodes; undefined: for none. */
  waitsUntilMs: number | undefined;
  /** The version of the object that was looked at last, and the one that this node has written upon. */
  seen: string | undefined;
  written?: string | undefined;
  /** How often somebody has changed the object, and not to what is right. */
  setbacks: number;
  failures: number;
}

/**
 * Keeps the conditions of objects right: Valid, and InForce for all nodes and each. Of NetworkPolicies, which have no status, an
 * Event tells what is wrong.
 */
export class PolicyStatuses {
  readonly #client: KubeClient;
  readonly #nodeName: string;
  readonly #nodeCount: () => number;
  readonly #log: Logger;
  readonly #states: () => readonly PolicyState[] | undefined;
  readonly #nodeWords: () => NodeWords;
  readonly #events: ProblemEvents;
  readonly #work: Coalesced;
  readonly #pending = new Map<string, Pending>();
  #timer: NodeJS.Timeout | undefined;
  /** No round before. */
  #nextMs = 0;

  constructor(options: {
    client: KubeClient;
    nodeName: string;
    nodeCount: () => number;
    log: Logger;
    /** All policy objects; undefined: nothing can be said now. */
    states: () => readonly PolicyState[] | undefined;
    /** What nodes tell of them. */
    nodeWords: () => NodeWords;
    onError?: (part: string) => void;
  }) {
    const { client, nodeName, nodeCount, log, states, nodeWords } = options;
    this.#client = client;
    this.#nodeName = nodeName;
    this.#nodeCount = nodeCount;
    this.#log = log;
    this.#states = states;
    this.#nodeWords = nodeWords;
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
    const restMs = this.#nextMs - performance.now();
    if (restMs > 0) {
      this.#timer = setTimeout(() => this.trigger(), restMs).unref();
      return;
    }
    const states = this.#states();
    if (states === undefined) return;
    // What each of many nodes tells is a reason to look.
    if (this.#nodeCount() > manyNodes) this.#nextMs = performance.now() + roundPerNodeMs * this.#nodeCount();
    const due = this.#findDue(states, this.#nodeWords());
    await Promise.all(due.slice(0, mostAtOnce).map((one) => this.#write(one)));
    await this.#events.tell(states.flatMap(eventOf));
    const next = Math.min(
      ...[...this.#pending.values()].map(({ dueMs, waitsUntilMs }) =>
        Math.min(dueMs ?? Number.POSITIVE_INFINITY, waitsUntilMs ?? Number.POSITIVE_INFINITY),
      ),
    );
    if (next !== Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(() => this.trigger(), Math.max(0, next - performance.now())).unref();
  }

  /** Those that are not right for so long that it is this node's turn, in an order of this node's own. */
  #findDue(states: readonly PolicyState[], words: NodeWords): Wanted[] {
    const now = performance.now();
    const seen = new Set<string>();
    const due = states.flatMap((state): Wanted[] => {
      const { kind, metadata } = state.object;
      if (!hasStatus(kind)) return [];
      const { uid = "", generation, resourceVersion } = metadata;
      seen.add(uid);
      const known = this.#pending.get(uid);
      const sinceMs = known !== undefined && known.generation === generation ? known.sinceMs : now;
      const waitsUntilMs = sinceMs + waitForNodesMs;
      const said = conditionsOf(state.object.status);
      const ofNodes = words.conditions(state, said, now < waitsUntilMs);
      const wanted = { state, conditions: [validityOf(state), ...(ofNodes ?? said.filter(isOfNodes))] };
      const text = `${generation} ${JSON.stringify(wanted.conditions.map(({ status, message }) => [status, message]))}`;
      const isNew = known?.text !== text;
      const pending: Pending = {
        ...{ dueMs: undefined, written: undefined, ...known, text, generation, sinceMs },
        ...{
          seen: resourceVersion,
          waitsUntilMs: ofNodes === undefined && now < waitsUntilMs ? waitsUntilMs : undefined,
        },
        ...(isNew ? { setbacks: 0, failures: 0 } : {}),
      } as Pending;
      this.#pending.set(uid, pending);
      if (isRight(wanted) || pending.written === resourceVersion) {
        pending.dueMs = undefined;
        return [];
      }
      if (known !== undefined && known.seen !== resourceVersion) {
        if (!isNew) pending.setbacks++;
        pending.dueMs = undefined;
      }
      pending.dueMs ??= now + this.#delayMs(uid, pending);
      return pending.dueMs <= now ? [wanted] : [];
    });
    for (const uid of this.#pending.keys()) if (!seen.has(uid)) this.#pending.delete(uid);
    const dueMs = ({ state }: Wanted): number =>
      this.#pending.get(state.object.metadata.uid ?? "")?.dueMs ?? 0;
    return due.toSorted((a, b) => dueMs(a) - dueMs(b));
  }

  /** Another for each node and object, so that one node writes and the others see it. */
  #delayMs(uid: string, pending: Pending): number {
    const hash = createHash("sha256").update(`${this.#nodeName} ${uid}`).digest().readUInt32BE(0);
    const spread = Math.min(mostSpreadMs, perNodeMs * this.#nodeCount());
    const first = Math.max(firstMs, Math.min(mostSpreadMs, pausePerNodeMs * this.#nodeCount()));
    const pauses = (["setbacks", "failures"] as const).map((why) =>
      pending[why] === 0 ? first : Math.min(mostPauseMs[why], pauseMs * 2 ** (pending[why] - 1)),
    );
    return Math.max(...pauses) + (hash / 2 ** 32) * spread;
  }

  async #write({ state, conditions: wanted }: Wanted): Promise<void> {
    const { kind, metadata, status } = state.object;
    const { apiVersion, plural } = policyResources[kind as PolicyKind];
    const { name, namespace, uid = "", resourceVersion } = metadata;
    const pending = this.#pending.get(uid)!;
    const before = conditionsOf(status) as Condition[];
    const stamped = stampConditions(wanted as Condition[], before, new Date());
    const ownOf = ({ type }: Said) => stamped.find((one) => one.type === type);
    const conditions = [
      ...before.flatMap((one) => ownOf(one) ?? (isOfNodes(one) ? [] : one)),
      ...stamped.filter(({ type }) => !before.some((one) => one.type === type)),
    ];
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

/** A condition as anybody may have written it. */
interface Said {
  type: string;
  status?: string;
  reason?: string;
  message?: string;
}

const isOfNodes = ({ type }: Said): boolean => isInForceType(type);

/** What an object is to say. */
interface Wanted {
  state: PolicyState;
  conditions: readonly Said[];
}

/** Those of a list that is anybody's to write. */
function conditionsOf(status: any): Said[] {
  const all: unknown = status?.conditions;
  return Array.isArray(all) ? all.filter((one) => typeof one?.type === "string") : [];
}

/** As Cilium writes it, with a reason. */
function validityOf({ problem, judgedBy }: PolicyState): Condition {
  const type = "Valid";
  if (problem === undefined)
    return { type, status: "True", reason: "ValidationSucceeded", message: "Policy validation succeeded" };
  const kept = judgedBy === undefined ? "" : keptText;
  return { type, status: "False", reason: "ValidationFailed", message: problem.slice(0, mostText) + kept };
}

/** Whether an object says already what is to be said, and no more of nodes. */
function isRight({ state, conditions }: Wanted): boolean {
  const said = conditionsOf(state.object.status);
  const isSaid = (wanted: Said): boolean => {
    const found = said.find(({ type }) => type === wanted.type);
    if (found === undefined || found.status !== wanted.status) return false;
    if (isOfNodes(wanted)) return found.reason === wanted.reason && found.message === wanted.message;
    // Only who knew the version before knows that it stays in force.
    return (
      wanted.status === "True" || [wanted.message, wanted.message + keptText].includes(found.message ?? "")
    );
  };
  return said.filter(isOfNodes).length === conditions.filter(isOfNodes).length && conditions.every(isSaid);
}

function eventOf({ object, problem }: PolicyState): ObjectProblem[] {
  const { apiVersion = "", kind = "", metadata } = object;
  const { namespace = "", name = "", uid } = metadata;
  if (problem === undefined || hasStatus(kind)) return [];
  const subject = { apiVersion, kind, namespace, name, ...(uid === undefined ? {} : { uid }) };
  return [{ object: subject, reason: "NotInForce", message: problem }];
}
