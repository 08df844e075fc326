// SPDX-License-Identifier: Apache-2.0
import type { StepKind, StepKinds } from "../step-kind.ts";
import { activateStep } from "./activate.ts";
import { addGroupStep, settleGroupStep } from "./add-group.ts";
import { comparePoliciesStep, verifyPoliciesStep } from "./compare-policies.ts";
import { cordonStep, uncordonStep } from "./cordon.ts";
import { drainStep } from "./drain.ts";
import { enforcePoliciesStep } from "./enforce-policies.ts";
import { finishStep } from "./finish.ts";
import { installStandbyStep } from "./install-standby.ts";
import { joinNodeStep } from "./join-node.ts";
import { compareClustersStep, cutOverStep } from "./new-cluster.ts";
import { disableOldNetworkStep, removeOldNetworkStep, verifyResidueStep } from "./old-network.ts";
import { startProbesStep, stopProbesStep } from "./probes.ts";
import { recreateStep } from "./recreate.ts";
import { releaseConnectionsStep } from "./release-connections.ts";
import { removeKubeProxyRulesStep } from "./remove-kube-proxy-rules.ts";
import { removeNodeStep } from "./remove-node.ts";
import { servicesHandoverStep } from "./services-handover.ts";
import { verifyNodeStep } from "./verify-node.ts";

const all: StepKind[] = [
  installStandbyStep,
  startProbesStep,
  comparePoliciesStep,
  addGroupStep,
  joinNodeStep,
  cordonStep,
  drainStep,
  activateStep,
  recreateStep,
  verifyNodeStep,
  uncordonStep,
  removeNodeStep,
  settleGroupStep,
  servicesHandoverStep,
  removeKubeProxyRulesStep,
  disableOldNetworkStep,
  removeOldNetworkStep,
  verifyResidueStep,
  enforcePoliciesStep,
  verifyPoliciesStep,
  stopProbesStep,
  finishStep,
  releaseConnectionsStep,
  compareClustersStep,
  cutOverStep,
];

/** The steps of real migrations. */
export const stepKinds: StepKinds = Object.fromEntries(all.map((step) => [step.kind, step]));
