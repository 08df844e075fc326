// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { Json } from "../model/journal.ts";
import type { PolicyDifference } from "../model/tools.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import { readAllModes, shuntNodes } from "./node-mode.ts";

const mostTold = 20;

const lineOf = ({ from, to, port, policies, network, reason }: PolicyDifference): string =>
  `${from} to ${to}, port ${port}: ${policies} by policies, and ${network === "open" ? "it passes" : `${network === "silent" ? "dropped" : "refused"} by the network`} (${reason})`;

/** Tries connections; what the network does otherwise than policies say is for people to look at. */
async function compare(context: StepContext, whose: string): Promise<string> {
  const { tools, signal, report, remember } = context;
  const { compare, acceptDifferences } = tools.policies!;
  const { connections, denied, differences, errors, intercepted } = await compare({ signal, report });
  const told = differences.slice(0, mostTold).map(lineOf);
  const gaps = [
    ...errors.map(({ node, message }) => `${node} could not be asked (${message})`),
    ...(intercepted === 0 ? [] : [`${intercepted} connections are taken by proxies of their pods`]),
    ...(connections === 0 ? ["there was nothing to try"] : []),
  ];
  await remember({ differences: differences.length, examples: told as Json, gaps });
  const unasked = gaps.map((gap) => `; ${gap}`).join("");
  if (connections === 0) return `nothing was compared${unasked}`;
  const all = `${connections} connections, ${denied} of them denied`;
  if (differences.length === 0) return `${whose} does what policies say with ${all}${unasked}`;
  if (acceptDifferences)
    return `${whose} does something else than policies say with ${differences.length} of ${all}, which was accepted${unasked}`;
  const more = differences.length > mostTold ? `\n  and ${differences.length - mostTold} more` : "";
  throw new ShuntError(
    `${whose} does something else than policies say with ${differences.length} of ${connections} connections:${told.map((line) => `\n  - ${line}`).join("")}${more}`,
    {
      code: "WaitsForOperator",
      exitCode: 3,
      remedy:
        "Shunt enforces what policies say. Mend the policies, or accept it: shunt migrate resume --accept-policy-differences. All of them: shunt policy compare",
    },
  );
}

const notAsked = "no connectivity test was asked for";

/** Before the first node is switched: does the old network enforce what Shunt is going to? */
export const comparePoliciesStep: StepKind = {
  kind: "compare-policies",
  check: async ({ tools }) => (tools.policies === undefined ? notAsked : undefined),
  apply: async (context) => await compare(context, "the old network"),
  verify: async () => undefined,
  undo: async () => "nothing was changed",
};

/** After the last: is what policies say in force? */
export const verifyPoliciesStep: StepKind = {
  kind: "verify-policies",
  async check({ kube, tools }) {
    if (tools.policies === undefined) return notAsked;
    const living = await readAllModes(kube);
    const { items } = await kube.list(shuntNodes());
    const others = items
      .filter(({ metadata, status }) => {
        const mode = status?.layers?.policy?.mode;
        return living[metadata.name!] !== undefined && mode !== "enforce";
      })
      .map(({ metadata }) => metadata.name!);
    return others.length === 0 ? undefined : `policies are not enforced on ${others.slice(0, 5).join(", ")}`;
  },
  apply: async (context) => await compare(context, "the network"),
  verify: async () => undefined,
  undo: async () => "nothing was changed",
};
