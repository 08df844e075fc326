// SPDX-License-Identifier: Apache-2.0
import { KubeConfig } from "@kubernetes/client-node";
import { errorMessage } from "../../../../lib/errors.ts";
import { KubeClient, resourcePath } from "../../../../lib/kube.ts";
import { isAlreadyExists } from "../../../../lib/kube-errors.ts";
import type { Logger } from "../../../../lib/log.ts";
import { waitFor } from "../../../../lib/wait.ts";
import { type ClientSource, ownUser } from "./controllers.ts";

const lifetimeSeconds = 3_600;

/** Whether the client's own user may do a controller's typical work, as with a cluster administrator's key. */
async function mayWriteAnything(client: KubeClient): Promise<boolean> {
  const review = await client.create<any>("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: { group: "*", resource: "*", verb: "*" } },
  });
  return review.status?.allowed === true;
}

/**
 * Where controllers get their clients: the own one, or one with the token of the ServiceAccount that the
 * bootstrap roles `system:controller:<name>` are bound to, as the real controller manager does.
 */
export async function clientSource(
  client: KubeClient,
  mode: boolean | "auto",
  log: Logger,
  signal: AbortSignal,
): Promise<ClientSource> {
  const useAccounts =
    mode === "auto"
      ? !(await waitFor("the API server", async () => ({ allowed: await mayWriteAnything(client) }), {
          timeoutMs: 120_000,
          signal,
        }).then(({ allowed }) => allowed))
      : mode;
  if (!useAccounts) return async () => client;
  return async (name) => (name === ownUser ? client : await accountClient(client, name, log, signal));
}

async function accountClient(
  client: KubeClient,
  name: string,
  log: Logger,
  signal: AbortSignal,
): Promise<KubeClient> {
  const first = await waitFor(`a token for ${name}`, () => requestToken(client, name), {
    timeoutMs: 120_000,
    intervalMs: 500,
    signal,
  });
  const config = new KubeConfig();
  const user = { name, token: first };
  config.loadFromOptions({
    clusters: [client.config.getCurrentCluster()],
    users: [user],
    contexts: [{ name, cluster: client.config.getCurrentCluster()!.name, user: name }],
    currentContext: name,
  });
  const renew = async () => {
    let againMs = (lifetimeSeconds * 1_000) / 2;
    try {
      const token = await requestToken(client, name);
      config.users = [{ name, token }];
    } catch (error) {
      log.warn("token not renewed", { controller: name, error: errorMessage(error) });
      againMs = 30_000;
    }
    timer = setTimeout(renew, againMs);
  };
  let timer = setTimeout(renew, (lifetimeSeconds * 1_000) / 2);
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  return new KubeClient(config);
}

async function requestToken(client: KubeClient, name: string): Promise<string> {
  const accounts = resourcePath("v1", "serviceaccounts", "kube-system");
  await client
    .create(accounts, {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name, namespace: "kube-system" },
    })
    .catch((error) => {
      if (!isAlreadyExists(error)) throw error;
    });
  const answer = await client.create<any>(`${accounts}/${name}/token`, {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds: lifetimeSeconds, audiences: [] },
  });
  return answer.status.token;
}
