// SPDX-License-Identifier: Apache-2.0
// The number of a set of labels, the same on every node: the name of an object that holds the labels.
import { createHash } from "node:crypto";
import { ShuntError } from "../../lib/errors.ts";
import { isAlreadyExists } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { parseLabelPattern } from "../../lib/label-patterns.ts";
import type { Labels } from "./model.ts";
import { labelKeys } from "./selector.ts";

/** Numbers of workloads: below them are the reserved ones, and VXLAN's header and Hubble's clients take these. */
export const identityRange = { first: 256, last: 65_535 } as const;

/** These always tell workloads apart. */
const always = /^k8s:io\.(kubernetes\.pod\.namespace|cilium\.k8s\.)/;

/**
 * Labels of pods that change with every rollout or pod, so that a number for each of their values would say nothing.
 * The first pattern that matches decides.
 */
const irrelevant: readonly [pattern: RegExp, isRelevant: boolean][] = [
  [/^k8s:app\.kubernetes\.io\//, true],
  [
    /^k8s:(pod-template-(hash|generation)|controller-revision-hash|controller-uid|job-name|etcd_node)$/,
    false,
  ],
  [/^k8s:(statefulset|apps|batch)\.kubernetes\.io\//, false],
  [/^k8s:([^/]*\.)?(beta\.kubernetes|kubernetes|k8s)\.io\//, false],
];

/** Whether a label tells workloads apart, also where no policy asks for it. */
export type IsUsual = (key: string) => boolean;

/** `patterns`: asked before the built-in ones, see `parseLabelPattern`. */
export function usualLabels(patterns: readonly string[]): IsUsual {
  const own = patterns.map(parseLabelPattern);
  return (key) =>
    always.test(key) ||
    (own.find(({ matches }) => matches(key))?.isRelevant ??
      irrelevant.find(([pattern]) => pattern.test(key))?.[1] ??
      true);
}

/** The labels that tell workloads apart: the usual ones, and those that a policy selects by. */
export function relevantLabels(
  labels: Labels,
  selectedBy: ReadonlySet<string>,
  isUsual: IsUsual,
): Map<string, string> {
  const isRelevant = (key: string): boolean =>
    isUsual(key) || selectedBy.has(key) || selectedBy.has(key.replace(/^[a-z0-9]+:/, "any:"));
  return new Map([...labels].filter(([key]) => isRelevant(key)));
}

/** The same text for the same labels. */
export function identityText(labels: Labels): string {
  return JSON.stringify([...labels].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The objects of all numbers, and how one is made. */
export interface IdentityStore {
  /** Those that are known here; others may be there already. */
  list(): Iterable<KubeObject>;
  /** Asks the server. */
  get(name: string): Promise<KubeObject | undefined>;
  /** Throws what `isAlreadyExists` knows when there is one of this name. */
  create(object: KubeObject): Promise<KubeObject>;
}

/** Numbers that are tried for a set of labels: far more than collide by chance in a range that is nearly full. */
const mostTries = 512;

/** Gives numbers to sets of labels. */
export class IdentityAllocator {
  readonly #store: IdentityStore;
  /** What was asked for or made here, by text: the list may not have it yet. */
  readonly #known = new Map<string, Promise<number>>();

  constructor(store: IdentityStore) {
    this.#store = store;
  }

  /**
   * The number of these labels. Asked at the same time on two nodes it may be two numbers, both with these labels, when
   * a third set of labels lies between; rules select labels, and so both.
   */
  allocate(labels: Labels): Promise<number> {
    const text = identityText(labels);
    const asked = this.#known.get(text);
    if (asked !== undefined) return asked;
    const answer = this.#allocate(labels, text);
    this.#known.set(text, answer);
    // An answer that never came is asked for again; one that came is in the list from then on.
    answer.catch(() => this.#known.delete(text));
    return answer;
  }

  /** Forgets a number that is given out no more. */
  forget(labels: Labels): void {
    this.#known.delete(identityText(labels));
  }

  async #allocate(labels: Labels, text: string): Promise<number> {
    const there = this.#find(text);
    if (there !== undefined) return there;
    const size = identityRange.last - identityRange.first + 1;
    const start = createHash("sha256").update(text).digest().readUInt32BE(0);
    const taken = new Set([...this.#store.list()].map(({ metadata }) => metadata.name));
    for (let tries = 0, step = 0; tries < mostTries && step < size; step++) {
      const number = identityRange.first + ((start + step) % size);
      if (taken.has(String(number))) continue;
      tries++;
      const found = await this.#take(number, labels, text);
      if (found) return number;
    }
    throw new ShuntError(`There is no free identity for ${text}`, {
      code: "NoIdentity",
      remedy: `At most ${size} sets of labels can be told apart. Pods have a label whose value is each pod's own: leave it out with policy.identityLabels.`,
    });
  }

  /** Whether the number is now, or was already, that of these labels. */
  async #take(number: number, labels: Labels, text: string): Promise<boolean> {
    try {
      await this.#store.create(identityObject(number, labels));
      return true;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const other = await this.#store.get(String(number));
    return other !== undefined && textOfIdentity(other) === text;
  }

  /** The lowest number that has these labels. */
  #find(text: string): number | undefined {
    let lowest: number | undefined;
    for (const object of this.#store.list()) {
      const number = Number(object.metadata.name);
      if (textOfIdentity(object) === text && (lowest === undefined || number < lowest)) lowest = number;
    }
    return lowest;
  }
}

function identityObject(number: number, labels: Labels): KubeObject {
  const namespace = labels.get(labelKeys.namespace);
  return {
    apiVersion: "shunt.dev/v1alpha1",
    kind: "ShuntIdentity",
    metadata: {
      name: String(number),
      // So that kubectl can select by it.
      ...(namespace !== undefined && { labels: { "shunt.dev/namespace": namespace } }),
    },
    spec: { labels: Object.fromEntries(labels) },
  };
}

/** The labels that an object of a number holds. */
export function labelsOfIdentity({ spec }: KubeObject): Labels {
  return new Map(Object.entries<string>(spec?.labels ?? {}));
}

const texts = new WeakMap<KubeObject, string>();
/** The text of the labels that an object of a number holds. */
export function textOfIdentity(object: KubeObject): string {
  const text = texts.get(object) ?? identityText(labelsOfIdentity(object));
  texts.set(object, text);
  return text;
}
