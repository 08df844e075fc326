// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import { ApiError } from "../lib/kube-errors.ts";
import type { ServiceProblem } from "./service-table.ts";

const conflict = 409;

/**
 * Says of Services that are not as they should be so in an Event on the object. Its name follows from what it says, so
 * that a problem that every node sees makes one Event and not one a node.
 */
export class ServiceEvents {
  readonly #client: KubeClient;
  readonly #said = new Set<string>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Says what is new among these problems. Best effort: it is in the agent's status too. */
  async tell(problems: readonly ServiceProblem[]): Promise<void> {
    const now = new Map<string, ServiceProblem>(
      problems.map((problem) => [`${problem.group} ${problem.message}`, problem]),
    );
    for (const text of this.#said) if (!now.has(text)) this.#said.delete(text);
    for (const [text, problem] of now) {
      if (this.#said.has(text)) continue;
      this.#said.add(text);
      await this.#write(problem).catch((error: unknown) => {
        if (error instanceof ApiError && error.status === conflict) return;
        this.#said.delete(text);
      });
    }
  }

  async #write({ group, message }: ServiceProblem): Promise<void> {
    const { kind, namespace, name } = objectOf(group);
    const hash = createHash("sha256").update(`${group} ${message}`).digest("hex").slice(0, 10);
    const now = new Date().toISOString().replace(/\.\d+/, "");
    const body = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${name}.shunt-${hash}`, namespace },
      involvedObject: { apiVersion: "v1", kind, namespace, name },
      ...{ type: "Warning", reason: "NotProgrammed", message: message.slice(0, 1000), count: 1 },
      ...{ firstTimestamp: now, lastTimestamp: now },
      source: { component: "shunt-agent" },
    };
    await this.#client.request("POST", resourcePath("v1", "events", namespace), { body, timeoutMs: 5_000 });
  }
}

/** The object that a group was made of, by the group's key. */
function objectOf(group: string): { kind: string; namespace: string; name: string } {
  const isPod = group.startsWith("pod ");
  const [namespace = "", rest = ""] = (isPod ? group.slice(4) : group).split("/");
  return { kind: isPod ? "Pod" : "Service", namespace, name: rest.split(":")[0] ?? "" };
}
