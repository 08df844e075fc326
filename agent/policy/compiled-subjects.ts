// SPDX-License-Identifier: Apache-2.0
import { type CompiledDirection, compile } from "./compile.ts";
import type { NamedPort } from "./decide.ts";
import type { Labels, Policy } from "./model.ts";
import type { PeerIndex } from "./peer-index.ts";
import type { PolicyIndex } from "./policy-index.ts";

/** What is judged: pods with the same labels and ports are judged alike. */
export interface Subject {
  labels: Labels;
  ports: readonly NamedPort[];
  /** Text of its labels, as `identityText` has it. */
  text: string;
}

export interface CompiledSubject {
  ingress: CompiledDirection | undefined;
  egress: CompiledDirection | undefined;
}

interface Kept {
  /** The index that `about` was found in. */
  policies: PolicyIndex;
  about: readonly Policy[];
  /** What was compiled from, besides the policies: lists of a `PeerIndex`, which are others when they change. */
  peers: readonly unknown[];
  compiled: CompiledSubject;
}

/** Compiles subjects, and only those again of which something has changed. */
export class CompiledSubjects {
  #kept: ReadonlyMap<string, Kept> = new Map();
  #next = new Map<string, Kept>();

  of(subject: Subject, policies: PolicyIndex, peers: PeerIndex): CompiledSubject {
    const key = `${subject.text} ${JSON.stringify(subject.ports)}`;
    const made = this.#next.get(key);
    if (made !== undefined) return made.compiled;
    const before = this.#kept.get(key);
    const about = before?.policies === policies ? before.about : policies.about(subject);
    const asked = askedPeers(about, peers);
    const isSame = before !== undefined && same(before.about, about) && same(before.peers, asked);
    const compiled = isSame
      ? before.compiled
      : {
          ingress: compile(about, "ingress", subject, peers),
          egress: compile(about, "egress", subject, peers),
        };
    this.#next.set(key, { policies, about, peers: asked, compiled });
    return compiled;
  }

  /** Forgets subjects that were not asked for since the last call. */
  forgetUnasked(): void {
    this.#kept = this.#next;
    this.#next = new Map();
  }
}

/** All that `compile` asks the index. */
function askedPeers(about: readonly Policy[], peers: PeerIndex): unknown[] {
  const asked: unknown[] = [peers.ownNode];
  for (const { rules } of about)
    for (const rule of rules) {
      for (const peer of rule.peers ?? []) asked.push(peers.of(peer));
      if (rule.peers === undefined && rule.ports?.some((port) => "name" in port) === true)
        asked.push(peers.withPorts);
    }
  return asked;
}

const same = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((one, index) => one === b[index]);
