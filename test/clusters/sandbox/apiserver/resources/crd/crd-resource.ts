// SPDX-License-Identifier: Apache-2.0
import type { KubeObject, Resource } from "../resource.ts";

export function crdResources(_crd: KubeObject): Resource[] {
  return [];
}
