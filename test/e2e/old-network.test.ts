// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { waitFor } from "../../lib/wait.ts";
import { nodeExec } from "../clusters/index.ts";
import { ClusterUnderTest, image } from "./cluster-under-test.ts";

/** What a network is known by, and leaves behind when its DaemonSet goes. */
interface Expectation {
  cni: string;
  /** Its DaemonSet, as kubectl names it after -n. */
  daemonSet?: [namespace: string, name: string];
  /** Objects that must be there, as arguments of `kubectl get`. */
  objects: string[][];
  /** Device that packets to another node's pods leave by. */
  device: string;
  /** Where host-local keeps what it has given out. */
  leases: string;
  /** Shell commands on a node, and what they must print; true of the residue, too. */
  facts: [command: string, prints: RegExp][];
}

const networks: Expectation[] = [
  {
    cni: "flannel",
    daemonSet: ["kube-flannel", "kube-flannel-ds"],
    objects: [
      ["-n", "kube-flannel", "configmap/kube-flannel-cfg", "serviceaccount/flannel"],
      ["clusterrole/flannel", "clusterrolebinding/flannel"],
    ],
    device: "flannel.1",
    leases: "/var/lib/cni/networks/cbr0",
    facts: [
      ["ip -d link show flannel.1", /vxlan id 1 .* dstport 8472 nolearning/],
      ["ip neigh show dev flannel.1", /10\.244\.\d+\.0 lladdr \S+ PERMANENT/],
      ["bridge fdb show dev flannel.1", /dst 172\.30\.0\.\d+ self permanent/],
      ["ip route", /10\.244\.\d+\.0\/24 via 10\.244\.\d+\.0 dev flannel\.1 onlink/],
      ["ip link show cni0", /mtu 1450/],
      [
        "cat /run/flannel/subnet.env",
        /FLANNEL_NETWORK=10\.244\.0\.0\/16\nFLANNEL_SUBNET=\S+\.1\/24\nFLANNEL_MTU=1450/,
      ],
      ["cat /etc/cni/net.d/10-flannel.conflist", /"type": "flannel"[\s\S]*"portmap"/],
      [
        "iptables-save -t nat",
        /-A POSTROUTING .*-j FLANNEL-POSTRTG[\s\S]*-A FLANNEL-POSTRTG .*MASQUERADE --random-fully/,
      ],
      ["iptables-save -t filter", /-A FLANNEL-FWD -s 10\.244\.0\.0\/16 .*-j ACCEPT/],
    ],
  },
  {
    cni: "kindnet",
    leases: "/run/cni-ipam-state/kindnet",
    daemonSet: ["kube-system", "kindnet"],
    objects: [["clusterrole/kindnet"], ["-n", "kube-system", "serviceaccount/kindnet"]],
    device: "eth0",
    facts: [
      ["ip route", /10\.244\.\d+\.0\/24 via 172\.30\.0\.\d+ dev eth0/],
      ["ip route", /10\.244\.\d+\.\d+ dev veth\S+ scope host/],
      ["cat /etc/cni/net.d/10-kindnet.conflist", /"type": "ptp"[\s\S]*"portmap"/],
      ["iptables-save -t nat", /-A POSTROUTING -m addrtype ! --dst-type LOCAL .*-j KIND-MASQ-AGENT/],
      ["ls /run/cni-ipam-state/kindnet", /10\.244\.\d+\.\d+/],
    ],
  },
  {
    cni: "calico",
    daemonSet: ["kube-system", "calico-node"],
    objects: [
      ["-n", "kube-system", "deployment/calico-kube-controllers", "configmap/calico-config"],
      ["ippools.crd.projectcalico.org/default-ipv4-ippool"],
    ],
    device: "vxlan.calico",
    leases: "/var/lib/cni/networks/k8s-pod-network",
    facts: [
      ["ip -d link show vxlan.calico", /vxlan id 4096 .* dstport 4789 nolearning/],
      ["ip route", /blackhole 10\.244\.\d+\.0\/24 proto 80/],
      ["ip route", /10\.244\.\d+\.0\/24 via 10\.244\.\d+\.0 dev vxlan\.calico proto 80 onlink/],
      ["ip route", /10\.244\.\d+\.\d+ dev cali[0-9a-f]{11} scope link/],
      ["cat /proc/sys/net/ipv4/conf/cali*/proxy_arp", /1/],
      ["cat /etc/cni/net.d/10-calico.conflist", /"type": "calico"[\s\S]*"usePodCidr"[\s\S]*"portmap"/],
      ["ls /etc/cni/net.d /var/lib/calico", /calico-kubeconfig[\s\S]*mtu\nnodename/],
      ["iptables-save -t filter", /-A FORWARD .*-j cali-FORWARD[\s\S]*-A cali-fw-cali[0-9a-f]{11} .*-j DROP/],
      [
        "iptables-save -t nat",
        /-A cali-nat-outgoing .*--match-set cali40masq-ipam-pools src .*-j MASQUERADE/,
      ],
      ["ipset list -n", /cali40all-ipam-pools/],
    ],
  },
  {
    cni: "bridge",
    leases: "/var/lib/cni/networks/bridge",
    objects: [],
    device: "eth0",
    facts: [
      ["ip route", /10\.244\.\d+\.0\/24 via 172\.30\.0\.\d+ dev eth0/],
      ["ip route", /10\.244\.\d+\.0\/24 dev cni0/],
      ["cat /etc/cni/net.d/10-bridge.conf", /"type": "bridge"/],
      ["iptables-save -t nat", /-A CNI-[0-9a-f]{24} ! -d 224\.0\.0\.0\/4 .*-j MASQUERADE/],
      ["ls /var/lib/cni/networks/bridge", /10\.244\.\d+\.\d+/],
    ],
  },
];

/** A web server on a node, whatever its taints. */
function server(name: string, node: string): unknown {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      nodeSelector: { "kubernetes.io/hostname": node },
      tolerations: [{ operator: "Exists" }],
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "main",
          image,
          imagePullPolicy: "IfNotPresent",
          command: ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/etc"],
        },
      ],
    },
  };
}

for (const network of networks)
  describe(`a cluster on a ${network.cni}-like network`, () => {
    const name = `e2e-${network.cni}`;
    const nodes = [`${name}-control-plane`, `${name}-worker`] as const;
    let cluster: ClusterUnderTest;
    const onNode = async (node: string, command: string) =>
      (await nodeExec(name, node, ["sh", "-c", command])).stdout;
    const addressOf = async (pod: string): Promise<string> => (await cluster.get("pod", pod)).status.podIP;
    const factsHold = async (node: string) => {
      const script = network.facts.map(([command]) => `echo "=== ${command}"; ${command}`).join("\n");
      const outputs = (await onNode(node, script)).split(/^=== /m).slice(1);
      for (const [index, [command, prints]] of network.facts.entries())
        assert.match(outputs[index]!, prints, `${command} on ${node}`);
    };
    /** The second pod asks the first one over and over. */
    const talk = async () => {
      const curl = `curl -sS --max-time 5 http://${await addressOf("p1")}:8080/hostname`;
      const { stdout } = await cluster.kubectl([
        "exec",
        "p2",
        "--",
        "sh",
        "-euc",
        Array(20).fill(curl).join(";"),
      ]);
      assert.equal(stdout, "p1\n".repeat(20));
    };

    before(async () => {
      cluster = await ClusterUnderTest.create(name, ["--workers", "1", "--cni", network.cni]);
      await cluster.apply(...nodes.map((node, index) => server(`p${index + 1}`, node)));
      await cluster.kubectl(["wait", "--for=condition=Ready", "pod/p1", "pod/p2", "--timeout=60s"]);
    });
    after(async () => cluster?.delete());

    /** What still gets an interface would change what a test compares. */
    const everyPodHasAddress = async (): Promise<boolean> => {
      const { items } = await cluster.get("pods", "-A");
      return items.every((pod: any) => pod.status.podIP !== undefined);
    };

    it("has Ready nodes and the objects that it is known by", async () => {
      const { items } = await cluster.get("nodes");
      for (const node of items)
        assert.equal(node.status.conditions.find(({ type }: any) => type === "Ready").status, "True");
      for (const words of network.objects) await cluster.kubectl(["get", ...words]);
      for (const node of nodes) await factsHold(node);
    });

    it("carries packets between nodes over its device, and out under the node's address", async () => {
      const statistics = `/sys/class/net/${network.device}/statistics`;
      const counters = async () => {
        const read = `cat ${statistics}/rx_packets ${statistics}/tx_packets`;
        const texts = await Promise.all(nodes.map((node) => onNode(node, read)));
        return texts.flatMap((text) => text.trim().split("\n").map(Number));
      };
      const before = await counters();
      await talk();
      // Each request takes at least three packets in either direction.
      for (const [index, count] of (await counters()).entries())
        assert.ok(
          count - before[index]! >= 60,
          `${network.device} carried ${count - before[index]!} packets`,
        );
      const world = await cluster.kubectl([
        "exec",
        "p2",
        "--",
        "curl",
        "-sS",
        "--max-time",
        "5",
        "http://192.0.2.10/",
      ]);
      assert.equal(JSON.parse(world.stdout).client, "172.30.0.3");
    });

    it("takes back the address and the interface of a pod that goes", async () => {
      const state = `ls ${network.leases}; ip -o link | cut -d@ -f1 | cut -d' ' -f2`;
      await waitFor("every pod to have its address", everyPodHasAddress, { timeoutMs: 60_000 });
      const before = await onNode(nodes[1], state);
      await cluster.apply(server("p3", nodes[1]));
      await cluster.kubectl(["wait", "--for=condition=Ready", "pod/p3", "--timeout=60s"]);
      const address = await addressOf("p3");
      const leased = await onNode(nodes[1], `ls ${network.leases}`);
      assert.ok(leased.split("\n").includes(address), `${address} is in ${leased}`);
      await cluster.kubectl(["delete", "pod", "p3"]);
      const withoutLast = (text: string) =>
        text.split("\n").filter((line) => !line.startsWith("last_reserved"));
      await waitFor(
        `the traces of p3 to go`,
        async () => withoutLast(await onNode(nodes[1], state)).join() === withoutLast(before).join(),
        { timeoutMs: 30_000 },
      );
    });

    if (network.daemonSet === undefined) return;
    const [namespace, daemonSet] = network.daemonSet;

    it("goes on when its pods are replaced, then without them, leaving everything behind", async () => {
      const before = await onNode(nodes[1], "ip -o link; ip route");
      await cluster.kubectl(["-n", namespace, "rollout", "restart", `daemonset/${daemonSet}`]);
      await cluster.kubectl([
        "-n",
        namespace,
        "rollout",
        "status",
        `daemonset/${daemonSet}`,
        "--timeout=90s",
      ]);
      await talk();
      await cluster.kubectl(["-n", namespace, "delete", `daemonset/${daemonSet}`]);
      await waitFor(
        "the network's pods to go",
        async () =>
          !(await cluster.get("-n", namespace, "pods")).items.some((pod: any) =>
            pod.metadata.name.startsWith(daemonSet),
          ),
        { timeoutMs: 60_000 },
      );
      assert.equal(await onNode(nodes[1], "ip -o link; ip route"), before);
      await talk();
      for (const node of nodes) await factsHold(node);
    });
  });
