// SPDX-License-Identifier: Apache-2.0
import { clusterRoleAggregation } from "./cluster-roles.ts";
import { type Controller, ownUser } from "./controllers.ts";
import { CronJobs } from "./cron-job.ts";
import { DaemonSets } from "./daemon-set.ts";
import { Deployments } from "./deployment.ts";
import { DisruptionBudgets } from "./disruption-budget.ts";
import { EndpointSlices } from "./endpoint-slice.ts";
import { EndpointsObjects } from "./endpoints.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { Jobs, ttlAfterFinished } from "./job.ts";
import { Namespaces } from "./namespace.ts";
import { nodeCidrController } from "./node-cidrs.ts";
import { NodeLifecycle } from "./node-lifecycle.ts";
import { podGarbageCollector } from "./pod-garbage.ts";
import { replicaSetController } from "./replica-set.ts";
import { rootCaPublisher, serviceAccountController } from "./service-accounts.ts";
import { StatefulSets } from "./stateful-set.ts";
import { tokenSecretController } from "./token-secrets.ts";

/** Every controller, by the name of the ServiceAccount that the real one acts as. */
export const controllerSetUps: [name: string, setUp: (controller: Controller) => void][] = [
  ["service-account-controller", serviceAccountController],
  [ownUser, tokenSecretController],
  ["root-ca-cert-publisher", rootCaPublisher],
  ["node-controller", nodeCidrController],
  ["node-controller", (controller) => void new NodeLifecycle(controller)],
  ["deployment-controller", (controller) => void new Deployments(controller)],
  ["replicaset-controller", replicaSetController],
  ["daemon-set-controller", (controller) => void new DaemonSets(controller)],
  ["endpointslice-controller", (controller) => void new EndpointSlices(controller)],
  ["endpoint-controller", (controller) => void new EndpointsObjects(controller)],
  ["statefulset-controller", (controller) => void new StatefulSets(controller)],
  ["job-controller", (controller) => void new Jobs(controller)],
  ["cronjob-controller", (controller) => void new CronJobs(controller)],
  ["ttl-after-finished-controller", ttlAfterFinished],
  ["disruption-controller", (controller) => void new DisruptionBudgets(controller)],
  ["namespace-controller", (controller) => void new Namespaces(controller)],
  ["pod-garbage-collector", podGarbageCollector],
  ["clusterrole-aggregation-controller", clusterRoleAggregation],
  ["generic-garbage-collector", (controller) => void new GarbageCollector(controller)],
];
