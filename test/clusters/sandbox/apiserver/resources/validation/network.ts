// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import { duplicate, invalidValue, notSupported, required } from "../field-errors.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { portErrors, portNameErrors } from "./containers.ts";
import { labelErrors, subdomainErrors } from "./names.ts";
import { labelMapErrors } from "./object-meta.ts";
import { selectorErrors } from "./selector.ts";

type Check = (object: KubeObject, previous?: KubeObject) => FieldError[];

const PROTOCOLS = ["SCTP", "TCP", "UDP"];
const SERVICE_TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

const service: Check = (object, previous) => {
  const { spec = {} } = object;
  const errors: FieldError[] = [];
  const headless = spec.clusterIP === "None";
  if (!SERVICE_TYPES.includes(spec.type))
    errors.push(notSupported("spec.type", spec.type ?? "", SERVICE_TYPES));
  if (!spec.ports?.length && !headless && spec.type !== "ExternalName") errors.push(required("spec.ports"));
  if (headless && ["NodePort", "LoadBalancer"].includes(spec.type)) {
    errors.push(
      invalidValue("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${spec.type} services`),
    );
  }
  if (spec.type === "ExternalName") {
    if (!spec.externalName) errors.push(required("spec.externalName"));
    else
      for (const error of subdomainErrors(spec.externalName.replace(/\.$/, "")))
        errors.push(invalidValue("spec.externalName", spec.externalName, error));
  }
  errors.push(...servicePortErrors(spec.ports ?? [], spec));
  errors.push(...labelMapErrors(spec.selector, "spec.selector"));
  if (!["ClientIP", "None"].includes(spec.sessionAffinity)) {
    errors.push(notSupported("spec.sessionAffinity", spec.sessionAffinity ?? "", ["ClientIP", "None"]));
  }
  for (const field of ["externalTrafficPolicy", "internalTrafficPolicy"]) {
    if (spec[field] && !["Cluster", "Local"].includes(spec[field])) {
      errors.push(notSupported(`spec.${field}`, spec[field], ["Cluster", "Local"]));
    }
  }
  if (
    spec.externalTrafficPolicy &&
    !["NodePort", "LoadBalancer"].includes(spec.type) &&
    !spec.externalIPs?.length
  ) {
    errors.push(
      invalidValue(
        "spec.externalTrafficPolicy",
        spec.externalTrafficPolicy,
        "may only be set for externally-accessible services",
      ),
    );
  }
  for (const [index, address] of (spec.externalIPs ?? []).entries())
    errors.push(...ipErrors(address, `spec.externalIPs[${index}]`));
  return [...errors, ...clusterIpErrors(spec, previous?.spec)];
};

function clusterIpErrors(spec: KubeObject, before: KubeObject | undefined): FieldError[] {
  if (!before || spec.type === "ExternalName" || before.type === "ExternalName") return [];
  const errors: FieldError[] = [];
  if (before.clusterIP && spec.clusterIP !== before.clusterIP) {
    errors.push(invalidValue("spec.clusterIPs[0]", [spec.clusterIP], "may not change once set"));
  }
  if (before.ipFamilies?.[0] && spec.ipFamilies?.[0] !== before.ipFamilies[0]) {
    errors.push(invalidValue("spec.ipFamilies[0]", spec.ipFamilies?.[0], "may not change once set"));
  }
  return errors;
}

function servicePortErrors(ports: KubeObject[], spec: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  const used = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`;
    if (!port.name && ports.length > 1) errors.push(required(`${at}.name`));
    else if (port.name) {
      for (const error of labelErrors(port.name)) errors.push(invalidValue(`${at}.name`, port.name, error));
      if (names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    }
    errors.push(...portErrors(port.port, `${at}.port`));
    if (!PROTOCOLS.includes(port.protocol))
      errors.push(notSupported(`${at}.protocol`, port.protocol ?? "", PROTOCOLS));
    if (typeof port.targetPort === "number") errors.push(...portErrors(port.targetPort, `${at}.targetPort`));
    else if (typeof port.targetPort === "string") {
      for (const error of portNameErrors(port.targetPort))
        errors.push(invalidValue(`${at}.targetPort`, port.targetPort, error));
    }
    if (spec.clusterIP === "None" && typeof port.targetPort === "number" && spec.type === "NodePort")
      continue;
    const key = `${port.protocol}/${port.port}`;
    if (used.has(key))
      errors.push(duplicate(at, { name: port.name, protocol: port.protocol, port: port.port }));
    used.add(key);
  }
  return errors;
}

function ipErrors(address: unknown, field: string): FieldError[] {
  if (
    typeof address === "string" &&
    (ipaddr.IPv6.isValid(address) || ipaddr.IPv4.isValidFourPartDecimal(address))
  )
    return [];
  return [
    invalidValue(field, address ?? "", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
  ];
}

const networkPolicy: Check = ({ spec = {} }) => {
  const errors = selectorErrors(spec.podSelector, "spec.podSelector");
  for (const [direction, peers] of [
    ["ingress", "from"],
    ["egress", "to"],
  ] as const) {
    for (const [index, rule] of (spec[direction] ?? []).entries()) {
      const at = `spec.${direction}[${index}]`;
      for (const [place, port] of (rule?.ports ?? []).entries())
        errors.push(...policyPortErrors(port, `${at}.ports[${place}]`));
      for (const [place, peer] of (rule?.[peers] ?? []).entries())
        errors.push(...peerErrors(peer, `${at}.${peers}[${place}]`));
    }
  }
  for (const [index, type] of (spec.policyTypes ?? []).entries()) {
    if (!["Ingress", "Egress"].includes(type))
      errors.push(notSupported(`spec.policyTypes[${index}]`, type, ["Egress", "Ingress"]));
  }
  return errors;
};

function policyPortErrors(port: KubeObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (port.protocol && !PROTOCOLS.includes(port.protocol))
    errors.push(notSupported(`${field}.protocol`, port.protocol, PROTOCOLS));
  if (typeof port.port === "number") errors.push(...portErrors(port.port, `${field}.port`));
  else if (typeof port.port === "string") {
    for (const error of portNameErrors(port.port))
      errors.push(invalidValue(`${field}.port`, port.port, error));
  }
  if (port.endPort === undefined) return errors;
  if (typeof port.port !== "number") {
    errors.push(
      port.port === undefined
        ? invalidValue(`${field}.endPort`, port.endPort, "may not be specified when `port` is not specified")
        : invalidValue(`${field}.endPort`, port.endPort, "may not be specified when `port` is non-numeric"),
    );
  } else if (port.endPort < port.port) {
    errors.push(invalidValue(`${field}.endPort`, port.endPort, "must be greater than or equal to `port`"));
  }
  return errors;
}

function peerErrors(peer: KubeObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const selectors = ["podSelector", "namespaceSelector"].filter((name) => peer[name]);
  for (const name of selectors) errors.push(...selectorErrors(peer[name], `${field}.${name}`));
  if (!selectors.length && !peer.ipBlock) errors.push(required(field, "must specify a peer"));
  if (!peer.ipBlock) return errors;
  if (selectors.length)
    errors.push({
      field,
      reason: "FieldValueForbidden",
      message: "Forbidden: may not specify both ipBlock and another peer",
    });
  const { cidr, except = [] } = peer.ipBlock;
  if (!cidr) errors.push(required(`${field}.ipBlock.cidr`));
  else errors.push(...cidrErrors(cidr, `${field}.ipBlock.cidr`));
  for (const [index, item] of except.entries()) {
    const at = `${field}.ipBlock.except[${index}]`;
    const wrong = cidrErrors(item, at);
    errors.push(...wrong);
    if (!wrong.length && isCidr(cidr) && !strictlyWithin(item, cidr)) {
      errors.push(invalidValue(at, item, "must be a strict subset of `cidr`"));
    }
  }
  return errors;
}

function isCidr(text: unknown): boolean {
  return typeof text === "string" && ipaddr.isValidCIDR(text);
}

function cidrErrors(text: unknown, field: string): FieldError[] {
  return isCidr(text)
    ? []
    : [invalidValue(field, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")];
}

function strictlyWithin(inner: string, outer: string): boolean {
  const [address, prefix] = ipaddr.parseCIDR(inner);
  const range = ipaddr.parseCIDR(outer);
  return address.kind() === range[0].kind() && prefix > range[1] && address.match(range as never);
}

const endpointSlice: Check = (object, previous) => {
  const errors: FieldError[] = [];
  const types = ["FQDN", "IPv4", "IPv6"];
  if (!object.addressType) errors.push(required("addressType"));
  else if (!types.includes(object.addressType))
    errors.push(notSupported("addressType", object.addressType, types));
  if (previous && previous.addressType !== object.addressType) {
    errors.push(invalidValue("addressType", object.addressType, "field is immutable"));
  }
  for (const [index, endpoint] of (object.endpoints ?? []).entries()) {
    if (!endpoint.addresses?.length)
      errors.push(required(`endpoints[${index}].addresses`, "must contain at least 1 address"));
    if (object.addressType === "FQDN") continue;
    for (const [place, address] of (endpoint.addresses ?? []).entries()) {
      errors.push(...ipErrors(address, `endpoints[${index}].addresses[${place}]`));
    }
  }
  for (const [index, port] of (object.ports ?? []).entries()) {
    if (!PROTOCOLS.includes(port.protocol))
      errors.push(notSupported(`ports[${index}].protocol`, port.protocol ?? "", PROTOCOLS));
  }
  return errors;
};

const endpoints: Check = (object) =>
  (object.subsets ?? []).flatMap((subset: KubeObject, index: number) => [
    ...(subset.addresses?.length || subset.notReadyAddresses?.length
      ? []
      : [required(`subsets[${index}]`, "must specify `addresses` or `notReadyAddresses`")]),
    ...(subset.addresses ?? []).flatMap((item: KubeObject, place: number) =>
      ipErrors(item.ip, `subsets[${index}].addresses[${place}].ip`),
    ),
    ...(subset.ports ?? []).flatMap((port: KubeObject, place: number) =>
      portErrors(port.port, `subsets[${index}].ports[${place}].port`),
    ),
  ]);

const ingress: Check = ({ spec = {} }) => {
  const errors: FieldError[] = [];
  if (!spec.rules?.length && !spec.defaultBackend) {
    errors.push(invalidValue("spec", {}, "either `defaultBackend` or `rules` must be specified"));
  }
  for (const [index, rule] of (spec.rules ?? []).entries()) {
    for (const [place, path] of (rule.http?.paths ?? []).entries()) {
      const at = `spec.rules[${index}].http.paths[${place}]`;
      if (!path.pathType) errors.push(required(`${at}.pathType`, "pathType must be specified"));
      if (path.path && !path.path.startsWith("/"))
        errors.push(invalidValue(`${at}.path`, path.path, "must be an absolute path"));
    }
  }
  return errors;
};

/** The rules of services and networking, by group and kind. */
export const NETWORK_CHECKS: Record<string, Check> = {
  "/Service": service,
  "/Endpoints": endpoints,
  "discovery.k8s.io/EndpointSlice": endpointSlice,
  "networking.k8s.io/NetworkPolicy": networkPolicy,
  "networking.k8s.io/Ingress": ingress,
};
