// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { refuse } from "../field-errors.ts";
import type { KubeObject, PrepareContext } from "../resource.ts";

const MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_SECONDS = 3607;
const MIRROR = "kubernetes.io/config.mirror";
const NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** Gives a new pod its service account, that account's pull secrets and the token volume. */
export function admitServiceAccount({ object: pod, store }: PrepareContext): void {
  if (pod.metadata.annotations?.[MIRROR] !== undefined) {
    checkMirror(pod);
    return;
  }
  const { spec } = pod;
  const name = spec.serviceAccountName || "default";
  const account = store.get("", "serviceaccounts", pod.metadata.namespace, name);
  if (!account) {
    throw refuse(
      "pods",
      "",
      pod.metadata.name ?? "",
      `error looking up service account ${pod.metadata.namespace}/${name}: serviceaccount "${name}" not found`,
    );
  }
  spec.serviceAccountName = name;
  spec.serviceAccount = name;
  if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length) {
    spec.imagePullSecrets = structuredClone(account.imagePullSecrets);
  }
  if (shouldMount(spec, account)) mountToken(spec);
}

function checkMirror(pod: KubeObject): void {
  const { name = "" } = pod.metadata;
  if (pod.spec.serviceAccountName) {
    throw refuse("pods", "", name, "a mirror pod may not reference service accounts");
  }
  for (const volume of pod.spec.volumes ?? []) {
    if (volume.projected?.sources?.some((source: KubeObject) => source.serviceAccountToken)) {
      throw refuse("pods", "", name, "a mirror pod may not use ServiceAccountToken volume projections");
    }
  }
}

function shouldMount(spec: KubeObject, account: KubeObject): boolean {
  return spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
}

function mountToken(spec: KubeObject): void {
  const containers: KubeObject[] = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const without = containers.filter(
    (container) => !container.volumeMounts?.some((mount: KubeObject) => mount.mountPath === MOUNT_PATH),
  );
  if (without.length === 0) return;
  const existing = spec.volumes?.find(
    (volume: KubeObject) => volume.name?.startsWith("kube-api-access-") && volume.projected,
  );
  const name = existing?.name ?? `kube-api-access-${randomSuffix()}`;
  for (const container of without) {
    container.volumeMounts = [
      ...(container.volumeMounts ?? []),
      { name, readOnly: true, mountPath: MOUNT_PATH },
    ];
  }
  if (!existing) spec.volumes = [...(spec.volumes ?? []), tokenVolume(name)];
}

function randomSuffix(): string {
  return [...randomBytes(5)].map((byte) => NAME_ALPHABET.charAt(byte % NAME_ALPHABET.length)).join("");
}

function tokenVolume(name: string): KubeObject {
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: "token" } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        {
          downwardAPI: {
            items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
          },
        },
      ],
    },
  };
}
