// SPDX-License-Identifier: Apache-2.0
import { readFile } from "node:fs/promises";
import { isAlreadyExists, isNotFound } from "../../../../lib/kube-errors.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { pathOf, resources } from "./resources.ts";

const rootCaName = "kube-root-ca.crt";
const isLive = (namespace: KubeObject | undefined): boolean =>
  namespace !== undefined && namespace.metadata.deletionTimestamp === undefined;

/** Gives every namespace its `default` ServiceAccount, again when it is deleted. */
export function serviceAccountController(controller: Controller): void {
  const namespaces = controller.informer(resources.namespaces);
  const accounts = controller.informer(resources.serviceAccounts);
  const queue = controller.queue(async (name) => {
    if (!isLive(namespaces.get(name)) || accounts.get(`${name}/default`) !== undefined) return undefined;
    await createUnlessThere(controller, pathOf(resources.serviceAccounts, name), {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default", namespace: name },
    });
    return undefined;
  });
  namespaces.onChange(({ object }) => queue.add(object.metadata.name!));
  accounts.onChange(({ type, object }) => {
    if (type === "deleted" && object.metadata.name === "default") queue.add(object.metadata.namespace!);
  });
}

/** Publishes the cluster's CA to every namespace, so that pods can trust the API server. */
export function rootCaPublisher(controller: Controller): void {
  const { rootCaFile } = controller.shared.flags;
  if (rootCaFile === undefined) return;
  const namespaces = controller.informer(resources.namespaces);
  const maps = controller.informer(resources.configMaps, { fieldSelector: `metadata.name=${rootCaName}` });
  const queue = controller.queue(async (name) => {
    if (!isLive(namespaces.get(name))) return undefined;
    const data = { "ca.crt": await readFile(rootCaFile, "utf8") };
    const present = maps.get(`${name}/${rootCaName}`);
    const metadata = {
      name: rootCaName,
      namespace: name,
      annotations: {
        "kubernetes.io/description":
          "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
      },
    };
    const wanted = { apiVersion: "v1", kind: "ConfigMap", metadata, data };
    if (present === undefined)
      await createUnlessThere(controller, pathOf(resources.configMaps, name), wanted);
    else if (present.data?.["ca.crt"] !== data["ca.crt"])
      await controller.client.replace(pathOf(resources.configMaps, name, rootCaName), {
        ...wanted,
        metadata: { ...present.metadata, annotations: metadata.annotations },
      });
    return undefined;
  });
  namespaces.onChange(({ object }) => queue.add(object.metadata.name!));
  maps.onChange(({ type, object }) => {
    if (type !== "added" && object.metadata.name === rootCaName) queue.add(object.metadata.namespace!);
  });
}

/** Creates; content when it is there already, or when its namespace went meanwhile. */
async function createUnlessThere(controller: Controller, path: string, object: unknown): Promise<void> {
  try {
    await controller.client.create(path, object);
  } catch (error) {
    const isTerminating =
      (error as { reason?: string }).reason === "Forbidden" && /terminat/.test(String(error));
    if (!isAlreadyExists(error) && !isNotFound(error) && !isTerminating) throw error;
  }
}
