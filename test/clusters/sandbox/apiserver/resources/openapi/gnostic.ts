// SPDX-License-Identifier: Apache-2.0
// OpenAPI v2 in gnostic's protobuf form, which kubectl asks for. The field numbers are those of gnostic's
// openapiv2/OpenAPIv2.proto.
import type { KubeObject } from "../resource.ts";
import { ProtobufWriter } from "./protobuf-writer.ts";

type Writer = ProtobufWriter;

/** Encodes an OpenAPI v2 document. */
export function encodeSwagger(document: KubeObject): Buffer {
  const writer = new ProtobufWriter();
  writer.string(1, document.swagger);
  writer.message(2, (info) => info.string(1, document.info.title).string(2, document.info.version));
  writer.message(8, (paths) => named(paths, 2, document.paths, pathItem));
  writer.message(9, (definitions) => named(definitions, 1, document.definitions, schema));
  return writer.finish();
}

// Maps become lists of (name = 1, value = 2).
function named(
  writer: Writer,
  field: number,
  map: Record<string, KubeObject>,
  write: (writer: Writer, value: any) => void,
): void {
  for (const [name, value] of Object.entries(map)) {
    writer.message(field, (entry) => entry.string(1, name).message(2, (inner) => write(inner, value)));
  }
}

function extensions(writer: Writer, field: number, source: KubeObject): void {
  for (const [name, value] of Object.entries(source)) {
    if (!name.startsWith("x-")) continue;
    writer.message(field, (entry) => entry.string(1, name).message(2, (any) => anyValue(any, value)));
  }
}

// JSON is YAML.
function anyValue(writer: Writer, value: unknown): void {
  writer.string(2, JSON.stringify(value));
}

function schema(writer: Writer, source: KubeObject): void {
  writer
    .string(1, source.$ref)
    .string(2, source.format)
    .string(3, source.title)
    .string(4, source.description);
  if (source.default !== undefined) writer.message(5, (any) => anyValue(any, source.default));
  writer.double(7, source.maximum).double(9, source.minimum);
  writer.int(11, source.maxLength).int(12, source.minLength).string(13, source.pattern);
  writer.int(14, source.maxItems).int(15, source.minItems);
  writer.strings(19, source.required);
  for (const item of source.enum ?? []) writer.message(20, (any) => anyValue(any, item));
  const additional = source.additionalProperties;
  if (typeof additional === "boolean") writer.message(21, (inner) => inner.bool(2, additional));
  else if (additional) writer.message(21, (inner) => inner.message(1, (value) => schema(value, additional)));
  if (source.type) writer.message(22, (inner) => inner.string(1, source.type));
  if (source.items) writer.message(23, (inner) => inner.message(1, (value) => schema(value, source.items)));
  for (const item of source.allOf ?? []) writer.message(24, (inner) => schema(inner, item));
  if (source.properties) writer.message(25, (inner) => named(inner, 1, source.properties, schema));
  extensions(writer, 31, source);
}

const METHOD_FIELDS: Record<string, number> = { get: 2, put: 3, post: 4, delete: 5, patch: 8 };

function pathItem(writer: Writer, source: KubeObject): void {
  for (const [method, field] of Object.entries(METHOD_FIELDS)) {
    if (source[method]) writer.message(field, (inner) => operation(inner, source[method]));
  }
  for (const item of source.parameters ?? []) writer.message(9, (inner) => parameterItem(inner, item));
}

function operation(writer: Writer, source: KubeObject): void {
  writer.strings(1, source.tags).string(3, source.description).string(5, source.operationId);
  writer.strings(6, source.produces).strings(7, source.consumes);
  for (const item of source.parameters ?? []) writer.message(8, (inner) => parameterItem(inner, item));
  writer.message(9, (responses) => {
    for (const [code, value] of Object.entries<KubeObject>(source.responses)) {
      responses.message(1, (entry) =>
        entry.string(1, code).message(2, (inner) => inner.message(1, (w) => response(w, value))),
      );
    }
  });
  writer.strings(10, source.schemes);
  extensions(writer, 13, source);
}

function response(writer: Writer, source: KubeObject): void {
  writer.string(1, source.description);
  if (source.schema) writer.message(2, (item) => item.message(1, (inner) => schema(inner, source.schema)));
}

// ParametersItem > Parameter > body, or non-body > query or path.
function parameterItem(writer: Writer, source: KubeObject): void {
  writer.message(1, (parameter) => {
    if (source.in === "body") {
      parameter.message(1, (body) =>
        body
          .string(2, source.name)
          .string(3, source.in)
          .bool(4, source.required)
          .message(5, (inner) => schema(inner, source.schema)),
      );
      return;
    }
    const isPath = source.in === "path";
    parameter.message(2, (nonBody) =>
      nonBody.message(isPath ? 4 : 3, (inner) => {
        inner
          .bool(1, source.required)
          .string(2, source.in)
          .string(3, source.description)
          .string(4, source.name);
        inner.string(isPath ? 5 : 6, source.type).bool(isPath ? 18 : 20, source.uniqueItems);
      }),
    );
  });
}
