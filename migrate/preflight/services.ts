// SPDX-License-Identifier: Apache-2.0
import type { Finding, KubeProxyForm } from "../model/inventory.ts";
import { block, type CheckContext, info, named, warn } from "./check.ts";
import { objectName } from "./cluster.ts";

/** Who routes Services now, whether it can be handed over, and which Services Shunt would serve otherwise. */
export function checkServices(context: CheckContext): Finding[] {
  return [...form(context), ...mode(context), ...unsupported(context), ...surroundings(context)];
}

const byHand: Partial<Record<KubeProxyForm, { what: string; remedy: string }>> = {
  "static-pod": {
    what: "a static pod, which only files on the nodes turn off",
    remedy:
      "Replace it before by a DaemonSet (kops: spec.kubeProxy.enabled; rke2: disable-kube-proxy: true with kube-proxy as a DaemonSet), or move /etc/kubernetes/manifests/kube-proxy* away on each node when the run pauses for it and accept: --accept kube-proxy-not-daemonset.",
  },
  systemd: {
    what: "a systemd unit on the nodes",
    remedy:
      "Run it as a DaemonSet before, or `systemctl disable --now kube-proxy` on each node when the run pauses for it and accept: --accept kube-proxy-not-daemonset.",
  },
  k3s: {
    what: "part of the distribution's own process on the nodes",
    remedy:
      "Restart the servers with --disable-kube-proxy (k3s; microk8s: remove kube-proxy from kubelite) when the run pauses for it and accept: --accept kube-proxy-not-daemonset.",
  },
};

function form({ inventory, details }: CheckContext): Finding[] {
  const { kubeProxy } = inventory;
  const object = kubeProxy.object === undefined ? "cluster" : objectName(kubeProxy.object);
  const hand = byHand[kubeProxy.form];
  if (hand !== undefined)
    return [
      block({
        id: "kube-proxy-not-daemonset",
        object,
        problem: `kube-proxy is ${hand.what}; through the API Shunt cannot disable it`,
        remedy: hand.remedy,
      }),
    ];
  if (kubeProxy.form === "unknown" && !details.network.servesServices)
    return [
      warn({
        id: "kube-proxy-not-found",
        object,
        problem:
          "no kube-proxy was found as DaemonSet or pod: it may run as a service of the nodes, or not at all",
        remedy:
          "See `systemctl status kube-proxy` on a node; if it runs there, it has to be stopped by hand at the handover.",
      }),
    ];
  return [];
}

function mode({ inventory }: CheckContext): Finding[] {
  const { kubeProxy } = inventory;
  const object = kubeProxy.object === undefined ? "cluster" : objectName(kubeProxy.object);
  if (kubeProxy.disabled || kubeProxy.form === "none" || kubeProxy.form === "unknown") return [];
  if (kubeProxy.mode === "ipvs" || kubeProxy.mode === "userspace")
    return [
      block({
        id: "kube-proxy-mode",
        object,
        problem: `kube-proxy runs in mode ${kubeProxy.mode}: its connections live in ${kubeProxy.mode === "ipvs" ? "IPVS, not in conntrack," : "its own process"} and would break at the handover`,
        remedy:
          "Change kube-proxy to mode iptables or nftables first, node by node (its ConfigMap's `mode`, then restart its pods).",
      }),
    ];
  if (kubeProxy.mode !== "unknown") return [];
  return [
    warn({
      id: "kube-proxy-mode-unknown",
      object,
      problem: "kube-proxy's mode could not be read",
      remedy: "See `curl localhost:10249/proxyMode` on a node: iptables and nftables can be handed over.",
    }),
  ];
}

function unsupported({ details }: CheckContext): Finding[] {
  const { services } = details;
  const found: Finding[] = [];
  if (services.sctp.count > 0)
    found.push(
      block({
        id: "service-sctp",
        object: `Service ${services.sctp.first[0]}`,
        problem: `${named(services.sctp, "Service")} with SCTP ports, which Shunt does not route`,
        remedy:
          "Reach these by pod address (headless Service), or accept that they stop: --accept service-sctp.",
      }),
    );
  if (services.sourceRanges.count > 0)
    found.push(
      warn({
        id: "service-source-ranges",
        object: `Service ${services.sourceRanges.first[0]}`,
        problem: `${named(services.sourceRanges, "Service")} limit who may reach them (loadBalancerSourceRanges); on the nodes nobody enforces that after kube-proxy`,
        remedy: "Let the load balancer enforce it (clouds' do), or a NetworkPolicy with ipBlock.",
      }),
    );
  if (services.healthCheckNodePorts > 0)
    found.push(
      warn({
        id: "service-health-check-ports",
        object: "cluster",
        problem: `${services.healthCheckNodePorts} LoadBalancer Services have health check ports that kube-proxy answers`,
        remedy:
          "See docs/commands/shunt-install.md whether your version answers them; otherwise let the load balancer check the NodePort itself.",
      }),
    );
  if (services.otherProxy.count > 0)
    found.push(
      info({
        id: "service-other-proxy",
        object: `Service ${services.otherProxy.first[0]}`,
        problem: `${named(services.otherProxy, "Service")} belong to another proxy (label service-proxy-name) and are left alone`,
        remedy: "Nothing to do.",
      }),
    );
  return found;
}

function surroundings({ inventory, details }: CheckContext): Finding[] {
  const found: Finding[] = [];
  if (details.pods.nodeLocalDns)
    found.push(
      warn({
        id: "node-local-dns",
        object: "DaemonSet kube-system/node-local-dns",
        problem:
          "NodeLocal DNSCache listens on kube-dns' ClusterIP on every node; Shunt translates that address before it gets there",
        remedy:
          "Pods then ask kube-dns directly, which works; to keep the cache, let kubelets name its own address (169.254.20.10).",
      }),
    );
  const sidecars = Object.entries(details.pods.sidecars);
  if (sidecars.length > 0) {
    const total = sidecars.reduce((sum, [, count]) => sum + count, 0);
    found.push(
      warn({
        id: "service-mesh",
        object: "cluster",
        problem: `${total} pods have a sidecar proxy (${sidecars.map(([name, count]) => `${name} ${count}`).join(", ")}): a Service address that is translated at connect time reaches it as a pod's address`,
        remedy: "Test one mesh workload on the canary node first; restart sidecars that lose their routes.",
      }),
    );
  }
  if (details.services.sessionAffinity > 0)
    found.push(
      info({
        id: "session-affinity",
        object: "cluster",
        problem: `${details.services.sessionAffinity} Services stick clients to a pod: at the handover each client is given a pod anew, once`,
        remedy: "Nothing to do if sessions survive another backend, as they must for a rolling update.",
      }),
    );
  if (inventory.counts.externalIPServices > 0)
    found.push(
      info({
        id: "external-ips",
        object: "cluster",
        problem: `${inventory.counts.externalIPServices} Services have externalIPs`,
        remedy: "They are served on every node, as before.",
      }),
    );
  return found;
}
