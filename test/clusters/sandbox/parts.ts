// SPDX-License-Identifier: Apache-2.0
import path from "node:path";
import { stringify } from "yaml";
import { hostPort } from "../../../lib/addresses.ts";
import { ShuntError, UsageError } from "../../../lib/errors.ts";
import { run } from "../../../lib/run.ts";
import { isExecutable } from "./machine.ts";
import { repoInNode, serviceScript } from "./node/launch.ts";
import { type ClusterPlan, controlPlane, families, type NodePlan } from "./plan.ts";

/** Kubernetes binaries that replace parts of ours. */
export const realParts = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
];

const pki = "/etc/kubernetes/pki";
const issuer = "https://kubernetes.default.svc.cluster.local";
const etcdUrl = "https://127.0.0.1:2379";
/** What a node claims to have; it sees the whole machine. */
const capacity = { cpu: "4", memory: "4Gi", pods: "600" };

/** Which real parts a folder (envtest's KUBEBUILDER_ASSETS) has. An API server needs its etcd. */
export function findAssets(dir: string | undefined): ClusterPlan["assets"] {
  if (dir === undefined || dir === "") return undefined;
  const absolute = path.resolve(dir);
  let parts = realParts.filter((name) => isExecutable(path.join(absolute, name)));
  if (!parts.includes("etcd")) parts = parts.filter((name) => name !== "kube-apiserver");
  return parts.length === 0 ? undefined : { dir: absolute, parts };
}

/** Asks the folder's kubelet for its version: its configuration file differs between versions. */
export async function readKubeletVersion(assets: NonNullable<ClusterPlan["assets"]>): Promise<void> {
  if (!assets.parts.includes("kubelet")) return;
  const { stdout } = await run(path.join(assets.dir, "kubelet"), ["--version"]);
  const minor = /v1\.(\d+)\./.exec(stdout)?.[1];
  if (minor === undefined)
    throw new ShuntError(`${assets.dir}/kubelet does not say its version: ${stdout.trim()}`, {
      remedy: "Name a folder with Kubernetes 1.30 or newer in KUBEBUILDER_ASSETS.",
    });
  assets.kubeletMinor = Number(minor);
}

function has(plan: ClusterPlan, part: string): boolean {
  return plan.assets?.parts.includes(part) ?? false;
}

const real = (part: string, flags: string[]) => serviceScript([`/opt/kubernetes/${part}`, ...flags]);
const own = (part: string, flags: string[]) =>
  serviceScript([
    "/usr/local/bin/node",
    "--disable-warning=ExperimentalWarning",
    `${repoInNode}/bin/sandbox-part.ts`,
    part,
    ...flags,
  ]);

/** Address at which nodes reach the API server. */
export function apiAddress(plan: ClusterPlan): string {
  return hostPort(controlPlane(plan).addresses[0]!, 6443);
}

/** Scripts of a node's services, by name. */
export function nodeServices(plan: ClusterPlan, node: NodePlan): Record<string, string> {
  const services: Record<string, string> = {
    containerd: serviceScript(["containerd", "--config", "/etc/containerd/config.toml"]),
    kubelet: has(plan, "kubelet")
      ? real("kubelet", realKubeletFlags(plan, node))
      : own("kubelet", kubeletFlags(plan, node)),
  };
  if (node.role !== "control-plane") return services;
  const realApi = has(plan, "kube-apiserver");
  if (realApi) services.etcd = real("etcd", etcdFlags());
  services["kube-apiserver"] = realApi
    ? real("kube-apiserver", realApiserverFlags(plan))
    : own("apiserver", apiserverFlags(plan));
  services["kube-controller-manager"] = has(plan, "kube-controller-manager")
    ? real("kube-controller-manager", realControllerManagerFlags(plan))
    : own("controller-manager", controllerManagerFlags(plan));
  services["kube-scheduler"] = has(plan, "kube-scheduler")
    ? real("kube-scheduler", realSchedulerFlags())
    : own("scheduler", ["--kubeconfig=/etc/kubernetes/scheduler.conf"]);
  return services;
}

function apiserverFlags(plan: ClusterPlan): string[] {
  return [
    `--bind-address=${plan.ipFamily === "ipv4" ? "0.0.0.0" : "::"}`,
    "--secure-port=6443",
    `--advertise-address=${controlPlane(plan).addresses[0]}`,
    `--tls-cert-file=${pki}/apiserver.crt`,
    `--tls-private-key-file=${pki}/apiserver.key`,
    `--client-ca-file=${pki}/ca.crt`,
    `--service-account-key-file=${pki}/sa.pub`,
    `--service-account-signing-key-file=${pki}/sa.key`,
    `--service-account-issuer=${issuer}`,
    `--service-cluster-ip-range=${plan.serviceCidrs.join(",")}`,
    `--kubelet-client-certificate=${pki}/apiserver-kubelet-client.crt`,
    `--kubelet-client-key=${pki}/apiserver-kubelet-client.key`,
    `--kubelet-certificate-authority=${pki}/ca.crt`,
    "--data-dir=/var/lib/apiserver",
  ];
}

/** Flags that kube-apiserver 1.30 to 1.36 knows. */
export function realApiserverFlags(plan: ClusterPlan): string[] {
  return [
    ...apiserverFlags(plan).filter((flag) => !flag.startsWith("--data-dir=")),
    `--etcd-servers=${etcdUrl}`,
    `--etcd-cafile=${pki}/ca.crt`,
    `--etcd-certfile=${pki}/apiserver-etcd-client.crt`,
    `--etcd-keyfile=${pki}/apiserver-etcd-client.key`,
    "--allow-privileged=true",
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--enable-bootstrap-token-auth=true",
    "--kubelet-preferred-address-types=InternalIP,Hostname",
    `--requestheader-client-ca-file=${pki}/front-proxy-ca.crt`,
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-username-headers=X-Remote-User",
    "--profiling=false",
  ];
}

/** Flags of etcd 3.5 and 3.6, without the fsync that a throw-away cluster does not need. */
export function etcdFlags(): string[] {
  return [
    "--name=default",
    "--data-dir=/var/lib/etcd",
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    "--listen-peer-urls=http://127.0.0.1:2380",
    "--initial-advertise-peer-urls=http://127.0.0.1:2380",
    "--initial-cluster=default=http://127.0.0.1:2380",
    `--cert-file=${pki}/etcd.crt`,
    `--key-file=${pki}/etcd.key`,
    `--trusted-ca-file=${pki}/ca.crt`,
    "--client-cert-auth=true",
    "--unsafe-no-fsync",
  ];
}

function controllerManagerFlags(plan: ClusterPlan): string[] {
  const masks =
    plan.ipFamily === "dual"
      ? [`--node-cidr-mask-size-ipv4=${plan.nodeCidrMaskSizeIpv4}`, "--node-cidr-mask-size-ipv6=64"]
      : [`--node-cidr-mask-size=${plan.ipFamily === "ipv4" ? plan.nodeCidrMaskSizeIpv4 : 64}`];
  return [
    "--kubeconfig=/etc/kubernetes/controller-manager.conf",
    `--cluster-cidr=${plan.podCidrs.join(",")}`,
    "--allocate-node-cidrs=true",
    ...masks,
    `--service-account-private-key-file=${pki}/sa.key`,
    `--root-ca-file=${pki}/ca.crt`,
    "--leader-elect=false",
  ];
}

/** Flags that kube-controller-manager 1.30 to 1.36 knows. */
export function realControllerManagerFlags(plan: ClusterPlan): string[] {
  return [
    ...controllerManagerFlags(plan),
    "--authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
    "--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
    `--client-ca-file=${pki}/ca.crt`,
    `--cluster-signing-cert-file=${pki}/ca.crt`,
    `--cluster-signing-key-file=${pki}/ca.key`,
    `--service-cluster-ip-range=${plan.serviceCidrs.join(",")}`,
    "--use-service-account-credentials=true",
    "--controllers=*,bootstrapsigner,tokencleaner",
    "--bind-address=127.0.0.1",
    "--profiling=false",
  ];
}

/** Flags that kube-scheduler 1.30 to 1.36 knows. */
export function realSchedulerFlags(): string[] {
  return [
    "--kubeconfig=/etc/kubernetes/scheduler.conf",
    "--authentication-kubeconfig=/etc/kubernetes/scheduler.conf",
    "--authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
    "--leader-elect=false",
    "--bind-address=127.0.0.1",
    "--profiling=false",
  ];
}

function nodeLabels(node: NodePlan): string {
  return `topology.kubernetes.io/region=sandbox,topology.kubernetes.io/zone=${node.zone}`;
}

function kubeletFlags(plan: ClusterPlan, node: NodePlan): string[] {
  return [
    "--kubeconfig=/etc/kubernetes/kubelet.conf",
    "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
    `--hostname-override=${node.name}`,
    `--node-ip=${node.addresses.join(",")}`,
    `--cluster-dns=${plan.dnsServiceIp}`,
    "--cluster-domain=cluster.local",
    `--tls-cert-file=${pki}/kubelet.crt`,
    `--tls-private-key-file=${pki}/kubelet.key`,
    `--client-ca-file=${pki}/ca.crt`,
    "--pod-manifest-path=/etc/kubernetes/manifests",
    "--root-dir=/var/lib/kubelet",
    "--register-node=true",
    `--node-labels=${nodeLabels(node)}`,
    ...(node.taints === undefined ? [] : [`--register-with-taints=${node.taints.join(",")}`]),
    `--capacity=${Object.entries(capacity)
      .map(([name, value]) => `${name}=${value}`)
      .join(",")}`,
  ];
}

/** Flags that the kubelet 1.30 to 1.36 knows; the rest is in its configuration file. */
export function realKubeletFlags(_plan: ClusterPlan, node: NodePlan): string[] {
  return [
    "--config=/etc/kubernetes/kubelet.yaml",
    "--kubeconfig=/etc/kubernetes/kubelet.conf",
    `--hostname-override=${node.name}`,
    `--node-ip=${node.addresses.join(",")}`,
    `--node-labels=${nodeLabels(node)}`,
    "--root-dir=/var/lib/kubelet",
  ];
}

/** Configuration file of a real kubelet. */
export function kubeletConfiguration(plan: ClusterPlan, node: NodePlan): string {
  return stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: families(plan.ipFamily).includes("ipv6") ? "::" : "0.0.0.0",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true, cacheTTL: "2m0s" },
      x509: { clientCAFile: `${pki}/ca.crt` },
    },
    authorization: { mode: "Webhook" },
    cgroupDriver: "cgroupfs",
    cgroupRoot: "/",
    // Known from 1.31 on; an older kubelet refuses a configuration with an unknown field.
    ...((plan.assets?.kubeletMinor ?? 31) >= 31 ? { failCgroupV1: false } : {}),
    clusterDNS: [plan.dnsServiceIp],
    clusterDomain: "cluster.local",
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    evictionHard: {
      "imagefs.available": "0%",
      "memory.available": "0%",
      "nodefs.available": "0%",
      "nodefs.inodesFree": "0%",
    },
    imageGCHighThresholdPercent: 100,
    failSwapOn: false,
    hairpinMode: "hairpin-veth",
    healthzBindAddress: "127.0.0.1",
    healthzPort: 10248,
    maxPods: Number(capacity.pods),
    podPidsLimit: -1,
    localStorageCapacityIsolation: false,
    enforceNodeAllocatable: [],
    makeIPTablesUtilChains: false,
    protectKernelDefaults: false,
    registerNode: true,
    resolvConf: "/etc/resolv.conf",
    rotateCertificates: false,
    serializeImagePulls: false,
    staticPodPath: "/etc/kubernetes/manifests",
    tlsCertFile: `${pki}/kubelet.crt`,
    tlsPrivateKeyFile: `${pki}/kubelet.key`,
    ...(taintsOf(node).length === 0 ? {} : { registerWithTaints: taintsOf(node) }),
  });
}

/** Taints that a node has from its first moment. */
function taintsOf(node: NodePlan): { key: string; value?: string; effect: string }[] {
  const own = node.role === "control-plane" ? [controlPlaneTaint] : [];
  return [...own, ...(node.taints ?? []).map(parseTaint)];
}

/** `key=value:Effect` or `key:Effect`. Throws UsageError. */
export function parseTaint(text: string): { key: string; value?: string; effect: string } {
  const match =
    /^([A-Za-z0-9./_-]{1,316})(?:=([A-Za-z0-9._-]{0,63}))?:(NoSchedule|PreferNoSchedule|NoExecute)$/.exec(
      text,
    );
  if (match === null) throw new UsageError(`"${text}" is no taint`, "Write it like key=value:NoSchedule.");
  const [, key, value, effect] = match;
  return { key: key!, ...(value === undefined || value === "" ? {} : { value }), effect: effect! };
}

/** Keeps ordinary pods off the control plane. */
export const controlPlaneTaint = { key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" };
