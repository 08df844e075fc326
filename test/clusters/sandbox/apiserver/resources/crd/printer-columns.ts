// SPDX-License-Identifier: Apache-2.0
import type { Column, KubeObject } from "../resource.ts";
import { age } from "../tables/age.ts";
import { type Cell, column } from "../tables/table.ts";
import { readJsonPath } from "./json-path.ts";

const AGE: KubeObject = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

/** The columns of a custom kind: its name, then what the definition names, or its age. */
export function printerColumns(definitions: KubeObject[] | undefined): Column[] {
  const rest = (definitions ?? [AGE]).map((item) => ({
    name: item.name,
    type: item.type,
    format: item.format ?? "",
    description: item.description ?? column(item.name).description,
    priority: item.priority ?? 0,
  }));
  return [column("Name", "string", 0, "name"), ...rest];
}

/** The cells of a custom object. */
export function printerRow(definitions: KubeObject[] | undefined, object: KubeObject, now: Date): Cell[] {
  const cells = (definitions ?? [AGE]).map((item) => cell(item, readJsonPath(item.jsonPath, object), now));
  return [object.metadata?.name ?? "", ...cells];
}

function cell(definition: KubeObject, values: unknown[], now: Date): Cell {
  const value = values[0];
  if (value === undefined || value === null) return null;
  if (definition.type === "date") return age(String(value), now);
  if (definition.type === "integer" || definition.type === "number" || definition.type === "boolean") {
    return typeof value === "object" ? null : (value as Cell);
  }
  if (values.length > 1) return values.map(text).join(",");
  return text(value);
}

function text(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
