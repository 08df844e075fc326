// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../lib/errors.ts";
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import { isConflict } from "../lib/kube-errors.ts";
import { objectKey } from "../lib/kube-informer.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { hasStatus, isInForceType, policyResources } from "../lib/policy-schema.ts";
import type { Step } from "../lib/steps.ts";
import { waitFor } from "../lib/wait.ts";
import { manifestPath } from "./install.ts";
import { restoreKubeProxy } from "./kube-proxy.ts";
import { accessObjects, customResourceDefinitions, isOurs, policyDefinitions } from "./manifests.ts";
import { agentName, configMap, configName, daemonSet, pods, recordName } from "./names.ts";
import { runOnEveryNode } from "./one-shot.ts";
import { readRecord } from "./record.ts";
import { defaultValues } from "./values.ts";

export interface UninstallContext {
  kube: KubeClient;
  signal?: AbortSignal;
}

/** Takes everything away again and puts back what was changed; the record goes last, so that it can be resumed. */
export function uninstallSteps(): Step<UninstallContext>[] {
  return [
    {
      name: "kube-proxy",
      title: "Bring kube-proxy back",
      skip: async ({ kube }) =>
        (await readRecord(kube))?.kubeProxy === undefined ? "it was not touched" : undefined,
      async run({ kube, signal }) {
        const record = await readRecord(kube);
        return await restoreKubeProxy(kube, record!.kubeProxy!, signal);
      },
    },
    {
      name: "agent",
      title: "Stop the node agent",
      async run({ kube, signal }) {
        const existed = await kube.deleteIfExists(daemonSet(agentName), { propagationPolicy: "Background" });
        await waitFor(
          "the agent's pods to end",
          async () => (await kube.list(pods(), { labelSelector: `k8s-app=${agentName}` })).items.length === 0,
          { timeoutMs: 120_000, intervalMs: 300, ...(signal ? { signal } : {}) },
        );
        return existed ? "stopped" : "was not running";
      },
    },
    { name: "nodes", title: "Clean every node", run: cleanNodes },
    {
      name: "objects",
      title: "Remove the cluster objects",
      async run(context) {
        const { kube } = context;
        const objects = [...accessObjects(), ...customResourceDefinitions()];
        const { unused, kept } = await ownPolicyDefinitions(kube);
        const paths = [configMap(configName), ...[...objects, ...unused].map(manifestPath)];
        const removed = await Promise.all(paths.map((path) => kube.deleteIfExists(path)));
        await waitFor(
          "the objects to be gone",
          async () =>
            (await Promise.all(paths.map((path) => kube.find(path)))).every((found) => found === undefined),
          { timeoutMs: 60_000 },
        );
        const said = await takeBackStatuses(context);
        await kube.deleteIfExists(configMap(recordName));
        const left = kept.length === 0 ? "" : `; ${kept.join(", ")} left, as there are policies`;
        const statuses =
          said.length === 0 ? "" : `; still with the condition InForce: ${said.slice(0, 5).join(", ")}`;
        return `${removed.filter(Boolean).length} removed${left}${statuses}`;
      },
    },
  ];
}

/** Kinds of policies that an installation brought: without their objects they can go, and else they are the user's. */
async function ownPolicyDefinitions(kube: KubeClient): Promise<{ unused: KubeObject[]; kept: string[] }> {
  const unused: KubeObject[] = [];
  const kept: string[] = [];
  for (const object of policyDefinitions()) {
    const found = await kube.find(manifestPath(object));
    if (found === undefined || !isOurs(found)) continue;
    const { group, names, versions } = object.spec;
    const list = await kube.find(resourcePath(`${group}/${versions[0].name}`, names.plural));
    if ((list?.items ?? []).length === 0) unused.push(object);
    else kept.push(object.metadata.name!);
  }
  return { unused, kept };
}

const statusesAtOnce = 8;

/** Policies that stay do not say any more where they are in force. Returns those that could not be changed. */
async function takeBackStatuses({ kube, signal }: UninstallContext): Promise<string[]> {
  const left: string[] = [];
  for (const [kind, { apiVersion, plural }] of Object.entries(policyResources)) {
    if (!hasStatus(kind)) continue;
    const found = await kube.find(resourcePath(apiVersion, plural));
    const rest = ((found?.items ?? []) as KubeObject[]).values();
    const work = async (): Promise<void> => {
      for (const { metadata } of rest) {
        signal?.throwIfAborted();
        const path = resourcePath(apiVersion, plural, metadata.namespace, metadata.name);
        const tries = { timeoutMs: 10_000, intervalMs: 200, ...(signal ? { signal } : {}) };
        await waitFor("its status", () => takeBackStatus(kube, path), tries).catch(() => {
          left.push(`${kind} ${objectKey({ metadata })}`);
        });
      }
    };
    await Promise.all(Array.from({ length: statusesAtOnce }, work));
  }
  signal?.throwIfAborted();
  return left;
}

/** False when somebody else has just written the object. */
async function takeBackStatus(kube: KubeClient, path: string): Promise<boolean> {
  const object = await kube.find(path);
  const said: unknown = object?.status?.conditions;
  if (!Array.isArray(said)) return true;
  const conditions = said.filter((one) => !isInForceType(String(one?.type)));
  if (conditions.length === said.length) return true;
  const { resourceVersion } = object!.metadata;
  try {
    await kube.patch(`${path}/status`, "merge", { metadata: { resourceVersion }, status: { conditions } });
  } catch (error) {
    if (isConflict(error)) return false;
    throw error;
  }
  return true;
}

async function cleanNodes(
  { kube, signal }: UninstallContext,
  report: (progress: string) => void,
): Promise<string | undefined> {
  const record = await readRecord(kube);
  if (record === undefined) return "nothing was installed";
  const values = { ...defaultValues, ...record.values };
  const results = await runOnEveryNode(kube, "shunt-cleanup", values, ["--cleanup"], {
    timeoutMs: 180_000,
    report,
    ...(signal ? { signal } : {}),
  });
  const failed = results.filter((result) => !result.ok);
  if (failed.length > 0)
    throw new ShuntError(
      `Cleaning failed on ${failed.map(({ node, output }) => `${node}: ${output.trim().slice(-300)}`).join("; ")}`,
      { remedy: "Mend what is named and run shunt uninstall again; it goes on where it stopped." },
    );
  return `${results.length} nodes`;
}
