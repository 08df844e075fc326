// SPDX-License-Identifier: Apache-2.0
import { VERSION } from "../../lib/version.ts";
import type { Report } from "../model/report.ts";
import { formatCount, formatDuration, formatSpan } from "./format.ts";
import { html, Markup } from "./html.ts";
import {
  applicationsSection,
  connectionsSection,
  facts,
  figuresSection,
  lossesSection,
  probesSection,
  residueSection,
  section,
  warningsSection,
} from "./sections.ts";
import { resultTitle, resultTone } from "./step-look.ts";
import { changesSection, nodesSection, stepsSection } from "./step-sections.ts";
import { style } from "./style.ts";
import { timeScale } from "./time-axis.ts";
import { timeline } from "./timeline.ts";

/** One figure; `key` is where it is in the JSON. */
function figure(key: string, title: string, value: string, tone = ""): Markup {
  return html`<div class="${tone}"><dt>${title}</dt><dd data-figure="${key}">${value}</dd></div>`;
}

/** When it ended; of one that has not, the last thing that happened. */
function lastTime(report: Report): string | undefined {
  if (report.endedAt !== undefined) return report.endedAt;
  const scale = timeScale(report);
  return scale === undefined ? undefined : new Date(scale.endMs).toISOString();
}

function figures(report: Report): Markup {
  const { probes, longConnections, nodes, residue } = report;
  const ran = probes.sent > 0;
  const ended = report.endedAt !== undefined;
  const moved = nodes.filter(({ state }) => state === "switched").length;
  const tone = (bad: number, looked = true): string => (bad > 0 ? "bad" : looked ? "good" : "");
  return html`<dl class="figures">${[
    figure("probes.sent", "requests sent", formatCount(probes.sent)),
    figure("probes.lost", "requests lost", formatCount(probes.lost), tone(probes.lost, ran)),
    figure("probes.maxGapMs", "longest gap", ran ? formatDuration(probes.maxGapMs) : "—"),
    figure("longConnections.opened", "long connections opened", formatCount(longConnections.opened)),
    figure(
      "longConnections.broken",
      "long connections broken",
      formatCount(longConnections.broken),
      tone(longConnections.broken, longConnections.opened > 0),
    ),
    figure(
      "duration",
      ended ? "duration" : "duration so far",
      formatSpan(report.startedAt, lastTime(report)) || "—",
    ),
    figure("nodes", "nodes moved", `${formatCount(moved)} of ${formatCount(nodes.length)}`),
    figure("residue", "things left behind", formatCount(residue.length), tone(residue.length, false)),
  ]}</dl>`;
}

/** No script, no request to anywhere: what is not in this file is not shown. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** The report as one file for a browser. All that comes from the cluster is text in it, whatever it says. */
export function reportHtml(report: Report): string {
  const title = `Migration ${report.name}: ${resultTitle(report).toLowerCase()}`;
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta http-equiv="Content-Security-Policy" content="${new Markup(policy)}">
<title>${title}</title><style>${new Markup(style)}</style></head><body><main>
<header><h1>Migration ${report.name}</h1>
<div class="result ${resultTone(report)}"><strong data-figure="result">${resultTitle(report)}</strong><p>${report.reason}</p></div>
${facts(report)}${figures(report)}</header>
${section("Timeline", "Steps and probes against the same clock; point at a bar to read what it is.", timeline(report))}
${lossesSection(report)}
${figuresSection(report)}
${probesSection(report)}
${connectionsSection(report)}
${applicationsSection(report)}
${nodesSection(report)}
${stepsSection(report)}
${changesSection(report)}
${residueSection(report)}
${warningsSection(report)}
<footer>Made by shunt ${VERSION}. The same and more is in report.json: <code>shunt migrate report -o json</code>.</footer>
</main></body></html>
`;
  return page.text;
}
