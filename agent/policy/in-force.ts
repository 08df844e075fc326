// SPDX-License-Identifier: Apache-2.0
// Where policies are in force: what each node tells in its ShuntNode object, and what policies' own status says of all nodes.
import { fingerprint } from "../../lib/fingerprint.ts";
import { type Informer, objectKey } from "../../lib/kube-informer.ts";
import { hasStatus, inForceType, inForceTypeOn } from "../../lib/policy-schema.ts";
import type { Modes } from "../config.ts";
import type { Condition } from "../node-mode.ts";
import type { PolicyState } from "./policy-state.ts";
import { type PolicyAccount, whyNotInForce } from "./policy-views.ts";

const mostTold = 20;
const mostText = 300;

const generationOf = ({ object }: PolicyState): number => object.metadata.generation ?? 0;

/** What a node tells of its policies. */
export function accountOf(states: readonly PolicyState[]): PolicyAccount {
  const told = states.filter(({ object }) => hasStatus(object.kind));
  const missing = told.filter(({ inForce }) => !inForce);
  return {
    read: fingerprint(told.map((state) => `${state.object.metadata.uid} ${generationOf(state)}`)),
    notInForce: missing.slice(0, mostTold).map(({ object, problem, judgedBy }) => ({
      uid: object.metadata.uid ?? "",
      message: whyNotInForce(problem?.slice(0, mostText), judgedBy),
    })),
    more: Math.max(0, missing.length - mostTold),
  };
}

/** What one node tells. */
export interface NodeWord {
  node: string;
  /** undefined: it has no agent that has told anything. */
  mode: Modes["policy"] | undefined;
  problem: string | undefined;
  account: PolicyAccount | undefined;
}

/** The Linux nodes that there are, and what their agents tell, by name. */
export function wordsOfNodes(nodes: Informer, shuntNodes: Informer): NodeWord[] {
  return nodes
    .list()
    .filter(({ metadata }) => (metadata.labels?.["kubernetes.io/os"] ?? "linux") === "linux")
    .map((object): NodeWord => {
      const node = objectKey(object);
      const { mode, account, reason } = shuntNodes.get(node)?.status?.layers?.policy ?? {};
      return { node, mode, problem: reason ?? undefined, account: account ?? undefined };
    })
    .toSorted((a, b) => (a.node < b.node ? -1 : 1));
}

/** Of more nodes than that, only those are told one by one where a policy is not in force. */
const mostNodes = 50;
const mostNames = 10;

/** What has been said of a policy: conditions of its status. */
type Said = readonly { type: string; status?: string; reason?: string; message?: string }[];

/** Nodes with what of them is the same for all policies. */
export class NodeWords {
  readonly #words: readonly NodeWord[];
  readonly #read: string | undefined;
  /** Those that enforce everything as the agent itself has read it. */
  readonly #plain: ReadonlySet<NodeWord>;

  /** `read`: what the agent itself has read; undefined: nothing, and so it knows nothing of others. */
  constructor(words: readonly NodeWord[], read: string | undefined) {
    this.#words = words;
    this.#read = read;
    this.#plain = new Set(
      words.filter(
        ({ mode, account }) =>
          mode === "enforce" &&
          account !== undefined &&
          account.read === read &&
          account.notInForce.length + account.more === 0,
      ),
    );
  }

  /**
   * Whether a policy is in force, on all nodes and on each. undefined: some have not told yet, and are waited for, or the agent
   * itself knows nothing. What was said of a
   * node stays while the node knows other versions than the agent, but not of another generation of the policy.
   */
  conditions(state: PolicyState, said: Said, waits: boolean): Condition[] | undefined {
    if (this.#words.length === 0) return [];
    const prefix = `generation ${generationOf(state)}`;
    const isFew = this.#words.length <= mostNodes;
    const isSaid = said.some(
      ({ type, message }) => type === inForceType && message?.startsWith(`${prefix}:`) === true,
    );
    const all: Condition[] = [];
    const others: { node: string; condition: Condition }[] = [];
    for (const word of this.#words) {
      const isPlain = this.#plain.has(word);
      if (isPlain && !isFew) continue;
      const condition = isPlain
        ? enforced(word.node, prefix)
        : this.#onNode(word, { state, prefix, said, waits, isEnforcedUnlessSaid: !isFew && isSaid });
      if (condition === undefined) return undefined;
      if (condition.status !== "True") others.push({ node: word.node, condition });
      all.push(condition);
    }
    const listed = isFew ? all : others.slice(0, mostNodes).map(({ condition }) => condition);
    const count = this.#words.length;
    const names = others.slice(0, mostNames).map(({ node, condition }) => `${node} (${condition.reason})`);
    const rest = others.length > mostNames ? ` and ${others.length - mostNames} more` : "";
    const status =
      others.length === 0
        ? "True"
        : others.some(({ condition }) => condition.status === "False")
          ? "False"
          : "Unknown";
    const reason = { True: "OnAllNodes", False: "NotOnAllNodes", Unknown: "Pending" }[status];
    const where = names.length === 0 ? "" : `; not on ${names.join(", ")}${rest}`;
    const message = `${prefix}: enforced on ${count - others.length} of ${count} nodes${where}`;
    return [{ type: inForceType, status, reason, message }, ...listed];
  }

  #onNode(
    { node, mode, account, problem }: NodeWord,
    {
      state,
      prefix,
      said,
      waits,
      isEnforcedUnlessSaid,
    }: { state: PolicyState; prefix: string; said: Said; waits: boolean; isEnforcedUnlessSaid: boolean },
  ): Condition | undefined {
    const type = inForceTypeOn(node);
    const no = (reason: string, why: string): Condition => ({
      ...{ type, status: "False", reason, message: `${prefix}: ${why}` },
    });
    if (mode === "off" && problem === undefined) return no("Off", "policies are off on this node");
    const pending = (why: string): Condition => ({
      ...{ type, status: "Unknown", reason: "Pending", message: `${prefix}: ${why}` },
    });
    if (mode === undefined) return pending("no agent has told anything on this node");
    if (this.#read === undefined) return undefined;
    if (account?.read !== this.#read) {
      const before = said.find((one) => one.type === type);
      if (before?.message?.split(":")[0] === prefix && before.reason !== "Off") return before as Condition;
      if (before === undefined && isEnforcedUnlessSaid) return enforced(node, prefix);
      if (waits) return undefined;
      const why = problem === undefined ? "" : ` (${problem.slice(0, mostText)})`;
      return pending(`the node's agent has not told yet that it knows it${why}`);
    }
    const uid = state.object.metadata.uid ?? "";
    const missing = account.notInForce.find((one) => one.uid === uid);
    if (missing !== undefined) return no("NotInForce", missing.message);
    // Too many of them to be told: what an object says is the same on every node.
    if (account.more > 0 && state.problem !== undefined)
      return no("NotInForce", state.problem.slice(0, mostText));
    if (mode === "audit") return no("Audited", "policies are only audited on this node");
    return enforced(node, prefix);
  }
}

const enforced = (node: string, prefix: string): Condition => ({
  ...{ type: inForceTypeOn(node), status: "True", reason: "Enforced", message: prefix },
});
