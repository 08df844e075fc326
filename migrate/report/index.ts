// SPDX-License-Identifier: Apache-2.0
export { type Evidence, type JournalRecord, makeReport } from "./make-report.ts";
export { reportHtml } from "./page.ts";
