// SPDX-License-Identifier: Apache-2.0
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { stringify } from "yaml";
import { makeKubeconfig } from "./kubeconfig.ts";
import { apiAddress } from "./parts.ts";
import { type Authority, type Credential, createAuthority, createTokenKeys, openAuthority } from "./pki.ts";
import { type ClusterPlan, controlPlane, type NodePlan, outside } from "./plan.ts";
import { clusterDir } from "./state.ts";

/** Every key, certificate and kubeconfig of a cluster. */
export interface Secrets {
  ca: Credential;
  admin: Credential;
  internet: Credential;
  /** Files by path below /etc/kubernetes, for each node. */
  nodeFiles: Map<string, Record<string, string>>;
}

const inCluster = [
  "kubernetes",
  "kubernetes.default",
  "kubernetes.default.svc",
  "kubernetes.default.svc.cluster.local",
];
const loopback = ["localhost", "127.0.0.1", "::1"];

/** Makes all secrets of a cluster and keeps the control plane's in its pki folder. */
export async function createSecrets(plan: ClusterPlan): Promise<Secrets> {
  const ca = await createAuthority("kubernetes");
  const frontProxy = await createAuthority("front-proxy-ca");
  const internetCa = await createAuthority("sandbox-internet-ca");
  const control = controlPlane(plan);
  const serviceIps = plan.serviceCidrs.map((cidr) => (cidr.includes(":") ? "fd10:96::1" : "10.96.0.1"));
  const masters = ["system:masters"];
  const [apiserver, kubeletClient, etcd, etcdClient, admin, manager, scheduler] = await Promise.all([
    ca.issue({
      commonName: "kube-apiserver",
      names: [...inCluster, control.name, ...loopback, ...control.addresses, ...serviceIps],
    }),
    ca.issue({ commonName: "kube-apiserver-kubelet-client", organizations: masters }),
    ca.issue({ commonName: "etcd", names: loopback }),
    ca.issue({ commonName: "kube-apiserver-etcd-client" }),
    ca.issue({ commonName: "kubernetes-admin", organizations: masters }),
    ca.issue({ commonName: "system:kube-controller-manager" }),
    ca.issue({ commonName: "system:kube-scheduler" }),
  ]);
  const internet = await internetCa.issue({
    commonName: "world.example",
    names: Object.entries(outside.servers).flatMap(([name, addresses]) => [
      name,
      `www.${name}`,
      ...addresses,
    ]),
  });
  const tokens = createTokenKeys();
  const server = `https://${apiAddress(plan)}`;
  const config = (client: Credential) => stringify(makeKubeconfig("sandbox", server, ca.cert, client));
  const controlFiles: Record<string, string> = {
    "pki/ca.key": ca.key,
    "pki/sa.key": tokens.privateKey,
    "pki/sa.pub": tokens.publicKey,
    "pki/front-proxy-ca.crt": frontProxy.cert,
    ...pair("pki/apiserver", apiserver!),
    ...pair("pki/apiserver-kubelet-client", kubeletClient!),
    ...pair("pki/etcd", etcd!),
    ...pair("pki/apiserver-etcd-client", etcdClient!),
    "admin.conf": config(admin!),
    "controller-manager.conf": config(manager!),
    "scheduler.conf": config(scheduler!),
  };
  const nodeFiles = new Map<string, Record<string, string>>();
  for (const node of plan.nodes)
    nodeFiles.set(node.name, {
      ...(await kubeletFiles(plan, node, ca, internetCa.cert)),
      ...(node.role === "control-plane" ? controlFiles : {}),
    });
  await keep(plan, control, nodeFiles);
  return { ca, admin: admin!, internet, nodeFiles };
}

/** What every node has: the authorities, and its kubelet's certificate. */
async function kubeletFiles(
  plan: ClusterPlan,
  node: NodePlan,
  ca: Authority,
  internetCa: string,
): Promise<Record<string, string>> {
  const kubelet = await ca.issue({
    commonName: `system:node:${node.name}`,
    organizations: ["system:nodes"],
    names: [node.name, ...node.addresses],
  });
  const server = `https://${apiAddress(plan)}`;
  return {
    "pki/ca.crt": ca.cert,
    "pki/internet-ca.crt": internetCa,
    ...pair("pki/kubelet", kubelet),
    "kubelet.conf": stringify(makeKubeconfig("sandbox", server, ca.cert, kubelet)),
  };
}

/** The files of a node that joins a cluster which is there, below /etc/kubernetes. */
export async function joinFiles(plan: ClusterPlan, node: NodePlan): Promise<Record<string, string>> {
  const read = (name: string) => readFile(path.join(clusterDir(plan.name), "pki", name), "utf8");
  const ca = await openAuthority({ cert: await read("ca.crt"), key: await read("ca.key") });
  return await kubeletFiles(plan, node, ca, await read("internet-ca.crt"));
}

function pair(name: string, credential: Credential): Record<string, string> {
  return { [`${name}.crt`]: credential.cert, [`${name}.key`]: credential.key };
}

/** The control plane's files, for whoever looks into a cluster's folder. */
async function keep(
  plan: ClusterPlan,
  control: NodePlan,
  files: Map<string, Record<string, string>>,
): Promise<void> {
  await writeFiles(clusterDir(plan.name), files.get(control.name)!);
}

/** Writes files below a folder; what is secret is for root's eyes only. */
export async function writeFiles(dir: string, files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(dir, name);
    await mkdir(path.dirname(file), { recursive: true });
    const isSecret = /\.key$|^kubernetes\/|^[a-z-]+\.conf$/.test(name) && name !== "resolv.conf";
    await writeFile(file, text, { mode: isSecret ? 0o600 : 0o644 });
  }
}
