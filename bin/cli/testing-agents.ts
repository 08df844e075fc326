// SPDX-License-Identifier: Apache-2.0
// An API server that knows what an installation looks like, and exec in its agents' pods.
import http from "node:http";
import { type WebSocket, WebSocketServer } from "ws";
import { kubeconfigFor } from "./testing-cli.ts";

const list = (items: object[]) => ({ metadata: {}, items });

/** A cluster whose agents say what a test lets them say. */
export class PlayedCluster {
  /** What the agent of a pod answers; undefined is nothing ever, a text is what wget then says. */
  answers: Record<string, unknown> = {};
  /** The nodes, each with the name of its agent's pod; empty when it has none. */
  nodes: Record<string, string> = {};
  /** How late the agent of a pod answers. */
  delaysMs: Record<string, number> = {};
  /** Other objects, by path. */
  objects: Record<string, object> = {};
  /** Whose agent was asked what. */
  asked: string[] = [];
  readonly #server = http.createServer((request, response) => {
    const found = this.#objectAt(request.url!.split("?")[0]!);
    response.writeHead(found === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(found ?? { kind: "Status", reason: "NotFound", message: "not found" }));
  });
  readonly #sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "v5.channel.k8s.io" });

  /** Starts it, and returns a kubeconfig. */
  start(): Promise<string> {
    this.#server.on("upgrade", (request, socket, head) => {
      const url = new URL(request.url!, "http://x");
      const pod = /\/pods\/([^/]+)\/exec/.exec(url.pathname)![1]!;
      this.asked.push(`${pod} ${url.searchParams.getAll("command").at(-1)}`);
      this.#sockets.handleUpgrade(request, socket, head, (client) => {
        // As the real command does, it waits for a line.
        client.once("message", () => setTimeout(() => this.#answer(client, pod), this.delaysMs[pod] ?? 0));
      });
    });
    return kubeconfigFor(this.#server);
  }

  stop(): void {
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #objectAt(path: string): object | undefined {
    const layers = { services: { mode: "on" }, podNetwork: { mode: "active" } };
    const conditions = [{ type: "Ready", status: "True" }];
    const names = Object.keys(this.nodes);
    const objects: Record<string, () => object> = {
      "/api/v1/nodes": () => list(names.map((name) => ({ metadata: { name } }))),
      "/api/v1/namespaces/kube-system/pods": () =>
        list(
          Object.entries(this.nodes)
            .filter(([, pod]) => pod !== "")
            .map(([nodeName, name]) => ({
              metadata: { name },
              spec: { nodeName },
              status: { containerStatuses: [{ ready: true }] },
            })),
        ),
      "/apis/shunt.dev/v1alpha1/nodes": () =>
        list(names.map((name) => ({ metadata: { name }, status: { layers, conditions } }))),
      "/apis/apps/v1/namespaces/kube-system/daemonsets": () => list([]),
      "/apis/apps/v1/namespaces/kube-system/daemonsets/shunt-agent": () => ({}),
      "/api/v1/namespaces/kube-system/configmaps/shunt-install": () => ({
        data: { "record.json": JSON.stringify({ version: "0", values: {} }) },
      }),
      "/api/v1/namespaces/kube-system/configmaps/shunt-config": () => ({
        data: { "config.yaml": "healthPort: 4242\n" },
      }),
    };
    return objects[path]?.() ?? this.objects[path];
  }

  #answer(client: WebSocket, pod: string): void {
    const said = this.answers[pod];
    if (said === undefined) return;
    const send = (channel: number, text: string): void =>
      client.send(Buffer.concat([Buffer.from([channel]), Buffer.from(text)]));
    const isError = typeof said === "string";
    send(isError ? 2 : 1, isError ? said : JSON.stringify(said));
    send(3, JSON.stringify(isError ? { status: "Failure", message: "exit code 1" } : { status: "Success" }));
    client.close();
  }
}
