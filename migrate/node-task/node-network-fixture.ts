// SPDX-License-Identifier: Apache-2.0
// What old networks leave on a node, as the commands that make it, for the tests of its removal.

/** Chains and tables of others, which must never change: Docker's, libvirt's, the user's, the kubelet's. */
export const foreignRules = `*filter
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:LIBVIRT_FWO - [0:0]
:my-chain - [0:0]
:KUBE-FIREWALL - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -m comment --comment "kept: -j FLANNEL-FWD is only said here" -j my-chain
-A OUTPUT -j KUBE-FIREWALL
-A DOCKER-USER -j RETURN
-A LIBVIRT_FWO -s 192.168.122.0/24 -i virbr0 -j ACCEPT
-A my-chain -p tcp -m tcp --dport 22 -j ACCEPT
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -j DROP
COMMIT
*mangle
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-IPTABLES-HINT - [0:0]
COMMIT
*nat
:DOCKER - [0:0]
:CNI-000000000000000000000001 - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 10.88.0.5/32 -m comment --comment "name: \\"podman\\" id: \\"1\\"" -j CNI-000000000000000000000001
-A CNI-000000000000000000000001 -d 10.88.0.0/16 -m comment --comment "name: \\"podman\\" id: \\"1\\"" -j ACCEPT
COMMIT
`;

/** Chains of the bridge and portmap plugins for one pod of the network of this name. */
const podChains = (name: string): string => `:CNI-aaaaaaaaaaaaaaaaaaaaaaaa - [0:0]
:CNI-DN-bbbbbbbbbbbbbbbbbbbbb - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A POSTROUTING -s 10.244.1.2/32 -m comment --comment "name: \\"${name}\\" id: \\"x\\"" -j CNI-aaaaaaaaaaaaaaaaaaaaaaaa
-A CNI-aaaaaaaaaaaaaaaaaaaaaaaa -d 10.244.1.0/24 -m comment --comment "name: \\"${name}\\" id: \\"x\\"" -j ACCEPT
-A CNI-aaaaaaaaaaaaaaaaaaaaaaaa ! -d 224.0.0.0/4 -m comment --comment "name: \\"${name}\\" id: \\"x\\"" -j MASQUERADE
-A CNI-DN-bbbbbbbbbbbbbbbbbbbbb -s 10.244.1.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-bbbbbbbbbbbbbbbbbbbbb -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"${name}\\" id: \\"x\\"" -m multiport --dports 8080 -j CNI-DN-bbbbbbbbbbbbbbbbbbbbb
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
`;

const cni0 = `ip link add cni0 type bridge
ip link set cni0 mtu 1450 address 0a:58:0a:f4:01:01 up
ip address add 10.244.1.1/24 brd 10.244.1.255 dev cni0
`;
const vxlan = (
  name: string,
  port: number,
): string => `ip link add ${name} type vxlan id 4096 dstport ${port} local 172.30.0.3 dev eth0 nolearning
ip link set ${name} mtu 1450 address 0a:58:00:00:00:01 up
ip address add 10.244.1.0/32 dev ${name}
ip route add 10.244.2.0/24 via 10.244.2.0 dev ${name} onlink
`;

/** How one old network looks on a node. */
export interface NetworkFixture {
  kind: "flannel" | "calico" | "kindnet" | "bridge";
  /** For `iptables-restore --noflush`. */
  rules: string;
  /** Shell commands. */
  devices: string;
  nft: string;
  files: Record<string, string>;
}

const flannelMasq = '-m comment --comment "flanneld masq"';

export const networkFixtures: NetworkFixture[] = [
  {
    kind: "flannel",
    rules: `*nat
:FLANNEL-POSTRTG - [0:0]
${podChains("cbr0")}-A POSTROUTING ${flannelMasq} -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${flannelMasq} -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 ${flannelMasq} -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-I FORWARD 2 -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
`,
    devices: cni0 + vxlan("flannel.1", 8472),
    nft: "table ip flannel-ipv4 { chain postrtg { type nat hook postrouting priority srcnat; ip saddr 10.244.0.0/16 masquerade; }; }",
    files: {
      "/etc/cni/net.d/10-flannel.conflist": JSON.stringify({
        name: "cbr0",
        cniVersion: "0.3.1",
        plugins: [
          { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
          { type: "portmap", capabilities: { portMappings: true } },
        ],
      }),
      "/run/flannel/subnet.env": "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n",
      "/var/lib/cni/networks/cbr0/10.244.1.2": "id\r\neth0",
      "/var/lib/cni/flannel/abc": "{}",
      "/opt/cni/bin/flannel": "#!/bin/sh\n",
    },
  },
  {
    kind: "calico",
    rules: `*filter
:cali-FORWARD - [0:0]
:cali-wl-to-host - [0:0]
-I FORWARD 1 -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
-A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m comment --comment "Policy explicitly accepted packet." -m mark --mark 0x10000/0x10000 -j ACCEPT
-A cali-FORWARD -m comment --comment "cali:vjrMJCRpqwy5oRoX" -j MARK --set-xmark 0x0/0xe0000
-A cali-FORWARD -i cali+ -m comment --comment "cali:8ZoYfO5HKXWbB3pk" -j cali-wl-to-host
COMMIT
*nat
:cali-POSTROUTING - [0:0]
-I POSTROUTING 1 -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING
-A cali-POSTROUTING -s 10.244.0.0/16 -m comment --comment "cali:SXWvdsbh4Mw7wOln" -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully
COMMIT
`,
    devices: `${vxlan("vxlan.calico", 4789)}ip route add blackhole 10.244.1.0/26 proto 80
`,
    nft: "table ip calico { chain filter-FORWARD { type filter hook forward priority filter; accept; }; }",
    files: {
      "/etc/cni/net.d/10-calico.conflist": JSON.stringify({
        name: "k8s-pod-network",
        cniVersion: "0.3.1",
        plugins: [{ type: "calico", ipam: { type: "calico-ipam" } }],
      }),
      "/etc/cni/net.d/calico-kubeconfig": "apiVersion: v1\n",
      "/var/lib/calico/nodename": "n1",
      "/opt/cni/bin/calico": "binary",
      "/opt/cni/bin/calico-ipam": "binary",
    },
  },
  {
    kind: "kindnet",
    rules: `*nat
:KIND-MASQ-AGENT - [0:0]
-A POSTROUTING -m addrtype ! --dst-type LOCAL -m comment --comment "kind-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom KIND-MASQ-AGENT chain" -j KIND-MASQ-AGENT
-A KIND-MASQ-AGENT -d 10.244.0.0/16 -m comment --comment "kind-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN
-A KIND-MASQ-AGENT -m comment --comment "kind-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" -j MASQUERADE
COMMIT
`,
    devices: "ip route add 10.244.2.0/24 via 172.30.0.4 dev eth0\n",
    nft: "table inet kindnet-ipmasq { chain postrouting { type nat hook postrouting priority srcnat; accept; }; }",
    files: {
      "/etc/cni/net.d/10-kindnet.conflist": JSON.stringify({
        name: "kindnet",
        cniVersion: "0.3.1",
        plugins: [
          { type: "ptp", ipam: { type: "host-local", dataDir: "/run/cni-ipam-state" } },
          { type: "portmap" },
        ],
      }),
      "/run/cni-ipam-state/kindnet/10.244.1.2": "id",
    },
  },
  {
    kind: "bridge",
    rules: `*nat
${podChains("mynet")}COMMIT
`,
    devices: `${cni0}ip route add 10.244.2.0/24 via 172.30.0.4 dev eth0
`,
    nft: "",
    files: {
      "/etc/cni/net.d/10-mynet.conf": JSON.stringify({
        name: "mynet",
        type: "bridge",
        bridge: "cni0",
        ipMasq: true,
        ipam: { type: "host-local" },
      }),
      "/var/lib/cni/networks/mynet/last_reserved_ip.0": "10.244.1.2",
    },
  },
];

/** kube-proxy's layout in mode iptables, with one service. */
export const kubeProxyRules = `*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*filter
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-I FORWARD 1 -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I FORWARD 2 -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I INPUT 1 -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-I OUTPUT 1 -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -m comment --comment "nfacct" -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SEP-IT2ZTR26TO4XFPTO - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]
-I PREROUTING 1 -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I OUTPUT 1 -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING 1 -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SEP-IT2ZTR26TO4XFPTO -s 10.244.0.2/32 -m comment --comment "kube-system/kube-dns:dns" -j KUBE-MARK-MASQ
-A KUBE-SEP-IT2ZTR26TO4XFPTO -p udp -m comment --comment "kube-system/kube-dns:dns" -m udp -j DNAT --to-destination 10.244.0.2:53
-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-TCOU7JCQXEZGVUNU ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-MARK-MASQ
-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "kube-system/kube-dns:dns -> 10.244.0.2:53" -j KUBE-SEP-IT2ZTR26TO4XFPTO
COMMIT
`;

/** kube-proxy's layout in mode nftables, as much as a removal can see. */
export const kubeProxyNft = ["ip", "ip6"]
  .map(
    (family) =>
      `table ${family} kube-proxy { chain services { }; chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }; }`,
  )
  .join("\n");
