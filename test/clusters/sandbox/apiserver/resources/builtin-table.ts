// SPDX-License-Identifier: Apache-2.0
// The names of every built-in kind: what discovery tells and what kubectl resolves short names with.

/** One row of the table of built-in kinds. */
export interface BuiltinKind {
  group: string;
  version: string;
  kind: string;
  plural: string;
  singular: string;
  shortNames: string[];
  categories: string[];
  namespaced: boolean;
  subresources: string[];
  /** The class in the generated models that describes it. */
  model: string;
  virtual?: boolean;
  verbs?: string[];
  storage?: { group: string; plural: string };
}

interface Extra {
  short?: string;
  all?: boolean;
  extensions?: boolean;
  cluster?: boolean;
  sub?: string;
  model?: string;
  singular?: string;
  virtual?: boolean;
  verbs?: string[];
  storage?: { group: string; plural: string };
}

const READ_ONLY = ["get", "list"];

function kinds(groupVersion: string, rows: [kind: string, plural: string, extra?: Extra][]): BuiltinKind[] {
  const [version = "", group = ""] = groupVersion.split("/").reverse();
  return rows.map(([kind, plural, extra = {}]) => ({
    group,
    version,
    kind,
    plural,
    singular: extra.singular ?? kind.toLowerCase(),
    shortNames: extra.short?.split(" ") ?? [],
    categories: [...(extra.all ? ["all"] : []), ...(extra.extensions ? ["api-extensions"] : [])],
    namespaced: !extra.cluster,
    subresources: extra.sub?.split(" ") ?? [],
    model: extra.model ?? `${version.charAt(0).toUpperCase()}${version.slice(1)}${kind}`,
    virtual: extra.virtual,
    verbs: extra.virtual ? ["create"] : extra.verbs,
    storage: extra.storage,
  }));
}

const core = kinds("v1", [
  [
    "Pod",
    "pods",
    {
      short: "po",
      all: true,
      sub: "attach binding ephemeralcontainers eviction exec log portforward proxy resize status",
    },
  ],
  ["Service", "services", { short: "svc", all: true, sub: "proxy status" }],
  ["Endpoints", "endpoints", { short: "ep" }],
  ["Node", "nodes", { short: "no", cluster: true, sub: "proxy status" }],
  ["Namespace", "namespaces", { short: "ns", cluster: true, sub: "finalize status" }],
  ["ConfigMap", "configmaps", { short: "cm" }],
  ["Secret", "secrets"],
  ["ServiceAccount", "serviceaccounts", { short: "sa", sub: "token" }],
  ["Event", "events", { short: "ev", model: "CoreV1Event" }],
  ["PersistentVolume", "persistentvolumes", { short: "pv", cluster: true, sub: "status" }],
  ["PersistentVolumeClaim", "persistentvolumeclaims", { short: "pvc", sub: "status" }],
  ["ReplicationController", "replicationcontrollers", { short: "rc", all: true, sub: "scale status" }],
  ["LimitRange", "limitranges", { short: "limits" }],
  ["ResourceQuota", "resourcequotas", { short: "quota", sub: "status" }],
  ["PodTemplate", "podtemplates"],
  ["ComponentStatus", "componentstatuses", { short: "cs", cluster: true, verbs: READ_ONLY }],
  ["Binding", "bindings", { virtual: true }],
]);

const workloads = [
  ...kinds("apps/v1", [
    ["Deployment", "deployments", { short: "deploy", all: true, sub: "scale status" }],
    ["ReplicaSet", "replicasets", { short: "rs", all: true, sub: "scale status" }],
    ["StatefulSet", "statefulsets", { short: "sts", all: true, sub: "scale status" }],
    ["DaemonSet", "daemonsets", { short: "ds", all: true, sub: "status" }],
    ["ControllerRevision", "controllerrevisions"],
  ]),
  ...kinds("batch/v1", [
    ["Job", "jobs", { all: true, sub: "status" }],
    ["CronJob", "cronjobs", { short: "cj", all: true, sub: "status" }],
  ]),
  ...kinds("autoscaling/v2", [
    ["HorizontalPodAutoscaler", "horizontalpodautoscalers", { short: "hpa", all: true, sub: "status" }],
  ]),
  ...kinds("policy/v1", [["PodDisruptionBudget", "poddisruptionbudgets", { short: "pdb", sub: "status" }]]),
  ...kinds("scheduling.k8s.io/v1", [["PriorityClass", "priorityclasses", { short: "pc", cluster: true }]]),
  ...kinds("node.k8s.io/v1", [["RuntimeClass", "runtimeclasses", { cluster: true }]]),
];

const networking = [
  ...kinds("networking.k8s.io/v1", [
    ["NetworkPolicy", "networkpolicies", { short: "netpol" }],
    ["Ingress", "ingresses", { short: "ing", sub: "status" }],
    ["IngressClass", "ingressclasses", { cluster: true }],
  ]),
  ...kinds("discovery.k8s.io/v1", [["EndpointSlice", "endpointslices"]]),
];

const storageKinds = kinds("storage.k8s.io/v1", [
  ["StorageClass", "storageclasses", { short: "sc", cluster: true }],
  ["CSINode", "csinodes", { cluster: true }],
  ["CSIDriver", "csidrivers", { cluster: true }],
  ["CSIStorageCapacity", "csistoragecapacities"],
  ["VolumeAttachment", "volumeattachments", { cluster: true, sub: "status" }],
]);

const coordination = [
  ...kinds("coordination.k8s.io/v1", [["Lease", "leases"]]),
  ...kinds("events.k8s.io/v1", [
    ["Event", "events", { short: "ev", model: "EventsV1Event", storage: { group: "", plural: "events" } }],
  ]),
];

const access = [
  ...kinds("rbac.authorization.k8s.io/v1", [
    ["Role", "roles"],
    ["RoleBinding", "rolebindings"],
    ["ClusterRole", "clusterroles", { cluster: true }],
    ["ClusterRoleBinding", "clusterrolebindings", { cluster: true }],
  ]),
  ...kinds("certificates.k8s.io/v1", [
    [
      "CertificateSigningRequest",
      "certificatesigningrequests",
      { short: "csr", cluster: true, sub: "approval status" },
    ],
  ]),
  ...kinds("authentication.k8s.io/v1", [
    ["TokenReview", "tokenreviews", { cluster: true, virtual: true }],
    ["SelfSubjectReview", "selfsubjectreviews", { cluster: true, virtual: true }],
  ]),
  // What `kubectl auth whoami` of 1.26 and 1.27 asks.
  ...["v1beta1", "v1alpha1"].flatMap((version) =>
    kinds(`authentication.k8s.io/${version}`, [
      [
        "SelfSubjectReview",
        "selfsubjectreviews",
        { cluster: true, virtual: true, model: "V1SelfSubjectReview" },
      ],
    ]),
  ),
  ...kinds("authorization.k8s.io/v1", [
    ["SubjectAccessReview", "subjectaccessreviews", { cluster: true, virtual: true }],
    ["SelfSubjectAccessReview", "selfsubjectaccessreviews", { cluster: true, virtual: true }],
    ["SelfSubjectRulesReview", "selfsubjectrulesreviews", { cluster: true, virtual: true }],
    ["LocalSubjectAccessReview", "localsubjectaccessreviews", { virtual: true }],
  ]),
];

const extension = [
  ...kinds("apiextensions.k8s.io/v1", [
    [
      "CustomResourceDefinition",
      "customresourcedefinitions",
      { short: "crd crds", extensions: true, cluster: true, sub: "status" },
    ],
  ]),
  ...kinds("admissionregistration.k8s.io/v1", [
    ["MutatingWebhookConfiguration", "mutatingwebhookconfigurations", { extensions: true, cluster: true }],
    [
      "ValidatingWebhookConfiguration",
      "validatingwebhookconfigurations",
      { extensions: true, cluster: true },
    ],
    [
      "ValidatingAdmissionPolicy",
      "validatingadmissionpolicies",
      { extensions: true, cluster: true, sub: "status" },
    ],
    [
      "ValidatingAdmissionPolicyBinding",
      "validatingadmissionpolicybindings",
      { extensions: true, cluster: true },
    ],
  ]),
  ...kinds("apiregistration.k8s.io/v1", [
    ["APIService", "apiservices", { extensions: true, cluster: true, sub: "status" }],
  ]),
];

/** Every built-in kind, in the order discovery lists the groups. */
export const BUILTIN_KINDS: readonly BuiltinKind[] = [
  ...core,
  ...extension.filter((kind) => kind.group === "apiregistration.k8s.io"),
  ...workloads,
  ...networking,
  ...coordination,
  ...access,
  ...storageKinds,
  ...extension.filter((kind) => kind.group !== "apiregistration.k8s.io"),
];
