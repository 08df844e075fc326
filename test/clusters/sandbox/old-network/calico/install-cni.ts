// SPDX-License-Identifier: Apache-2.0
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { stringify } from "yaml";
import { ShuntError } from "../../../../../lib/errors.ts";
import { writeConfiguration } from "../cni-configuration.ts";
import type { DaemonContext } from "../follow-nodes.ts";

const account = "/var/run/secrets/kubernetes.io/serviceaccount";
const folder = "/host/etc/cni/net.d";

/** The init container's part: the plugin, its kubeconfig, and the network's configuration filled in. */
export async function runDaemon({ env, nodeName }: DaemonContext): Promise<void> {
  const plugin = "/host/opt/cni/bin/calico";
  copyFileSync(path.join(import.meta.dirname, "../cni-plugin.sh"), plugin);
  chmodSync(plugin, 0o755);
  const template = env.CNI_NETWORK_CONFIG;
  if (template === undefined) throw new ShuntError("CNI_NETWORK_CONFIG is not set");
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "local",
        cluster: {
          server: `https://${env.KUBERNETES_SERVICE_HOST}:${env.KUBERNETES_SERVICE_PORT}`,
          "certificate-authority-data": readFileSync(`${account}/ca.crt`).toString("base64"),
        },
      },
    ],
    users: [{ name: "calico", user: { token: readFileSync(`${account}/token`, "utf8").trim() } }],
    contexts: [{ name: "calico-context", context: { cluster: "local", user: "calico" } }],
    "current-context": "calico-context",
  };
  writeFileSync(path.join(folder, "calico-kubeconfig"), stringify(kubeconfig), { mode: 0o600 });
  const text = template
    .replaceAll("__KUBERNETES_NODE_NAME__", nodeName)
    .replaceAll("__CNI_MTU__", env.CNI_MTU ?? "0")
    .replaceAll("__KUBECONFIG_FILEPATH__", "/etc/cni/net.d/calico-kubeconfig");
  writeConfiguration(path.join(folder, env.CNI_CONF_NAME ?? "10-calico.conflist"), JSON.parse(text));
}
