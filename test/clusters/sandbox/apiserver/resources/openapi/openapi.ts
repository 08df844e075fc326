// SPDX-License-Identifier: Apache-2.0
// The OpenAPI documents clients ask for: /openapi/v2 and /openapi/v3 with one document a group version.
import { createHash } from "node:crypto";
import { BUILTIN_KINDS } from "../builtin-table.ts";
import type { Registry } from "../registry.ts";
import type { KubeObject, Resource } from "../resource.ts";
import { builtinDefinitions, type OpenApiVersion } from "./builtin-schemas.ts";
import { customDefinitionName, customDefinitions } from "./custom-schemas.ts";
import { definitionNames } from "./definition-names.ts";
import { encodeSwagger } from "./gnostic.ts";
import { resourcePaths } from "./paths.ts";

/**
 * The media type of the protobuf form of /openapi/v2. Clients ask for it with "@v1.0" and are answered with
 * ".v1.0", since media types may hold no "@".
 */
export const SWAGGER_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

const SECURITY = {
  BearerToken: {
    description: "Bearer Token authentication",
    in: "header",
    name: "authorization",
    type: "apiKey",
  },
};

function definitionPair(resource: Resource): { object: string; list: string } {
  if (resource.custom) {
    return {
      object: customDefinitionName(resource),
      list: customDefinitionName(resource, resource.listKind),
    };
  }
  const row = BUILTIN_KINDS.find((item) => item.group === resource.group && item.kind === resource.kind);
  const names = definitionNames();
  const object = names.get(row?.model ?? "") ?? "";
  return { object, list: names.get(`${row?.model}List`) ?? object };
}

function definitionsOf(resources: Resource[], version: OpenApiVersion): Record<string, KubeObject> {
  const custom = resources.filter((item) => item.custom).map((item) => customDefinitions(item, version));
  return Object.assign({}, builtinDefinitions(version), ...custom);
}

function pathsOf(resources: Resource[], version: OpenApiVersion): Record<string, KubeObject> {
  return Object.assign({}, ...resources.map((item) => resourcePaths(item, version, definitionPair(item))));
}

// Keeps the definitions that these paths and kinds reach.
function reachable(all: Record<string, KubeObject>, from: unknown[]): Record<string, KubeObject> {
  const kept = new Map<string, KubeObject>();
  const pending = [...from];
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    for (const [, name = ""] of JSON.stringify(item).matchAll(/"\$ref":"#\/[a-z/]+\/([^"]+)"/g)) {
      if (kept.has(name) || !all[name]) continue;
      kept.set(name, all[name]);
      pending.push(all[name]);
    }
  }
  return Object.fromEntries([...kept].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Builds the documents when first asked for, and again when custom kinds change. */
export class OpenApi {
  readonly #registry: Registry;
  readonly #release: string;
  readonly #cache = new Map<string, unknown>();

  /** `release` is the server's version, such as `v1.33.0`. */
  constructor(registry: Registry, release: string) {
    this.#registry = registry;
    this.#release = release;
    registry.onChange(() => this.#cache.clear());
  }

  /** The /openapi/v2 document. */
  v2(): KubeObject {
    return this.#cached("v2", () => {
      const resources = this.#registry.all();
      return {
        swagger: "2.0",
        info: { title: "Kubernetes", version: this.#release },
        paths: pathsOf(resources, 2),
        definitions: definitionsOf(resources, 2),
        securityDefinitions: SECURITY,
        security: [{ BearerToken: [] }],
      };
    });
  }

  /** The /openapi/v2 document in gnostic's protobuf form. */
  v2Protobuf(): Buffer {
    return this.#cached("v2-protobuf", () => encodeSwagger(this.v2()));
  }

  /** The /openapi/v3 index. */
  v3Index(): KubeObject {
    return this.#cached("v3", () => {
      const paths: KubeObject = {};
      for (const key of this.#groupVersions()) {
        const text = JSON.stringify(this.v3(key));
        const hash = createHash("sha512").update(text).digest("hex").toUpperCase();
        paths[key] = { serverRelativeURL: `/openapi/v3/${key}?hash=${hash}` };
      }
      return { paths };
    });
  }

  /** The document of `api/v1` or `apis/GROUP/VERSION`; undefined when the server has no such group version. */
  v3(key: string): KubeObject | undefined {
    if (!this.#groupVersions().includes(key)) return undefined;
    return this.#cached(`v3/${key}`, () => {
      const resources = this.#registry.all().filter((item) => groupVersionKey(item) === key);
      const paths = pathsOf(resources, 3);
      return {
        openapi: "3.0.0",
        info: { title: "Kubernetes", version: this.#release },
        paths,
        components: {
          schemas: reachable(this.#definitions3(), [paths]),
          securitySchemes: SECURITY,
        },
      };
    });
  }

  #definitions3(): Record<string, KubeObject> {
    return this.#cached("definitions3", () => definitionsOf(this.#registry.all(), 3));
  }

  #groupVersions(): string[] {
    return [...new Set(this.#registry.all().map(groupVersionKey))];
  }

  #cached<T>(key: string, make: () => T): T {
    if (!this.#cache.has(key)) this.#cache.set(key, make());
    return this.#cache.get(key) as T;
  }
}

function groupVersionKey(resource: Resource): string {
  return resource.group ? `apis/${resource.group}/${resource.version}` : `api/${resource.version}`;
}
