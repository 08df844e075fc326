// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import type { FieldError, KubeObject } from "../resource.ts";

/** Everything wrong with an object of this kind, in the words of the API server. */
export function validateBuiltin(
  _row: BuiltinKind,
  _object: KubeObject,
  _previous?: KubeObject,
): FieldError[] {
  return [];
}
