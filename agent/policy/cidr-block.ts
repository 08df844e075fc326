// SPDX-License-Identifier: Apache-2.0
import { type Cidr, cidrContains, parseCidr } from "../../lib/addresses.ts";
import { errorMessage } from "../../lib/errors.ts";
import type { Path, Peer, Problem } from "./model.ts";

/** A prefix without its exceptions, which must lie in it. What is wrong goes to `problems`, and then there is no peer. */
export function readBlock(
  raw: { cidr: string; except?: readonly string[] },
  ofPods: boolean,
  path: Path,
  problems: Problem[],
): Peer[] {
  const read = (text: string, at: Path): Cidr | undefined => {
    try {
      return parseCidr(text);
    } catch (error) {
      problems.push({ path: at, message: errorMessage(error) });
      return undefined;
    }
  };
  const cidr = read(raw.cidr, [...path, "cidr"]);
  const except: Cidr[] = [];
  for (const [index, text] of (raw.except ?? []).entries()) {
    const at = [...path, "except", index];
    const one = read(text, at);
    if (one === undefined || cidr === undefined) continue;
    // The API server refuses a NetworkPolicy whose exception is all of its block.
    const isInside = one.prefix >= cidr.prefix + (ofPods ? 1 : 0) && cidrContains(cidr, one.bytes);
    if (isInside) except.push(one);
    else
      problems.push({ path: at, message: `${text} is not ${ofPods ? "strictly " : ""}within ${raw.cidr}` });
  }
  return cidr === undefined ? [] : [{ kind: "cidr", cidr, except, ofPods }];
}
