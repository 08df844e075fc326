// SPDX-License-Identifier: Apache-2.0
// Schemas of the policy kinds that clusters have, in the form that CustomResourceDefinitions take (OpenAPI 3, structural).

export interface JsonSchema {
  type?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  additionalProperties?: JsonSchema | boolean;
  enum?: (string | number)[];
  [keyword: string]: unknown;
}

const text: JsonSchema = { type: "string" };
const flag: JsonSchema = { type: "boolean" };
const listOf = (items: JsonSchema): JsonSchema => ({ type: "array", items });
const object = (properties: Record<string, JsonSchema>, required: string[] = []): JsonSchema => ({
  type: "object",
  properties,
  ...(required.length > 0 ? { required } : {}),
});
const anything: JsonSchema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
const portNumber: JsonSchema = { type: "integer", minimum: 0, maximum: 65_535 };
const numberOrText: JsonSchema = {
  "x-kubernetes-int-or-string": true,
  anyOf: [{ type: "integer" }, { type: "string" }],
};

/** meta/v1 LabelSelector. */
const selector = object({
  matchLabels: { type: "object", additionalProperties: text },
  matchExpressions: listOf(object({ key: text, operator: text, values: listOf(text) }, ["key", "operator"])),
});

const networkPolicyPort = object({ protocol: text, port: numberOrText, endPort: portNumber });
const networkPolicyPeer = object({
  podSelector: selector,
  namespaceSelector: selector,
  ipBlock: object({ cidr: text, except: listOf(text) }, ["cidr"]),
});

const networkPolicySpec = object({
  podSelector: selector,
  policyTypes: listOf({ type: "string", enum: ["Ingress", "Egress"] }),
  ingress: listOf(object({ from: listOf(networkPolicyPeer), ports: listOf(networkPolicyPort) })),
  egress: listOf(object({ to: listOf(networkPolicyPeer), ports: listOf(networkPolicyPort) })),
});

const cidrSet = listOf(
  object({ cidr: text, except: listOf(text), cidrGroupRef: text, cidrGroupSelector: selector }),
);
const http = object({
  method: text,
  path: text,
  host: text,
  headers: listOf(text),
  headerMatches: listOf(
    object(
      {
        name: text,
        value: text,
        mismatch: { type: "string", enum: ["", "LOG", "ADD", "DELETE", "REPLACE"] },
        secret: object({ name: text, namespace: text }, ["name"]),
      },
      ["name"],
    ),
  ),
});
const name = object({ matchName: text, matchPattern: text });
const portRule = object({
  ports: listOf(object({ port: text, endPort: portNumber, protocol: text }, ["port"])),
  rules: object({
    http: listOf(http),
    dns: listOf(name),
    kafka: listOf(anything),
    l7proto: text,
    l7: listOf({ type: "object", additionalProperties: text }),
  }),
  terminatingTLS: anything,
  originatingTLS: anything,
  serverNames: listOf(text),
  listener: anything,
});
const icmps = listOf(
  object({
    fields: listOf(
      object({ family: { type: "string", enum: ["IPv4", "IPv6"] }, type: numberOrText }, ["type"]),
    ),
  }),
);
const authentication = object(
  { mode: { type: "string", enum: ["disabled", "required", "test-always-fail"] } },
  ["mode"],
);

const from = {
  fromEndpoints: listOf(selector),
  fromRequires: listOf(selector),
  fromCIDR: listOf(text),
  fromCIDRSet: cidrSet,
  fromEntities: listOf(text),
  fromGroups: listOf(anything),
  fromNodes: listOf(selector),
};
const to = {
  toEndpoints: listOf(selector),
  toRequires: listOf(selector),
  toCIDR: listOf(text),
  toCIDRSet: cidrSet,
  toEntities: listOf(text),
  toServices: listOf(
    object({
      k8sService: object({ serviceName: text, namespace: text }),
      k8sServiceSelector: object({ selector, namespace: text }, ["selector"]),
    }),
  ),
  toGroups: listOf(anything),
  toNodes: listOf(selector),
};
const what = { toPorts: listOf(portRule), icmps };
const toFQDNs = listOf(name);

const ciliumRule = object({
  endpointSelector: selector,
  nodeSelector: selector,
  ingress: listOf(object({ ...from, ...what, authentication })),
  ingressDeny: listOf(object({ ...from, ...what })),
  egress: listOf(object({ ...to, toFQDNs, ...what, authentication })),
  egressDeny: listOf(object({ ...to, ...what })),
  enableDefaultDeny: object({ ingress: flag, egress: flag }),
  labels: listOf(anything),
  log: object({ value: text }),
  description: text,
});

const podsOf = {
  namespaces: selector,
  pods: object({ namespaceSelector: selector, podSelector: selector }, ["namespaceSelector", "podSelector"]),
};
const adminPort = object({
  portNumber: object({ protocol: text, port: portNumber }, ["port"]),
  portRange: object({ protocol: text, start: portNumber, end: portNumber }, ["start", "end"]),
  namedPort: text,
});
const adminRule = (peers: Record<string, JsonSchema>, key: "from" | "to"): JsonSchema =>
  object(
    {
      name: { type: "string", maxLength: 100 },
      action: { type: "string", enum: ["Allow", "Deny", "Pass"] },
      [key]: listOf(object(peers)),
      ports: listOf(adminPort),
    },
    ["action", key],
  );
/** CIDRs. */
const networks: JsonSchema = { ...listOf(text), minItems: 1, maxItems: 25 };
const adminSpec = (more: Record<string, JsonSchema>, required: string[]): JsonSchema =>
  object(
    {
      ...more,
      subject: object(podsOf),
      ingress: listOf(adminRule(podsOf, "from")),
      egress: listOf(adminRule({ ...podsOf, nodes: selector, networks, domainNames: listOf(text) }, "to")),
    },
    ["subject", ...required],
  );

// ClusterNetworkPolicy, with the limits of its own definition.
const exactlyOne = (properties: Record<string, JsonSchema>): JsonSchema => ({
  ...object(properties),
  minProperties: 1,
  maxProperties: 1,
});
const most = 25;
const someOf = (items: JsonSchema): JsonSchema => ({ ...listOf(items), minItems: 1, maxItems: most });
const realPort: JsonSchema = { type: "integer", minimum: 1, maximum: 65_535 };
const clusterPods = {
  namespaces: selector,
  pods: object({ namespaceSelector: selector, podSelector: selector }, ["podSelector"]),
};
const ofProtocol = object(
  {
    destinationPort: exactlyOne({
      number: realPort,
      range: object({ start: realPort, end: realPort }, ["start", "end"]),
    }),
  },
  ["destinationPort"],
);
const clusterRules = (peers: Record<string, JsonSchema>, key: "from" | "to"): JsonSchema => ({
  ...listOf(
    object(
      {
        name: { type: "string", maxLength: 100 },
        action: { type: "string", enum: ["Accept", "Deny", "Pass"] },
        [key]: someOf(exactlyOne(peers)),
        protocols: someOf(
          exactlyOne({ tcp: ofProtocol, udp: ofProtocol, sctp: ofProtocol, destinationNamedPort: text }),
        ),
      },
      ["action", key],
    ),
  ),
  maxItems: most,
});
const clusterSpec = object(
  {
    tier: { type: "string", enum: ["Admin", "Baseline"] },
    priority: { type: "integer", minimum: 0, maximum: 1000 },
    subject: exactlyOne(clusterPods),
    ingress: clusterRules(clusterPods, "from"),
    egress: clusterRules(
      {
        ...clusterPods,
        ...{ nodes: selector, networks: someOf({ type: "string", maxLength: 43 }) },
        domainNames: someOf(text),
      },
      "to",
    ),
  },
  ["tier", "priority", "subject"],
);

const metadata: JsonSchema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
const top = (properties: Record<string, JsonSchema>): JsonSchema =>
  object({ apiVersion: text, kind: text, metadata, status: anything, ...properties }, ["metadata"]);

/** Schemas of whole objects, by kind. */
export const policySchemas = {
  NetworkPolicy: { ...top({ spec: networkPolicySpec }), required: ["metadata", "spec"] },
  CiliumNetworkPolicy: top({ spec: ciliumRule, specs: listOf(ciliumRule) }),
  CiliumClusterwideNetworkPolicy: top({ spec: ciliumRule, specs: listOf(ciliumRule) }),
  AdminNetworkPolicy: {
    ...top({ spec: adminSpec({ priority: { type: "integer", minimum: 0, maximum: 1000 } }, ["priority"]) }),
    required: ["metadata", "spec"],
  },
  BaselineAdminNetworkPolicy: { ...top({ spec: adminSpec({}, []) }), required: ["metadata", "spec"] },
  ClusterNetworkPolicy: { ...top({ spec: clusterSpec }), required: ["metadata", "spec"] },
} as const satisfies Record<string, JsonSchema>;

export type PolicyKind = keyof typeof policySchemas;

/** Where the API server has objects of a kind. */
export const policyResources: Record<PolicyKind, { apiVersion: string; plural: string }> = {
  NetworkPolicy: { apiVersion: "networking.k8s.io/v1", plural: "networkpolicies" },
  CiliumNetworkPolicy: { apiVersion: "cilium.io/v2", plural: "ciliumnetworkpolicies" },
  CiliumClusterwideNetworkPolicy: { apiVersion: "cilium.io/v2", plural: "ciliumclusterwidenetworkpolicies" },
  AdminNetworkPolicy: { apiVersion: "policy.networking.k8s.io/v1alpha1", plural: "adminnetworkpolicies" },
  BaselineAdminNetworkPolicy: {
    apiVersion: "policy.networking.k8s.io/v1alpha1",
    plural: "baselineadminnetworkpolicies",
  },
  ClusterNetworkPolicy: { apiVersion: "policy.networking.k8s.io/v1alpha2", plural: "clusternetworkpolicies" },
};

/** Kinds with a status: all but NetworkPolicy. */
export const hasStatus = (kind: string | undefined): kind is PolicyKind =>
  kind !== "NetworkPolicy" && Object.hasOwn(policyResources, kind ?? "");

/** The condition that says whether a policy is in force on all nodes, and those that say so of one node each. */
export const inForceType = "InForce";
export const inForceTypeOn = (node: string): string => `${inForceType}-On-${node}`;
export const isInForceType = (type: string): boolean =>
  type === inForceType || type.startsWith(inForceTypeOn(""));

/** The same schema for JSON Schema validators, which refuses fields that it does not name. */
export function strictSchema(schema: JsonSchema): JsonSchema {
  const { "x-kubernetes-preserve-unknown-fields": open, "x-kubernetes-int-or-string": _, ...rest } = schema;
  const result: JsonSchema = { ...rest };
  if (schema.items !== undefined) result.items = strictSchema(schema.items);
  if (schema.properties !== undefined) {
    result.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([key, one]) => [key, strictSchema(one)]),
    );
    result.additionalProperties ??= open === true;
  }
  return result;
}
