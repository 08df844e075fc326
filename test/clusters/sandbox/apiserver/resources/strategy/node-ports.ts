// SPDX-License-Identifier: Apache-2.0
import { forbidden, invalidValue } from "../field-errors.ts";
import type { FieldError, KubeObject, ObjectReader } from "../resource.ts";

const DEFAULT_RANGE = { first: 30000, last: 32767 };

/** Makes the refusal of a Service from what is wrong with it. */
export type Fail = (...errors: FieldError[]) => Error;

/** Whether two objects of a kind are the same one. */
export function isSame(a: KubeObject, b: KubeObject): boolean {
  return a.metadata.name === b.metadata.name && a.metadata.namespace === b.metadata.namespace;
}

/** Allocates the node ports a Service needs, keeps those it has and takes back those it may not have. */
export function chooseNodePorts(
  service: KubeObject,
  previous: KubeObject | undefined,
  store: ObjectReader,
  fail: Fail,
  range = DEFAULT_RANGE,
): void {
  const { spec } = service;
  const ports: KubeObject[] = spec.ports ?? [];
  const wants =
    spec.type === "NodePort" ||
    (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
  const permitted = wants || spec.type === "LoadBalancer";
  if (!permitted) {
    dropNodePorts(spec, previous, fail);
    return;
  }
  const used = usedNodePorts(service, store);
  if (previous) keepNodePorts(ports, previous.spec?.ports ?? []);
  for (const [index, port] of ports.entries()) {
    if (!port.nodePort) continue;
    checkNodePort(port, index, used, range, fail);
    used.add(`${port.protocol}/${port.nodePort}`);
  }
  for (const port of ports)
    if (wants && !port.nodePort) port.nodePort = freeNodePort(port, ports, used, range, fail);
  chooseHealthPort(spec, previous?.spec, used, range, fail);
}

// Changing to ClusterIP gives the ports back; asking for one there is a mistake.
function dropNodePorts(spec: KubeObject, previous: KubeObject | undefined, fail: Fail): void {
  const had = new Set((previous?.spec?.ports ?? []).map((port: KubeObject) => port.nodePort));
  for (const [index, port] of (spec.ports ?? []).entries()) {
    if (!port.nodePort) {
      delete port.nodePort;
      continue;
    }
    if (!had.has(port.nodePort)) {
      throw fail(forbidden(`spec.ports[${index}].nodePort`, "may not be used when `type` is 'ClusterIP'"));
    }
    delete port.nodePort;
  }
  if (previous && spec.externalTrafficPolicy && previous.spec.type !== spec.type)
    delete spec.externalTrafficPolicy;
  delete spec.healthCheckNodePort;
}

function keepNodePorts(ports: KubeObject[], before: KubeObject[]): void {
  for (const port of ports) {
    if (port.nodePort) continue;
    const match = before.find((old) => old.port === port.port && old.protocol === port.protocol);
    if (match?.nodePort && !ports.some((other) => other.nodePort === match.nodePort))
      port.nodePort = match.nodePort;
  }
}

function usedNodePorts(service: KubeObject, store: ObjectReader): Set<string> {
  const used = new Set<string>();
  for (const other of store.list("", "services")) {
    if (isSame(other, service)) continue;
    for (const port of other.spec?.ports ?? [])
      if (port.nodePort) used.add(`${port.protocol}/${port.nodePort}`);
    if (other.spec?.healthCheckNodePort) used.add(`TCP/${other.spec.healthCheckNodePort}`);
  }
  return used;
}

function checkNodePort(
  port: KubeObject,
  index: number,
  used: Set<string>,
  range: { first: number; last: number },
  fail: Fail,
): void {
  const field = `spec.ports[${index}].nodePort`;
  if (port.nodePort < range.first || port.nodePort > range.last) {
    throw fail(
      invalidValue(
        field,
        port.nodePort,
        `provided port is not in the valid range. The range of valid ports is ${range.first}-${range.last}`,
      ),
    );
  }
  if (used.has(`${port.protocol}/${port.nodePort}`)) {
    throw fail(invalidValue(field, port.nodePort, "provided port is already allocated"));
  }
}

function freeNodePort(
  port: KubeObject,
  ports: KubeObject[],
  used: Set<string>,
  range: { first: number; last: number },
  fail: Fail,
): number {
  // The same port number in two protocols shares one node port, as in the real server.
  const twin = ports.find((other) => other !== port && other.port === port.port && other.nodePort);
  if (twin && !used.has(`${port.protocol}/${twin.nodePort}`)) {
    used.add(`${port.protocol}/${twin.nodePort}`);
    return twin.nodePort;
  }
  const count = range.last - range.first + 1;
  const start = Math.floor(Math.random() * count);
  for (let step = 0; step < count; step++) {
    const candidate = range.first + ((start + step) % count);
    if (["TCP", "UDP", "SCTP"].some((protocol) => used.has(`${protocol}/${candidate}`))) continue;
    used.add(`${port.protocol}/${candidate}`);
    return candidate;
  }
  throw fail(invalidValue("spec.ports[0].nodePort", 0, "failed to allocate a nodePort: range is full"));
}

function chooseHealthPort(
  spec: KubeObject,
  before: KubeObject | undefined,
  used: Set<string>,
  range: { first: number; last: number },
  fail: Fail,
): void {
  const needed = spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";
  if (!needed) {
    delete spec.healthCheckNodePort;
    return;
  }
  spec.healthCheckNodePort ||= before?.healthCheckNodePort;
  spec.healthCheckNodePort ||= freeNodePort({ protocol: "TCP" }, [], used, range, fail);
}
