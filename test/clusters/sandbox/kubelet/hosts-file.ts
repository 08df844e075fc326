// SPDX-License-Identifier: Apache-2.0
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isHostNetwork, type Pod, podHostname } from "./pod.ts";

/** Text of a pod's /etc/hosts. */
export function hostsText(pod: Pod, podIps: string[], clusterDomain: string): string {
  const hostname = podHostname(pod, "");
  const { subdomain } = pod.spec;
  const names =
    subdomain === undefined
      ? hostname
      : `${hostname}.${subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}\t${hostname}`;
  return [
    "# Kubernetes-managed hosts file.",
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
    ...podIps.map((address) => `${address}\t${names}`),
    ...aliasLines(pod),
    "",
  ].join("\n");
}

function aliasLines(pod: Pod): string[] {
  const aliases: any[] = pod.spec.hostAliases ?? [];
  if (aliases.length === 0) return [];
  return [
    "",
    "# Entries added by HostAliases.",
    ...aliases.map((entry) => `${entry.ip}\t${entry.hostnames.join("\t")}`),
  ];
}

/** Writes the pod's hosts file into its folder and returns the file's path. */
export async function writeHostsFile(
  folder: string,
  pod: Pod,
  podIps: string[],
  clusterDomain: string,
): Promise<string> {
  const path = join(folder, "etc-hosts");
  await mkdir(folder, { recursive: true });
  const text = isHostNetwork(pod)
    ? [
        (await readFile("/etc/hosts", "utf8").catch(() => "127.0.0.1\tlocalhost\n")).trimEnd(),
        ...aliasLines(pod),
        "",
      ].join("\n")
    : hostsText(pod, podIps, clusterDomain);
  await writeFile(path, text, { mode: 0o644 });
  return path;
}
