// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../lib/errors.ts";
import type { KubeClient } from "../lib/kube.ts";
import { VERSION } from "../lib/version.ts";
import { configMap, namespace, recordName } from "./names.ts";
import { defaultValues, type Values } from "./values.ts";

/** What an installation remembers in the cluster: its values, and what to put back when it goes. */
export interface InstallRecord {
  version: string;
  values: Values;
  /** kube-proxy's nodeSelector before it was disabled; undefined when it was not touched. */
  kubeProxy?: { namespace: string; daemonSet: string; nodeSelector: Record<string, string> | null };
}

/** Reads the record; undefined when nothing is installed. */
export async function readRecord(kube: KubeClient): Promise<InstallRecord | undefined> {
  const object = await kube.find(configMap(recordName));
  if (object === undefined) return undefined;
  try {
    const record = JSON.parse(object.data?.["record.json"] ?? "") as InstallRecord;
    return { ...record, values: { ...defaultValues, ...record.values } };
  } catch (cause) {
    throw new ShuntError(`ConfigMap ${namespace}/${recordName} does not hold a readable record`, {
      remedy: "Restore it from a backup, or delete it; uninstall then cannot restore kube-proxy by itself.",
      cause,
    });
  }
}

export async function writeRecord(kube: KubeClient, record: Omit<InstallRecord, "version">): Promise<void> {
  await kube.apply(configMap(recordName), {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: recordName, namespace, labels: { "app.kubernetes.io/managed-by": "shunt" } },
    data: { "record.json": JSON.stringify({ version: VERSION, ...record }) },
  });
}
