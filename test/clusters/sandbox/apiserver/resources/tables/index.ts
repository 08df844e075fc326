// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import type { Column, KubeObject } from "../resource.ts";
import { CLUSTER_TABLES } from "./cluster.ts";
import { NETWORK_TABLES } from "./network.ts";
import { POD_TABLE } from "./pods.ts";
import { POLICY_TABLES } from "./policy.ts";
import { type Cell, column, type Table } from "./table.ts";
import { WORKLOAD_TABLES } from "./workloads.ts";

const TABLES: Record<string, Table> = {
  "/Pod": POD_TABLE,
  ...CLUSTER_TABLES,
  ...NETWORK_TABLES,
  ...WORKLOAD_TABLES,
  ...POLICY_TABLES,
};

const DEFAULT_TABLE: Table = {
  columns: [
    column("Name", "string", 0, "name"),
    // The real server sends the creation time here and lets the client turn it into an age.
    column("Age", "date"),
  ],
  row: (object) => [object.metadata?.name ?? "", object.metadata?.creationTimestamp ?? null],
};

function tableOf(row: BuiltinKind): Table {
  return TABLES[`${row.group}/${row.kind}`] ?? DEFAULT_TABLE;
}

/** The columns a kind is printed with. */
export function columnsOf(row: BuiltinKind): Column[] {
  return tableOf(row).columns;
}

/** The cells of one object, one for every column. */
export function rowOf(row: BuiltinKind, object: KubeObject, now: Date): Cell[] {
  return tableOf(row).row(object, now);
}
