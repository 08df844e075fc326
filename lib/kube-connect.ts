// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import type https from "node:https";
import { hostPort } from "./addresses.ts";
import { errorMessage, ShuntError } from "./errors.ts";
import { type ClientConfig, KubeClient } from "./kube.ts";

/** Which kubeconfig and context to use; all unset means what kubectl would use, then in-cluster. */
export interface KubeTarget {
  kubeconfig?: string | undefined;
  context?: string | undefined;
  /** Talk to this server URL instead of the one that the configuration names. */
  server?: string | undefined;
}

/** Connects as kubectl would. Imports @kubernetes/client-node here, so that `--help` never pays for it. */
export async function connectKube(target: KubeTarget = {}): Promise<KubeClient> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    if (target.kubeconfig !== undefined) config.loadFromFile(target.kubeconfig);
    else config.loadFromDefault();
    if (target.context !== undefined) {
      if (!config.getContexts().some((context) => context.name === target.context))
        throw new Error(`it has no context "${target.context}"`);
      config.setCurrentContext(target.context);
    }
    const cluster = config.getCurrentCluster();
    if (cluster === null) throw new Error("it has no current context with a cluster");
    if (target.server !== undefined) {
      config.clusters = config.clusters.map((entry) =>
        entry.name === cluster.name ? { ...entry, server: target.server! } : entry,
      );
    }
  } catch (cause) {
    throw new ShuntError(
      `Cannot use kubeconfig ${target.kubeconfig ?? process.env.KUBECONFIG ?? "~/.kube/config"}: ${errorMessage(cause)}`,
      {
        code: "Kubeconfig",
        exitCode: 2,
        remedy: "Name one with --kubeconfig and a context with --context.",
        cause,
      },
    );
  }
  return new KubeClient(config);
}

/** A context of the kubeconfig. */
export interface KubeContext {
  name: string;
  server: string;
  /** True for the one that kubectl would use. */
  current: boolean;
}

/** The contexts that a kubeconfig offers; none when there is no kubeconfig. */
export async function listContexts(kubeconfig: string | undefined): Promise<KubeContext[]> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
  } catch (cause) {
    if (kubeconfig === undefined && (cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    const file = kubeconfig ?? process.env.KUBECONFIG ?? "~/.kube/config";
    throw new ShuntError(`Cannot use kubeconfig ${file}: ${errorMessage(cause)}`, {
      code: "Kubeconfig",
      exitCode: 2,
      remedy: "Name one with --kubeconfig.",
      cause,
    });
  }
  return config.getContexts().flatMap(({ name, cluster }) => {
    // What the library makes up without a kubeconfig is no cluster of anybody's.
    const server = config.getCluster(cluster)?.server;
    if (server === undefined || name === "loaded-context") return [];
    return [{ name, server, current: name === config.getCurrentContext() }];
  });
}

const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * Connects as the pod's service account, without @kubernetes/client-node, which takes 50 MB. The token is read
 * again with every new connection, as the kubelet replaces it.
 * @param env where KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are
 */
export function connectInCluster(
  env: Record<string, string | undefined>,
  folder: string = accountFolder,
): KubeClient {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (host === undefined || port === undefined)
    throw new ShuntError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set", {
      code: "NotInCluster",
      exitCode: 2,
      remedy: "Outside of a pod, name a kubeconfig.",
    });
  const read = (name: string): string => {
    try {
      return readFileSync(`${folder}/${name}`, "utf8");
    } catch (cause) {
      throw new ShuntError(`Cannot read the service account: ${errorMessage(cause)}`, {
        code: "NotInCluster",
        remedy: "The pod needs automountServiceAccountToken; outside of a pod, name a kubeconfig.",
        cause,
      });
    }
  };
  const config: ClientConfig = {
    getCurrentContext: () => "in-cluster",
    getCurrentCluster: () => ({
      name: "in-cluster",
      server: `https://${hostPort(host, Number(port))}`,
      skipTLSVerify: false,
    }),
    async applyToHTTPSOptions(options: https.RequestOptions) {
      options.ca = read("ca.crt");
      options.headers = { ...options.headers, authorization: `Bearer ${read("token").trim()}` };
    },
  };
  read("token");
  return new KubeClient(config);
}
