// SPDX-License-Identifier: Apache-2.0
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isNotFound } from "../../../../lib/kube-errors.ts";
import { objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { pathOf, resources } from "./resources.ts";

const type = "kubernetes.io/service-account-token";
const nameKey = "kubernetes.io/service-account.name";
const uidKey = "kubernetes.io/service-account.uid";
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const base64 = (text: string): string => Buffer.from(text).toString("base64");

/** The token without end that a secret of type service-account-token holds, signed with the cluster's key. */
export function secretToken(account: KubeObject, secretName: string, privateKeyPem: string): string {
  const { namespace, name, uid } = account.metadata;
  const claim = "kubernetes.io/serviceaccount";
  const claims = {
    iss: "kubernetes/serviceaccount",
    [`${claim}/namespace`]: namespace,
    [`${claim}/secret.name`]: secretName,
    [`${claim}/service-account.name`]: name,
    [`${claim}/service-account.uid`]: uid,
    sub: `system:serviceaccount:${namespace}:${name}`,
  };
  const key = createPrivateKey(privateKeyPem);
  const publicKey = createPublicKey(key).export({ type: "spki", format: "der" });
  const kid = createHash("sha256").update(publicKey).digest("base64url");
  const signed = `${encode({ alg: "RS256", kid })}.${encode(claims)}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), key).toString("base64url")}`;
}

/** Fills secrets of type service-account-token, and deletes them when their ServiceAccount is gone. */
export function tokenSecretController(controller: Controller): void {
  const { serviceAccountPrivateKeyFile, rootCaFile } = controller.shared.flags;
  if (serviceAccountPrivateKeyFile === undefined) return;
  const secrets = controller.informer(resources.secrets, { fieldSelector: `type=${type}` });
  const accounts = controller.informer(resources.serviceAccounts);
  const queue = controller.queue(reconcile);
  secrets.onChange(({ object }) => queue.add(objectKey(object)));
  accounts.onChange(({ object }) => {
    for (const secret of secrets.items.values())
      if (
        secret.metadata.namespace === object.metadata.namespace &&
        secret.metadata.annotations?.[nameKey] === object.metadata.name
      )
        queue.add(objectKey(secret));
  });

  async function reconcile(key: string): Promise<undefined> {
    const secret = secrets.get(key);
    if (secret === undefined || secret.type !== type) return undefined;
    const { namespace, name, annotations } = secret.metadata;
    const account = accounts.get(`${namespace}/${annotations?.[nameKey]}`);
    const knownUid = annotations?.[uidKey];
    if (account === undefined || (knownUid !== undefined && knownUid !== account.metadata.uid)) {
      await controller.client.deleteIfExists(pathOf(resources.secrets, namespace, name), {
        preconditions: { uid: secret.metadata.uid },
      });
      return undefined;
    }
    if (secret.data?.token !== undefined && knownUid !== undefined) return undefined;
    const token = secretToken(account, name!, await readFile(serviceAccountPrivateKeyFile!, "utf8"));
    const data: Record<string, string> = { token: base64(token), namespace: base64(namespace!) };
    if (rootCaFile !== undefined) data["ca.crt"] = base64(await readFile(rootCaFile, "utf8"));
    await controller.client
      .replace(pathOf(resources.secrets, namespace, name), {
        ...secret,
        metadata: { ...secret.metadata, annotations: { ...annotations, [uidKey]: account.metadata.uid } },
        data: { ...secret.data, ...data },
      })
      .catch((error) => {
        if (!isNotFound(error)) throw error;
      });
    return undefined;
  }
}
