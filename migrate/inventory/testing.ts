// SPDX-License-Identifier: Apache-2.0
// A cluster in memory for tests: answers reads of the objects that it is given, in pages.
import { ApiError } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { KubeReader } from "./source.ts";

const plurals: Record<string, string> = {
  NetworkPolicy: "networkpolicies",
  GlobalNetworkPolicy: "globalnetworkpolicies",
  CiliumNetworkPolicy: "ciliumnetworkpolicies",
  CiliumClusterwideNetworkPolicy: "ciliumclusterwidenetworkpolicies",
  AdminNetworkPolicy: "adminnetworkpolicies",
  ClusterNetworkPolicy: "clusternetworkpolicies",
};

const pluralOf = (kind: string): string => plurals[kind] ?? `${kind.toLowerCase()}s`;

const groupPath = (apiVersion: string): string =>
  apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;

/** What a fake cluster does wrong, by path. */
export interface FakeOptions {
  objects: KubeObject[];
  forbidden?: string[];
  pageSize?: number;
  server?: string;
}

/** A reader over `objects`; every one needs apiVersion, kind and a name. */
export function fakeCluster(options: FakeOptions): KubeReader {
  const lists = new Map<string, KubeObject[]>();
  const single = new Map<string, KubeObject>();
  for (const object of options.objects) {
    const base = groupPath(object.apiVersion!);
    const plural = pluralOf(object.kind!);
    const { namespace, name } = object.metadata;
    const list = `${base}/${plural}`;
    lists.set(list, [...(lists.get(list) ?? []), object]);
    single.set(
      `${base}${namespace === undefined ? "" : `/namespaces/${namespace}`}/${plural}/${name}`,
      object,
    );
  }
  const get = async (path: string, request: { query?: any } = {}): Promise<any> => {
    if (options.forbidden?.some((prefix) => path.startsWith(prefix)))
      throw new ApiError(`GET ${path}`, 403, { reason: "Forbidden", message: `no access to ${path}` });
    if (path === "/version") return { gitVersion: "v1.33.1", major: "1", minor: "33" };
    const list = lists.get(path);
    if (list !== undefined) {
      const start = Number(request.query?.continue ?? 0);
      const size = options.pageSize ?? Number(request.query?.limit ?? 500);
      const end = start + size;
      const metadata = { resourceVersion: "1", ...(end < list.length ? { continue: String(end) } : {}) };
      return { kind: "List", metadata, items: list.slice(start, end) };
    }
    const object = single.get(path);
    if (object === undefined)
      throw new ApiError(`GET ${path}`, 404, { reason: "NotFound", message: "not found" });
    return object;
  };
  return { get, server: options.server ?? "https://cluster.test:6443" };
}
