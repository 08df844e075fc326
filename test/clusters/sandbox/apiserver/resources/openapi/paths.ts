// SPDX-License-Identifier: Apache-2.0
import type { KubeObject, Resource } from "../resource.ts";
import { type OpenApiVersion, reference } from "./builtin-schemas.ts";

/** By these kubectl decides how it patches: custom kinds take no strategic merge. */
const patchTypes = ({ strategicMerge }: Resource): string[] => [
  "application/json-patch+json",
  "application/merge-patch+json",
  ...(strategicMerge ? ["application/strategic-merge-patch+json"] : []),
  "application/apply-patch+yaml",
];

type Parameter = [name: string, type: string, description: string];

const PRETTY: Parameter = ["pretty", "string", "If 'true', then the output is pretty printed."];
const DRY_RUN: Parameter = [
  "dryRun",
  "string",
  "When present, indicates that modifications should not be persisted. An invalid or unrecognized dryRun directive will result in an error response and no further processing of the request. Valid values are: - All: all dry run stages will be processed",
];
const MANAGER: Parameter = [
  "fieldManager",
  "string",
  "fieldManager is a name associated with the actor or entity that is making these changes.",
];
const VALIDATION: Parameter = [
  "fieldValidation",
  "string",
  "fieldValidation instructs the server on how to handle objects in the request (POST/PUT/PATCH) containing unknown or duplicate fields.",
];
const FORCE: Parameter = ["force", "boolean", 'Force is going to "force" Apply requests.'];

const LIST: Parameter[] = [
  PRETTY,
  ["allowWatchBookmarks", "boolean", "allowWatchBookmarks requests watch events with type BOOKMARK."],
  ["continue", "string", "The continue option should be set when retrieving more results from the server."],
  ["fieldSelector", "string", "A selector to restrict the list of returned objects by their fields."],
  ["labelSelector", "string", "A selector to restrict the list of returned objects by their labels."],
  ["limit", "integer", "limit is a maximum number of responses to return for a list call."],
  [
    "resourceVersion",
    "string",
    "resourceVersion sets a constraint on what resource versions a request may be served from.",
  ],
  [
    "resourceVersionMatch",
    "string",
    "resourceVersionMatch determines how resourceVersion is applied to list calls.",
  ],
  ["sendInitialEvents", "boolean", "`sendInitialEvents=true` may be set together with `watch=true`."],
  ["timeoutSeconds", "integer", "Timeout for the list/watch call."],
  ["watch", "boolean", "Watch for changes to the described resources."],
];

const DELETE: Parameter[] = [
  PRETTY,
  DRY_RUN,
  ["gracePeriodSeconds", "integer", "The duration in seconds before the object should be deleted."],
  ["orphanDependents", "boolean", "Deprecated: please use the PropagationPolicy."],
  ["propagationPolicy", "string", "Whether and how garbage collection will be performed."],
];

const METHODS: Record<string, { method: string; action: string; parameters: Parameter[]; onItem: boolean }> =
  {
    list: { method: "get", action: "list", parameters: LIST, onItem: false },
    create: {
      method: "post",
      action: "post",
      parameters: [PRETTY, DRY_RUN, MANAGER, VALIDATION],
      onItem: false,
    },
    deletecollection: { method: "delete", action: "deletecollection", parameters: DELETE, onItem: false },
    get: { method: "get", action: "get", parameters: [PRETTY], onItem: true },
    update: {
      method: "put",
      action: "put",
      parameters: [PRETTY, DRY_RUN, MANAGER, VALIDATION],
      onItem: true,
    },
    patch: {
      method: "patch",
      action: "patch",
      parameters: [PRETTY, DRY_RUN, MANAGER, VALIDATION, FORCE],
      onItem: true,
    },
    delete: { method: "delete", action: "delete", parameters: DELETE, onItem: true },
  };

function parameter(
  [name, type, description]: Parameter,
  version: OpenApiVersion,
  location = "query",
): KubeObject {
  const base = { name, in: location, description, ...(location === "path" ? { required: true } : {}) };
  return version === 3
    ? { ...base, schema: { type, uniqueItems: true } }
    : { ...base, type, uniqueItems: true };
}

/** The names of the definitions a resource's operations answer with. */
export interface DefinitionPair {
  object: string;
  list: string;
}

function operation(
  resource: Resource,
  verb: string,
  version: OpenApiVersion,
  definitions: DefinitionPair,
): KubeObject {
  const { action, parameters, method } = METHODS[verb]!;
  const { group, version: apiVersion, kind, plural, namespaced } = resource;
  const answer = reference(verb === "list" ? definitions.list : definitions.object, version, false);
  const id = `${method}${group.split(".")[0] || "core"}${apiVersion}${namespaced ? "namespaced" : ""}${plural}-${action}`;
  const result: KubeObject = {
    description: `${action} objects of kind ${kind}`,
    operationId: id.replace(/[^a-zA-Z0-9]+(.)/g, (_match, letter: string) => letter.toUpperCase()),
    tags: [`${group.replace(/\.k8s\.io$/, "").replaceAll(".", "_") || "core"}_${apiVersion}`],
    parameters: parameters.map((item) => parameter(item, version)),
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": { group, kind, version: apiVersion },
  };
  const consumes = verb === "patch" ? patchTypes(resource) : ["*/*"];
  if (version === 2) {
    result.consumes = consumes;
    result.produces = ["application/json", "application/yaml"];
    result.schemes = ["https"];
    if (method === "post" || method === "put" || method === "patch") {
      const body = verb === "patch" ? { type: "object" } : answer;
      result.parameters.unshift({ in: "body", name: "body", required: true, schema: body });
    }
    result.responses = { 200: { description: "OK", schema: answer }, 401: { description: "Unauthorized" } };
    return result;
  }
  if (method === "post" || method === "put" || method === "patch") {
    const schema = verb === "patch" ? { type: "object" } : answer;
    result.requestBody = {
      required: true,
      content: Object.fromEntries(consumes.map((type) => [type, { schema }])),
    };
  }
  const content = { "application/json": { schema: answer }, "application/yaml": { schema: answer } };
  result.responses = { 200: { description: "OK", content }, 401: { description: "Unauthorized" } };
  return result;
}

/** The paths of one resource with their operations. */
export function resourcePaths(
  resource: Resource,
  version: OpenApiVersion,
  definitions: DefinitionPair,
): Record<string, KubeObject> {
  const { group, version: apiVersion, plural, namespaced, verbs } = resource;
  const root = group ? `/apis/${group}/${apiVersion}` : `/api/${apiVersion}`;
  const collection = `${root}${namespaced ? "/namespaces/{namespace}" : ""}/${plural}`;
  const namespaceParameter: Parameter = [
    "namespace",
    "string",
    "object name and auth scope, such as for teams and projects",
  ];
  const nameParameter: Parameter = ["name", "string", `name of the ${resource.kind}`];
  const shared = namespaced ? [parameter(namespaceParameter, version, "path")] : [];
  const paths: Record<string, KubeObject> = {};
  const add = (path: string, verb: string, parameters: KubeObject[]) => {
    paths[path] ??= parameters.length ? { parameters } : {};
    paths[path][METHODS[verb]!.method] = operation(resource, verb, version, definitions);
  };
  for (const verb of verbs) {
    const method = METHODS[verb];
    if (!method) continue;
    if (!method.onItem) add(collection, verb, shared);
    else add(`${collection}/{name}`, verb, [parameter(nameParameter, version, "path"), ...shared]);
    if (verb === "list" && namespaced) add(`${root}/${plural}`, verb, []);
  }
  return paths;
}
