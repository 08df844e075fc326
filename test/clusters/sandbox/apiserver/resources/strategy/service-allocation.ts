// SPDX-License-Identifier: Apache-2.0
// Cluster addresses, address families and node ports of Services, allocated from what the store shows free.
import ipaddr from "ipaddr.js";
import type { ClusterOptions } from "../cluster-options.ts";
import { invalid, invalidValue } from "../field-errors.ts";
import type { FieldError, KubeObject, ObjectReader, PrepareContext } from "../resource.ts";
import { chooseNodePorts, type Fail, isSame } from "./node-ports.ts";

const DEFAULT_CIDRS = ["10.96.0.0/16"];

type Family = "IPv4" | "IPv6";

function familyOf(address: string): Family {
  return address.includes(":") ? "IPv6" : "IPv4";
}

function needsClusterIp(spec: KubeObject): boolean {
  return spec.type !== "ExternalName";
}

/** Completes a Service's spec on create and update; throws a Refusal when that is impossible. */
export function allocateService(ctx: PrepareContext, options: ClusterOptions): void {
  const { object: service, previous, store } = ctx;
  const cidrs = options.serviceCidrs?.length ? options.serviceCidrs : DEFAULT_CIDRS;
  const fail = (...errors: FieldError[]) => invalid("Service", "", service.metadata.name, errors);
  keepAllocated(service, previous);
  if (needsClusterIp(service.spec)) {
    chooseFamilies(service.spec, cidrs, fail);
    chooseAddresses(service, store, cidrs, fail);
  } else {
    for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
      delete service.spec[field];
  }
  chooseNodePorts(service, previous, store, fail, options.nodePorts);
}

// An update that leaves out what the server allocated keeps it.
function keepAllocated(service: KubeObject, previous?: KubeObject): void {
  if (!previous || !needsClusterIp(service.spec) || !needsClusterIp(previous.spec)) return;
  const { spec } = service;
  if (!spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = previous.spec.clusterIPs;
  if (!spec.clusterIP) spec.clusterIP = spec.clusterIPs?.[0] ?? previous.spec.clusterIP;
  if (!spec.clusterIPs?.length) {
    spec.clusterIPs =
      spec.clusterIP === previous.spec.clusterIP ? previous.spec.clusterIPs : [spec.clusterIP];
  }
  // The single field wins over a list that was only carried along; validation then refuses the change.
  if (spec.clusterIP !== previous.spec.clusterIP && spec.clusterIPs?.[0] === previous.spec.clusterIP) {
    spec.clusterIPs = [spec.clusterIP, ...spec.clusterIPs.slice(1)];
  }
  if (!spec.ipFamilies?.length) spec.ipFamilies = previous.spec.ipFamilies;
  if (!spec.ipFamilyPolicy) spec.ipFamilyPolicy = previous.spec.ipFamilyPolicy;
}

function chooseFamilies(spec: KubeObject, cidrs: string[], fail: Fail): void {
  const available = cidrs.map(familyOf);
  const headless = spec.clusterIP === "None" || spec.clusterIPs?.[0] === "None";
  // Nothing is allocated or selected for these, so the cluster's own families do not matter.
  const anyFamily = headless && !Object.keys(spec.selector ?? {}).length;
  const given: string[] = (spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])).filter(
    (address: string) => address && address !== "None",
  );
  const families: Family[] = spec.ipFamilies?.length ? [...spec.ipFamilies] : given.map(familyOf);
  for (const [index, family] of families.entries()) {
    if (!available.includes(family) && !anyFamily) {
      throw fail(invalidValue(`spec.ipFamilies[${index}]`, family, "not configured on this cluster"));
    }
  }
  spec.ipFamilyPolicy ??= families.length > 1 || given.length > 1 ? "RequireDualStack" : "SingleStack";
  if (spec.ipFamilyPolicy === "RequireDualStack" && available.length < 2 && !anyFamily) {
    throw fail(
      invalidValue(
        "spec.ipFamilyPolicy",
        spec.ipFamilyPolicy,
        "Cluster is not configured for dual-stack services",
      ),
    );
  }
  if (families.length === 0) families.push(available[0] ?? "IPv4");
  const dual = spec.ipFamilyPolicy !== "SingleStack" && (available.length > 1 || anyFamily);
  if (dual && families.length === 1) families.push(families[0] === "IPv4" ? "IPv6" : "IPv4");
  spec.ipFamilies = dual ? families : families.slice(0, 1);
  if (!headless && spec.clusterIPs?.length > spec.ipFamilies.length) {
    spec.clusterIPs = spec.clusterIPs.slice(0, spec.ipFamilies.length);
  }
}

function chooseAddresses(service: KubeObject, store: ObjectReader, cidrs: string[], fail: Fail): void {
  const { spec } = service;
  if (spec.clusterIP === "None" || spec.clusterIPs?.[0] === "None") {
    spec.clusterIP = "None";
    spec.clusterIPs = ["None"];
    return;
  }
  const used = usedAddresses(service, store);
  const wanted: string[] = spec.clusterIPs?.length
    ? [...spec.clusterIPs]
    : spec.clusterIP
      ? [spec.clusterIP]
      : [];
  const addresses: string[] = [];
  for (const [index, family] of (spec.ipFamilies as Family[]).entries()) {
    const cidr = cidrs.find((item) => familyOf(item) === family) ?? cidrs[0] ?? "";
    const given = wanted[index];
    addresses.push(given ? checkAddress(given, wanted, cidr, used, fail) : freeAddress(cidr, used, fail));
  }
  spec.clusterIPs = addresses;
  spec.clusterIP = addresses[0];
}

function usedAddresses(service: KubeObject, store: ObjectReader): Set<string> {
  const used = new Set<string>();
  for (const other of store.list("", "services")) {
    if (isSame(other, service)) continue;
    for (const address of other.spec?.clusterIPs ?? []) used.add(address);
  }
  return used;
}

function checkAddress(given: string, all: string[], cidr: string, used: Set<string>, fail: Fail): string {
  const refuse = (why: string) =>
    fail(invalidValue("spec.clusterIPs", all, `failed to allocate IP ${given}: ${why}`));
  if (!ipaddr.isValid(given)) {
    throw fail(
      invalidValue(
        "spec.clusterIPs[0]",
        given,
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
      ),
    );
  }
  const range = ipaddr.parseCIDR(cidr);
  const address = ipaddr.parse(given);
  if (address.kind() !== range[0].kind() || !address.match(range as never)) {
    throw refuse(`the provided IP (${given}) is not in the valid range. The range of valid IPs is ${cidr}`);
  }
  if (used.has(given)) throw refuse("provided IP is already allocated");
  return given;
}

const MAX_OFFSET = 65536;
const STATIC_BAND_MAX = 256;

// The real server hands out random addresses and keeps the low end of the range for those who ask by
// number: so do we.
function freeAddress(cidr: string, used: Set<string>, fail: Fail): string {
  const [base, prefix] = ipaddr.parseCIDR(cidr);
  const bits = base.kind() === "ipv6" ? 128 : 32;
  const size = Math.min(2 ** Math.min(bits - prefix, 30), MAX_OFFSET);
  const last = base.kind() === "ipv6" ? size - 1 : size - 2;
  const band = Math.min(Math.max(16, Math.floor(size / 16)), STATIC_BAND_MAX);
  const first = size > 64 ? band : 1;
  const start = first + Math.floor(Math.random() * (last - first + 1));
  for (let step = 0; step < last; step++) {
    const offset = ((start + step - 1) % last) + 1;
    const address = addressAt(base, offset);
    if (!used.has(address)) return address;
  }
  throw fail(invalidValue("spec.clusterIPs", [], `failed to allocate a serviceIP: range is full`));
}

function addressAt(base: ipaddr.IPv4 | ipaddr.IPv6, offset: number): string {
  const bytes = base.toByteArray();
  let carry = offset;
  for (let index = bytes.length - 1; index >= 0 && carry > 0; index--) {
    const sum = (bytes[index] ?? 0) + carry;
    bytes[index] = sum & 0xff;
    carry = sum >>> 8;
  }
  const address = ipaddr.fromByteArray(bytes);
  return address.kind() === "ipv6" ? (address as ipaddr.IPv6).toRFC5952String() : address.toString();
}
