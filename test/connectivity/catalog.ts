// SPDX-License-Identifier: Apache-2.0
import { policyTests } from "./policy/tests.ts";
import { agentHealth, agentLogErrors, agentRestarts, unexpectedDrops } from "./scenarios/agent.ts";
import { bigTransfer } from "./scenarios/big-transfer.ts";
import { clientToClient } from "./scenarios/client-to-client.ts";
import { dnsExternal, dnsHeadless, dnsMissing, dnsService, dnsServiceOverTcp } from "./scenarios/dns.ts";
import { endpointsComeAndGo } from "./scenarios/endpoints-come-and-go.ts";
import { everyBackend } from "./scenarios/every-backend.ts";
import { fullMtu } from "./scenarios/full-mtu.ts";
import { heldConnections } from "./scenarios/held-connections.ts";
import { hostToPod } from "./scenarios/host-to-pod.ts";
import { hostToService } from "./scenarios/host-to-service.ts";
import { largeUdp } from "./scenarios/large-udp.ts";
import { masquerade } from "./scenarios/masquerade.ts";
import { newPod } from "./scenarios/new-pod.ts";
import { noEndpoints } from "./scenarios/no-endpoints.ts";
import { outsideToHostPort } from "./scenarios/outside-to-hostport.ts";
import { outsideToLocalNodePort } from "./scenarios/outside-to-local-nodeport.ts";
import { outsideToNodePort } from "./scenarios/outside-to-nodeport.ts";
import { outsideToNodePortUdp } from "./scenarios/outside-to-nodeport-udp.ts";
import { podToApiServer } from "./scenarios/pod-to-apiserver.ts";
import { podToCidr } from "./scenarios/pod-to-cidr.ts";
import { podToHeadlessService } from "./scenarios/pod-to-headless-service.ts";
import { podToHost } from "./scenarios/pod-to-host.ts";
import { podToHostPort } from "./scenarios/pod-to-hostport.ts";
import { podToItselfViaService } from "./scenarios/pod-to-itself.ts";
import { podToLocalNodePort, podToRemoteNodePort } from "./scenarios/pod-to-nodeport.ts";
import { podToPod } from "./scenarios/pod-to-pod.ts";
import { podToPodTcp, podToPodUdp } from "./scenarios/pod-to-pod-bytes.ts";
import { podToPodIcmp } from "./scenarios/pod-to-pod-icmp.ts";
import { podToService } from "./scenarios/pod-to-service.ts";
import { podToServiceByName } from "./scenarios/pod-to-service-by-name.ts";
import { podToServiceTcp, podToServiceUdp } from "./scenarios/pod-to-service-bytes.ts";
import { podToWorldHttp, podToWorldHttps } from "./scenarios/pod-to-world.ts";
import { podToWorldIcmp } from "./scenarios/pod-to-world-icmp.ts";
import { spoofedSource } from "./scenarios/spoofed-source.ts";
import type { Test } from "./suite.ts";
import type { World } from "./world.ts";

/** All tests, in the order of the report. Those that want to be alone run last, in this order. */
export const catalog: readonly Test<World>[] = [
  {
    name: "no-policies",
    description: "pods, nodes and the API server reach one another",
    scenarios: [
      podToPod,
      podToPodTcp,
      podToPodUdp,
      podToPodIcmp,
      clientToClient,
      podToHost,
      hostToPod,
      podToHostPort,
      podToApiServer,
    ],
  },
  {
    name: "services",
    description: "Services lead to their pods",
    scenarios: [
      podToService,
      podToServiceTcp,
      podToServiceUdp,
      podToServiceByName,
      podToHeadlessService,
      podToItselfViaService,
      hostToService,
      everyBackend,
      noEndpoints,
    ],
  },
  {
    name: "no-policies-extra",
    description: "node ports, from inside the cluster",
    scenarios: [podToLocalNodePort, podToRemoteNodePort],
  },
  {
    name: "no-policies-from-outside",
    description: "node ports and host ports, from beyond the node",
    scenarios: [outsideToNodePort, outsideToNodePortUdp, outsideToLocalNodePort, outsideToHostPort],
  },
  {
    name: "to-world",
    description: "pods reach the world outside, under their node's address",
    scenarios: [podToWorldHttp, podToWorldHttps, podToWorldIcmp, podToCidr, masquerade],
  },
  {
    name: "dns",
    description: "names inside and outside the cluster resolve",
    scenarios: [dnsService, dnsServiceOverTcp, dnsHeadless, dnsMissing, dnsExternal],
  },
  {
    name: "packet-sizes",
    description: "packets of every size get through, none smaller than promised",
    scenarios: [fullMtu, largeUdp, bigTransfer],
  },
  {
    name: "spoofing",
    description: "nobody sends under another's address",
    scenarios: [spoofedSource],
  },
  {
    name: "life-cycle",
    description: "the network follows pods that come and go",
    alone: true,
    scenarios: [endpointsComeAndGo, newPod],
  },
  {
    name: "no-interrupted-connections",
    description: "connections outlive everything that the other tests do",
    alone: true,
    scenarios: [heldConnections],
  },
  ...policyTests,
  {
    name: "health",
    description: "the agents are well, were never restarted, dropped nothing and logged no error",
    alone: true,
    scenarios: [agentHealth, agentRestarts, unexpectedDrops, agentLogErrors],
  },
];
