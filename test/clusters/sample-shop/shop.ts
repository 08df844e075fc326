// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { KubeClient } from "../../../lib/kube.ts";
import { waitFor } from "../../../lib/wait.ts";
import { applyObject } from "../sandbox/apply.ts";
import { addService, repoDir, serviceScript } from "../sandbox/node/launch.ts";
import { nodeDir } from "../sandbox/state.ts";
import type { VisitResults } from "../sandbox/visitor/visits.ts";
import { applications, shopManifests, shopNamespace } from "./manifests.ts";

const image = "shunt.local/shunt:dev";

/** Deploys the sample applications and waits until every replica is ready. Returns what there is. */
export async function deployShop(
  kube: KubeClient,
  signal: AbortSignal,
  report: (progress: string) => void,
): Promise<string> {
  for (const object of shopManifests(image)) await applyObject(kube, object);
  const wanted = applications.reduce((sum, { replicas }) => sum + replicas, 0);
  await waitFor(
    "the applications to be ready",
    async () => {
      const { items } = await kube.list(`/apis/apps/v1/namespaces/${shopNamespace}/deployments`);
      const ready = items.reduce((sum, { status }) => sum + (status?.readyReplicas ?? 0), 0);
      report(`${ready} of ${wanted} pods are ready`);
      return ready >= wanted;
    },
    {
      ...{ timeoutMs: 180_000, intervalMs: 500, signal },
      remedy: `See with: kubectl -n ${shopNamespace} get pods,events`,
    },
  );
  return applications.map(({ name, replicas }) => `${name} (${replicas} replicas)`).join(", ");
}

/** Label by which a cloud's load balancer leaves a node out. */
const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers";
const followMs = 1_000;

/**
 * Someone outside a sandbox cluster who visits the applications all the time, by the NodePorts of the nodes that a
 * load balancer would choose from.
 */
export class Visitor {
  readonly #file: string;
  readonly #timer: NodeJS.Timeout;

  private constructor(file: string, follow: () => Promise<void>) {
    this.#file = file;
    let isFollowing = false;
    this.#timer = setInterval(() => {
      if (isFollowing) return;
      isFollowing = true;
      // An API server that is away for a moment has told enough before.
      void follow()
        .catch(() => undefined)
        .finally(() => (isFollowing = false));
    }, followMs);
    this.#timer.unref();
  }

  /** @param rate visits a second */
  static async start(cluster: string, kube: KubeClient, rate: number, signal: AbortSignal): Promise<Visitor> {
    const { items } = await kube.list(`/api/v1/namespaces/${shopNamespace}/services`);
    const ports = items.flatMap(({ spec }) =>
      (spec?.ports ?? []).flatMap((port: any) => (port.nodePort as number | undefined) ?? []),
    );
    const file = path.join(nodeDir(cluster, "switch"), "visitor.json");
    const follow = async (): Promise<void> => {
      const nodes = (await kube.list("/api/v1/nodes")).items.filter(
        ({ metadata }) => metadata.labels?.[excludeLabel] === undefined,
      );
      const addresses = nodes.flatMap(({ status }) =>
        ((status?.addresses ?? []) as { type: string; address: string }[]).flatMap(({ type, address }) =>
          type === "InternalIP" ? (address.includes(":") ? `[${address}]` : address) : [],
        ),
      );
      // Neighbours in the list differ in both, so that every node and every application is visited in turn.
      const urls = ports.flatMap((port) => addresses.map((address) => `http://${address}:${port}/`));
      writeFileSync(`${file}.urls.new`, urls.join("\n"));
      renameSync(`${file}.urls.new`, `${file}.urls`);
    };
    await follow();
    const command = [
      ...[
        process.execPath,
        "--disable-warning=ExperimentalWarning",
        path.join(repoDir, "bin/sandbox-part.ts"),
      ],
      ...["visitor", `--rate=${rate}`, `--results=${file}`],
    ];
    await addService(cluster, "switch", "visitor", serviceScript(command));
    const visitor = new Visitor(file, follow);
    await waitFor(
      "every application to answer a visitor",
      async () => existsSync(file) && visitor.read().counting,
      {
        ...{ timeoutMs: 120_000, intervalMs: 200, signal },
        remedy: `See with: kubectl -n ${shopNamespace} get pods,endpointslices`,
      },
    );
    return visitor;
  }

  /** What was seen so far. */
  read(): VisitResults {
    return JSON.parse(readFileSync(this.#file, "utf8")) as VisitResults;
  }

  /** Ends the visits, waits for the last answers, and returns what was seen. */
  async stop(): Promise<VisitResults> {
    clearInterval(this.#timer);
    writeFileSync(`${this.#file}.stop`, "");
    await waitFor("the visitor's last answers", async () => this.read().final, { timeoutMs: 30_000 });
    return this.read();
  }
}
