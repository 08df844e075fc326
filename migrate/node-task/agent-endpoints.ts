// SPDX-License-Identifier: Apache-2.0
import { get } from "node:http";
import { ShuntError } from "../../lib/errors.ts";

const mostBytes = 32 * 1024 * 1024;

/** UIDs of the pods that have an interface of the agent's, as the agent of this node says on its own port. */
export async function readAgentEndpoints(healthPort: number): Promise<string[]> {
  const text = await new Promise<string>((resolve, reject) => {
    const asked = get(
      { host: "127.0.0.1", port: healthPort, path: "/status", timeout: 10_000 },
      (response) => {
        let answer = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          answer += chunk;
          if (answer.length > mostBytes) asked.destroy(new Error("its answer has no end"));
        });
        response.on("end", () =>
          response.statusCode === 200
            ? resolve(answer)
            : reject(new Error(`it answers ${response.statusCode}`)),
        );
        response.on("error", reject);
      },
    );
    asked.on("timeout", () => asked.destroy(new Error("no answer within 10 s")));
    asked.on("error", reject);
  }).catch((cause: unknown) => {
    throw new ShuntError(`The agent does not answer on 127.0.0.1:${healthPort}: ${String(cause)}`, {
      code: "AgentAway",
      remedy: "See that the pod of shunt-agent runs on this node.",
      cause,
    });
  });
  const endpoints = (JSON.parse(text) as { endpoints?: { podUid?: unknown; ready?: unknown }[] }).endpoints;
  if (!Array.isArray(endpoints))
    throw new ShuntError("The agent's status has no list of endpoints: it is of another version");
  return endpoints.flatMap(({ podUid, ready }) =>
    typeof podUid === "string" && ready === true ? [podUid] : [],
  );
}
