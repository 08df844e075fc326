// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";

/** Variables that name the Services of a pod's namespace, and always the API server. */
export function serviceEnvironment(
  services: KubeObject[],
  namespace: string,
  enableServiceLinks: boolean,
): Map<string, string> {
  const variables = new Map<string, string>();
  for (const service of services) {
    const { name, namespace: home } = service.metadata;
    const isApi = name === "kubernetes" && home === "default";
    if (!isApi && !(enableServiceLinks && home === namespace)) continue;
    const address = service.spec?.clusterIP;
    if (address === undefined || address === "" || address === "None") continue;
    for (const [key, value] of variablesOf(name ?? "", address, service.spec.ports ?? []))
      variables.set(key, value);
  }
  return variables;
}

function* variablesOf(name: string, address: string, ports: any[]): Generator<[string, string]> {
  const first = ports[0];
  if (first === undefined) return;
  const prefix = envName(name);
  yield [`${prefix}_SERVICE_HOST`, address];
  yield [`${prefix}_SERVICE_PORT`, String(first.port)];
  for (const port of ports)
    if (port.name) yield [`${prefix}_SERVICE_PORT_${envName(port.name)}`, String(port.port)];
  for (const [index, port] of ports.entries()) {
    const protocol: string = port.protocol ?? "TCP";
    const url = `${protocol.toLowerCase()}://${hostPort(address, port.port)}`;
    if (index === 0) yield [`${prefix}_PORT`, url];
    const own = `${prefix}_PORT_${port.port}_${protocol}`;
    yield [own, url];
    yield [`${own}_PROTO`, protocol.toLowerCase()];
    yield [`${own}_PORT`, String(port.port)];
    yield [`${own}_ADDR`, address];
  }
}

const envName = (name: string): string => name.toUpperCase().replaceAll("-", "_");
