// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { join } from "node:path";
import { messageFile, volumeMounts } from "./container-mounts.ts";
import type { ContainerConfig, ImageInfo, Mount } from "./cri-messages.ts";
import { containerEnvironment, expand } from "./environment.ts";
import { writeHostsFile } from "./hosts-file.ts";
import { type KubeletNode, StartError } from "./kubelet-node.ts";
import { type ContainerSpec, graceSeconds, type Pod, podUid } from "./pod.ts";
import {
  CONTAINER_HASH_ANNOTATION,
  CONTAINER_NAME_LABEL,
  GRACE_ANNOTATION,
  MESSAGE_FILE_ANNOTATION,
  RESTARTS_ANNOTATION,
} from "./pod-runtime.ts";
import { parseWhole } from "./quantity.ts";
import { linuxResources } from "./resources.ts";
import { namespaceOptions, podLabels, seccompProfile, supplementalGroups } from "./sandbox-config.ts";
import { podFolder } from "./volumes.ts";

/** Names a container's spec; a container whose spec changed is made anew. Only the image may change. */
export function containerHash(container: ContainerSpec): string {
  return createHash("sha256").update(`${container.name}\n${container.image}`).digest("hex").slice(0, 8);
}

/** What is known when a container is about to be made. */
export interface ContainerPlan {
  pod: Pod;
  container: ContainerSpec;
  attempt: number;
  restarts: number;
  image: ImageInfo;
  podIps: string[];
  volumes: Map<string, string>;
}

/** What the runtime is told to make a container. Throws StartError when the spec cannot be met. */
export async function containerConfig(kubelet: KubeletNode, plan: ContainerPlan): Promise<ContainerConfig> {
  const { pod, container, attempt } = plan;
  const { options } = kubelet;
  const addresses = { podIps: plan.podIps, hostIps: options.nodeIps };
  const environment = await containerEnvironment(kubelet, pod, container, addresses);
  const folder = podFolder(options.rootDir, podUid(pod));
  const mounts = await volumeMounts(container, plan.volumes, environment);
  const has = (path: string) => mounts.some((mount: Mount) => mount.container_path === path);
  const own = (container_path: string, host_path: string): Mount => ({
    container_path,
    host_path,
    readonly: false,
    propagation: "PROPAGATION_PRIVATE",
  });
  if (!has("/etc/hosts"))
    mounts.push(own("/etc/hosts", await writeHostsFile(folder, pod, plan.podIps, options.clusterDomain)));
  const lastWords = await messageFile(folder, container, attempt);
  const lastWordsPath = container.terminationMessagePath ?? "/dev/termination-log";
  if (!has(lastWordsPath)) mounts.push(own(lastWordsPath, lastWords));
  return {
    metadata: { name: container.name, attempt },
    image: { image: plan.image.id },
    command: (container.command ?? []).map((word: string) => expand(word, environment)),
    args: (container.args ?? []).map((word: string) => expand(word, environment)),
    working_dir: container.workingDir ?? "",
    envs: [...environment].map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts,
    labels: { ...podLabels(pod), [CONTAINER_NAME_LABEL]: container.name },
    annotations: {
      [CONTAINER_HASH_ANNOTATION]: containerHash(container),
      [RESTARTS_ANNOTATION]: String(plan.restarts),
      [GRACE_ANNOTATION]: String(graceSeconds(pod)),
      [MESSAGE_FILE_ANNOTATION]: lastWords,
    },
    log_path: join(container.name, `${plan.restarts}.log`),
    stdin: container.stdin === true,
    stdin_once: container.stdinOnce === true,
    tty: container.tty === true,
    linux: {
      resources: linuxResources(pod, container, parseWhole(options.capacity.memory ?? "1Gi")),
      security_context: securityContext(kubelet, plan),
    },
  };
}

function securityContext(
  kubelet: KubeletNode,
  plan: ContainerPlan,
): ContainerConfig["linux"]["security_context"] {
  const { pod, container, image } = plan;
  const ofPod = pod.spec.securityContext ?? {};
  const own = container.securityContext ?? {};
  const privileged = own.privileged === true;
  const user = own.runAsUser ?? ofPod.runAsUser ?? (image.username === "" ? image.uid?.value : undefined);
  const group = own.runAsGroup ?? ofPod.runAsGroup;
  if ((own.runAsNonRoot ?? ofPod.runAsNonRoot) === true && user === 0)
    throw new StartError(
      "CreateContainerConfigError",
      "container has runAsNonRoot and image will run as root",
    );
  if ((own.runAsNonRoot ?? ofPod.runAsNonRoot) === true && user === undefined && image.username !== "")
    throw new StartError(
      "CreateContainerConfigError",
      `container has runAsNonRoot and image has non-numeric user (${image.username}), cannot verify user is non-root`,
    );
  const seccomp = seccompProfile(
    own.seccompProfile ?? ofPod.seccompProfile,
    privileged,
    join(kubelet.options.rootDir, "seccomp"),
  );
  return {
    capabilities: {
      add_capabilities: own.capabilities?.add ?? [],
      drop_capabilities: own.capabilities?.drop ?? [],
    },
    privileged,
    namespace_options: namespaceOptions(pod),
    ...(user === undefined ? {} : { run_as_user: { value: user } }),
    ...(group === undefined || user === undefined ? {} : { run_as_group: { value: group } }),
    readonly_rootfs: own.readOnlyRootFilesystem === true,
    supplemental_groups: supplementalGroups(pod),
    no_new_privs: own.allowPrivilegeEscalation === false && !privileged,
    seccomp,
  };
}
