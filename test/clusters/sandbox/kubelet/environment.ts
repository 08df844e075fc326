// SPDX-License-Identifier: Apache-2.0
import { fieldValue, type PodAddresses, resourceValue } from "./downward.ts";
import { type KubeletNode, StartError } from "./kubelet-node.ts";
import { allContainers, type ContainerSpec, type Pod } from "./pod.ts";
import { serviceEnvironment } from "./service-environment.ts";

/** Replaces `$(NAME)` by the variable's value; `$$` is a dollar sign, unknown names stay as they are. */
export function expand(text: string, variables: Map<string, string>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, inner: string, name?: string) =>
    inner === "$" ? "$" : (variables.get(name ?? "") ?? whole),
  );
}

/** A container's environment, in the order in which later variables may use earlier ones. */
export async function containerEnvironment(
  kubelet: KubeletNode,
  pod: Pod,
  container: ContainerSpec,
  addresses: PodAddresses,
): Promise<Map<string, string>> {
  const services = serviceEnvironment(
    kubelet.services.list(),
    pod.metadata.namespace ?? "",
    pod.spec.enableServiceLinks !== false,
  );
  const result = new Map<string, string>();
  for (const source of container.envFrom ?? [])
    for (const [name, value] of await variablesFrom(kubelet, pod, source)) result.set(name, value);
  for (const entry of container.env ?? []) {
    const scope = new Map([...services, ...result]);
    const value =
      entry.valueFrom === undefined
        ? expand(entry.value ?? "", scope)
        : await referencedValue(kubelet, pod, container, entry.valueFrom, addresses);
    if (value !== undefined) result.set(entry.name, value);
  }
  // A Service's variables never replace what the pod says itself.
  return new Map([...services, ...result]);
}

async function variablesFrom(kubelet: KubeletNode, pod: Pod, source: any): Promise<[string, string][]> {
  const reference = source.configMapRef ?? source.secretRef;
  const plural = source.configMapRef === undefined ? "secrets" : "configmaps";
  const data = await dataOf(kubelet, pod, plural, reference.name, reference.optional === true);
  return Object.entries(data ?? {}).map(([key, value]) => [`${source.prefix ?? ""}${key}`, value]);
}

async function referencedValue(
  kubelet: KubeletNode,
  pod: Pod,
  container: ContainerSpec,
  from: any,
  addresses: PodAddresses,
): Promise<string | undefined> {
  if (from.fieldRef !== undefined) return fieldValue(pod, from.fieldRef.fieldPath, addresses);
  if (from.resourceFieldRef !== undefined) {
    const { containerName, resource, divisor } = from.resourceFieldRef;
    const target = allContainers(pod).find((entry) => entry.name === containerName) ?? container;
    return resourceValue(target, resource, divisor, kubelet.options.capacity);
  }
  const reference = from.configMapKeyRef ?? from.secretKeyRef;
  if (reference === undefined) return undefined;
  const plural = from.configMapKeyRef === undefined ? "secrets" : "configmaps";
  const data = await dataOf(kubelet, pod, plural, reference.name, reference.optional === true);
  const value = data?.[reference.key];
  if (value === undefined && reference.optional !== true)
    throw new StartError(
      "CreateContainerConfigError",
      `couldn't find key ${reference.key} in ${plural === "secrets" ? "Secret" : "ConfigMap"} ${pod.metadata.namespace}/${reference.name}`,
    );
  return value;
}

async function dataOf(
  kubelet: KubeletNode,
  pod: Pod,
  plural: "configmaps" | "secrets",
  name: string,
  optional: boolean,
): Promise<Record<string, string> | undefined> {
  const object = await kubelet.objects.find(plural, pod.metadata.namespace ?? "", name, 0);
  if (object === undefined) {
    if (optional) return undefined;
    throw new StartError("CreateContainerConfigError", `${plural.slice(0, -1)} "${name}" not found`);
  }
  if (plural === "configmaps") return object.data ?? {};
  return Object.fromEntries(
    Object.entries<string>(object.data ?? {}).map(([key, value]) => [
      key,
      Buffer.from(value, "base64").toString("utf8"),
    ]),
  );
}
