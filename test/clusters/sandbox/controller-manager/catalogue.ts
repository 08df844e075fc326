// SPDX-License-Identifier: Apache-2.0
import type { Controller } from "./controllers.ts";
import { DaemonSets } from "./daemon-set.ts";
import { Deployments } from "./deployment.ts";
import { EndpointSlices } from "./endpoint-slice.ts";
import { EndpointsObjects } from "./endpoints.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { nodeCidrController } from "./node-cidrs.ts";
import { replicaSetController } from "./replica-set.ts";
import { rootCaPublisher, serviceAccountController } from "./service-accounts.ts";

/** Every controller, by the name of the ServiceAccount that the real one acts as. */
export const controllerSetUps: [name: string, setUp: (controller: Controller) => void][] = [
  ["service-account-controller", serviceAccountController],
  ["root-ca-cert-publisher", rootCaPublisher],
  ["node-controller", nodeCidrController],
  ["deployment-controller", (controller) => void new Deployments(controller)],
  ["replicaset-controller", replicaSetController],
  ["daemon-set-controller", (controller) => void new DaemonSets(controller)],
  ["endpointslice-controller", (controller) => void new EndpointSlices(controller)],
  ["endpoint-controller", (controller) => void new EndpointsObjects(controller)],
  ["generic-garbage-collector", (controller) => void new GarbageCollector(controller)],
];
