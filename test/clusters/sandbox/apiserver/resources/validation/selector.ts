// SPDX-License-Identifier: Apache-2.0
import { forbidden, invalidValue, notSupported, required } from "../field-errors.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { labelValueErrors, qualifiedNameErrors } from "./names.ts";

/** Everything wrong with a label selector. */
export function selectorErrors(selector: KubeObject | undefined, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
    for (const error of qualifiedNameErrors(key))
      errors.push(invalidValue(`${field}.matchLabels`, key, error));
    for (const error of labelValueErrors(String(value)))
      errors.push(invalidValue(`${field}.matchLabels`, value, error));
  }
  for (const [index, item] of (selector?.matchExpressions ?? []).entries()) {
    errors.push(...expressionErrors(item, `${field}.matchExpressions[${index}]`));
  }
  return errors;
}

function expressionErrors(item: KubeObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const hasValues = Boolean(item.values?.length);
  if (item.operator === "In" || item.operator === "NotIn") {
    if (!hasValues)
      errors.push(required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
  } else if (item.operator === "Exists" || item.operator === "DoesNotExist") {
    if (hasValues) {
      errors.push(
        forbidden(`${field}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
      );
    }
  } else if (item.operator)
    errors.push(invalidValue(`${field}.operator`, item.operator, "not a valid selector operator"));
  else errors.push(notSupported(`${field}.operator`, "", ["DoesNotExist", "Exists", "In", "NotIn"]));
  for (const error of qualifiedNameErrors(item.key ?? ""))
    errors.push(invalidValue(`${field}.key`, item.key ?? "", error));
  return errors;
}
