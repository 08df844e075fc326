// SPDX-License-Identifier: Apache-2.0
// What a fresh server has: namespaces, priority classes, RBAC defaults and the `kubernetes` Service.
import { addressFamily, addressText, cidrAddress, parseCidr } from "../../../../lib/addresses.ts";
import type { Api, Call } from "./api.ts";
import { parseRequest } from "./request-info.ts";
import { bootstrapObjects, type KubeObject } from "./resources/index.ts";
import { createObject } from "./write.ts";

/** A call in the server's own name. */
export function systemCall(api: Api, apiVersion: string, kind: string): Call {
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  const resource = api.registry.lookupKind(group, version, kind);
  if (resource === undefined) throw new Error(`no kind ${kind} in ${apiVersion}`);
  return {
    api,
    info: parseRequest("POST", "/"),
    user: { username: "system:apiserver", groups: ["system:masters", "system:authenticated"] },
    resource,
    manager: "kube-apiserver",
    warnings: [],
    dryRun: false,
  };
}

function ensure(api: Api, object: KubeObject): void {
  const call = systemCall(api, object.apiVersion, object.kind);
  const { group, plural } = call.resource;
  const { name, namespace } = object.metadata;
  if (api.store.get(group, plural, namespace, name) === undefined)
    createObject(call, structuredClone(object));
}

/** Creates what is missing. `address` and `port` are where this server is reached. */
export function bootstrap(api: Api, serviceCidrs: string[], address: string, port: number): void {
  for (const object of bootstrapObjects()) ensure(api, object);
  const first = addressText(cidrAddress(parseCidr(serviceCidrs[0]!), 1));
  ensure(api, {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: "kubernetes",
      namespace: "default",
      labels: { component: "apiserver", provider: "kubernetes" },
    },
    spec: {
      clusterIP: first,
      clusterIPs: [first],
      ipFamilyPolicy: "SingleStack",
      ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: port }],
      sessionAffinity: "None",
      type: "ClusterIP",
    },
  });
  publishEndpoints(api, address, port);
}

// The server may come back at another address: these are always written anew.
function publishEndpoints(api: Api, address: string, port: number): void {
  const metadata = { name: "kubernetes", namespace: "default" };
  const ports = [{ name: "https", port, protocol: "TCP" }];
  for (const [group, plural] of [
    ["", "endpoints"],
    ["discovery.k8s.io", "endpointslices"],
  ] as const) {
    const old = api.store.get(group, plural, "default", "kubernetes");
    if (old !== undefined) api.store.remove(group, plural, old);
  }
  ensure(api, {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: { ...metadata, labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } },
    subsets: [{ addresses: [{ ip: address }], ports }],
  });
  ensure(api, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { ...metadata, labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: addressFamily(address) === "ipv6" ? "IPv6" : "IPv4",
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports,
  });
}
