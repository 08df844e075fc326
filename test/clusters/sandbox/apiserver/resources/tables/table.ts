// SPDX-License-Identifier: Apache-2.0
import type { Column, KubeObject } from "../resource.ts";
import { age } from "./age.ts";

/** One value of a printed row. */
export type Cell = string | number | boolean | null;

/** How a kind is printed. */
export interface Table {
  columns: Column[];
  row(object: KubeObject, now: Date): Cell[];
}

/** One column; priority 1 shows with `-o wide` only. */
export function column(name: string, type = "string", priority = 0, format = ""): Column {
  return { name, type, format, priority, description: DESCRIPTIONS[name] ?? "" };
}

const DESCRIPTIONS: Record<string, string> = {
  Name: "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically.",
  Age: "CreationTimestamp is a timestamp representing the server time when this object was created. It is represented in RFC3339 form and is in UTC.",
};

/** A table from a compact list: `Ready`, `Desired:integer`, `+Images` (wide only). Name comes first. */
export function table(columns: string, cells: (object: KubeObject, now: Date) => Cell[]): Table {
  const rest = columns
    .split("|")
    .map((text) => text.trim())
    .filter(Boolean)
    .map((text) => {
      const [name = "", type = "string"] = text.replace(/^\+/, "").split(":");
      return column(name, type, text.startsWith("+") ? 1 : 0);
    });
  return {
    columns: [column("Name", "string", 0, "name"), ...rest],
    row: (object, now) => [object.metadata?.name ?? "", ...cells(object, now)],
  };
}

/** An object's age. */
export function ageOf(object: KubeObject, now: Date): string {
  return age(object.metadata?.creationTimestamp, now);
}

/** A label selector in the form kubectl takes. */
export function formatSelector(selector: KubeObject | undefined, empty = "<none>"): string {
  if (!selector) return empty;
  const labels = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (selector.matchExpressions ?? []).map((item: KubeObject) => {
    if (item.operator === "Exists") return item.key;
    if (item.operator === "DoesNotExist") return `!${item.key}`;
    return `${item.key} ${item.operator === "In" ? "in" : "notin"} (${[...(item.values ?? [])].sort().join(",")})`;
  });
  return [...labels, ...expressions].sort().join(",") || empty;
}

/** Labels as `a=b,c=d`. */
export function formatLabels(labels: Record<string, string> | undefined): string {
  const parts = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return parts.sort().join(",") || "<none>";
}

/** The names and the images of a template's containers, as the wide columns show them. */
export function containerCells(template: KubeObject | undefined): [string, string] {
  const containers: KubeObject[] = template?.spec?.containers ?? [];
  return [containers.map((item) => item.name).join(","), containers.map((item) => item.image).join(",")];
}
