// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import type { PrepareContext } from "../resource.ts";

export function admitPodSecurity(_row: BuiltinKind, _ctx: PrepareContext): void {}
