// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import { ApiError } from "../lib/kube-errors.ts";

const conflict = 409;

/** What is wrong with an object of the API, in words that are the same on every node. */
export interface ObjectProblem {
  object: { apiVersion: string; kind: string; namespace: string; name: string; uid?: string };
  reason: string;
  message: string;
}

/**
 * Says of objects that are not as they should be so in a Warning Event on the object. Its name follows from what it says,
 * so that a problem that every node sees makes one Event and not one a node.
 */
export class ProblemEvents {
  readonly #client: KubeClient;
  readonly #said = new Set<string>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Says what is new among these problems, which are all that there are now. Best effort: the agent's status has them too. */
  async tell(problems: readonly ObjectProblem[]): Promise<void> {
    const now = new Map(problems.map((problem) => [textOf(problem), problem]));
    for (const text of this.#said) if (!now.has(text)) this.#said.delete(text);
    for (const [text, problem] of now) {
      if (this.#said.has(text)) continue;
      this.#said.add(text);
      await this.#write(text, problem).catch((error: unknown) => {
        if (error instanceof ApiError && error.status === conflict) return;
        this.#said.delete(text);
      });
    }
  }

  async #write(text: string, { object, reason, message }: ObjectProblem): Promise<void> {
    const { namespace, name } = object;
    const hash = createHash("sha256").update(text).digest("hex").slice(0, 10);
    const now = new Date().toISOString().replace(/\.\d+/, "");
    const body = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${name}.shunt-${hash}`, namespace },
      involvedObject: object,
      ...{ type: "Warning", reason, message: message.slice(0, 1000), count: 1 },
      ...{ firstTimestamp: now, lastTimestamp: now },
      source: { component: "shunt-agent" },
    };
    await this.#client.request("POST", resourcePath("v1", "events", namespace), { body, timeoutMs: 5_000 });
  }
}

const textOf = ({ object, reason, message }: ObjectProblem): string =>
  JSON.stringify([object.kind, object.namespace, object.name, object.uid, reason, message]);
