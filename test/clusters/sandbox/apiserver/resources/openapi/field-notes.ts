// SPDX-License-Identifier: Apache-2.0
// What the generated models lost: the words on fields that hold other types, and enumerations.

const CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";

const WORDS: Record<string, string> = {
  "V1DeploymentSpec.selector":
    "Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected by this deployment. It must match the pod template's labels.",
  "V1DeploymentSpec.strategy": "The deployment strategy to use to replace existing pods with new ones.",
  "V1DeploymentSpec.template":
    'Template describes the pods that will be created. The only allowed template.spec.restartPolicy value is "Always".',
  "V1DeploymentStrategy.rollingUpdate":
    "Rolling update config params. Present only if DeploymentStrategyType = RollingUpdate.",
  "V1PodSpec.affinity": "If specified, the pod's scheduling constraints",
  "V1PodSpec.securityContext":
    "SecurityContext holds pod-level security attributes and common container settings. Optional: Defaults to empty.  See type description for default values of each field.",
  "V1Container.resources":
    "Compute Resources required by this container. Cannot be updated. More info: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
  "V1Container.livenessProbe":
    "Periodic probe of container liveness. Container will be restarted if the probe fails. Cannot be updated. More info: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle#container-probes",
  "V1Container.readinessProbe":
    "Periodic probe of container service readiness. Container will be removed from service endpoints if the probe fails. Cannot be updated. More info: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle#container-probes",
  "V1Container.lifecycle":
    "Actions that the management system should take in response to container lifecycle events. Cannot be updated.",
  "V1Container.securityContext":
    "SecurityContext defines the security options the container should be run with. If set, the fields of SecurityContext override the equivalent fields of PodSecurityContext. More info: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
};

function bareName(model: string): string {
  return model.replace(/^(?:[A-Z][a-z]+)?V\d+/, "");
}

/** What the API says about a field that holds another type; undefined when that is not known here. */
export function fieldWords(model: string, field: string): string | undefined {
  const words = WORDS[`${model}.${field}`];
  if (words) return words;
  if (field === "metadata") return `Standard object's metadata. More info: ${CONVENTIONS}#metadata`;
  const name = bareName(model);
  if (field === "spec") {
    return `Specification of the desired behavior of the ${name}. More info: ${CONVENTIONS}#spec-and-status`;
  }
  if (field !== "status") return undefined;
  return `Most recently observed status of the ${name}. Populated by the system. Read-only. More info: ${CONVENTIONS}#spec-and-status`;
}

const PROTOCOLS = "SCTP TCP UDP";
const POLICIES = "Cluster Local";
const EFFECTS = "NoExecute NoSchedule PreferNoSchedule";

const ENUMERATIONS: Record<string, string> = {
  "V1DeploymentStrategy.type": "Recreate RollingUpdate",
  "V1DaemonSetUpdateStrategy.type": "OnDelete RollingUpdate",
  "V1StatefulSetUpdateStrategy.type": "OnDelete RollingUpdate",
  "V1StatefulSetSpec.podManagementPolicy": "OrderedReady Parallel",
  "V1PodSpec.restartPolicy": "Always Never OnFailure",
  "V1PodSpec.dnsPolicy": "ClusterFirst ClusterFirstWithHostNet Default None",
  "V1PodSpec.preemptionPolicy": "Never PreemptLowerPriority",
  "V1PodStatus.phase": "Failed Pending Running Succeeded Unknown",
  "V1PodStatus.qosClass": "BestEffort Burstable Guaranteed",
  "V1Container.imagePullPolicy": "Always IfNotPresent Never",
  "V1Container.terminationMessagePolicy": "FallbackToLogsOnError File",
  "V1ContainerPort.protocol": PROTOCOLS,
  "V1ServicePort.protocol": PROTOCOLS,
  "V1NetworkPolicyPort.protocol": PROTOCOLS,
  "CoreV1EndpointPort.protocol": PROTOCOLS,
  "V1HTTPGetAction.scheme": "HTTP HTTPS",
  "V1SeccompProfile.type": "Localhost RuntimeDefault Unconfined",
  "V1ServiceSpec.type": "ClusterIP ExternalName LoadBalancer NodePort",
  "V1ServiceSpec.sessionAffinity": "ClientIP None",
  "V1ServiceSpec.externalTrafficPolicy": POLICIES,
  "V1ServiceSpec.internalTrafficPolicy": POLICIES,
  "V1ServiceSpec.ipFamilyPolicy": "PreferDualStack RequireDualStack SingleStack",
  "V1EndpointSlice.addressType": "FQDN IPv4 IPv6",
  "V1Taint.effect": EFFECTS,
  "V1Toleration.effect": EFFECTS,
  "V1Toleration.operator": "Equal Exists",
  "V1HostPathVolumeSource.type":
    " BlockDevice CharDevice Directory DirectoryOrCreate File FileOrCreate Socket",
  "V1CronJobSpec.concurrencyPolicy": "Allow Forbid Replace",
  "V1JobSpec.completionMode": "Indexed NonIndexed",
  "V1NamespaceStatus.phase": "Active Terminating",
};

/** The values a field may have, sorted; undefined when any will do. */
export function enumeration(model: string, field: string): string[] | undefined {
  return ENUMERATIONS[`${model}.${field}`]?.split(" ");
}
