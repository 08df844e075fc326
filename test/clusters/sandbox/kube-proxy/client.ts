// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import path from "node:path";
import { parse } from "yaml";
import type { KubeClient } from "../../../../lib/kube.ts";
import { connectInCluster, connectKube } from "../../../../lib/kube-connect.ts";

/** Connects as kubeadm's kubeconfig of kube-proxy says: to the named server, with the pod's own token. */
export async function connectProxy(kubeconfig: string | undefined): Promise<KubeClient> {
  if (kubeconfig === undefined) return connectInCluster(process.env);
  const config = parse(readFileSync(kubeconfig, "utf8"));
  const server = config.clusters?.[0]?.cluster?.server;
  const tokenFile = config.users?.[0]?.user?.tokenFile;
  if (server === undefined || tokenFile === undefined) return await connectKube({ kubeconfig });
  const { hostname, port } = new URL(server);
  return connectInCluster(
    { KUBERNETES_SERVICE_HOST: hostname.replace(/^\[|\]$/g, ""), KUBERNETES_SERVICE_PORT: port || "443" },
    path.dirname(tokenFile),
  );
}
