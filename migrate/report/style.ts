// SPDX-License-Identifier: Apache-2.0

/** The page's style: the system's own fonts, light or dark as the reader's system is, and fit to be printed. */
export const style = `
:root{color-scheme:light dark;--bg:#fff;--panel:#f6f7f9;--line:#d9dde3;--grid:#e7eaee;--text:#1b1f24;--soft:#59636e;
--good:#1a7f4b;--warn:#8f5a00;--bad:#c0202c;--k-empty:#3f74c9;--k-switch:#7b4bc4;--k-pods:#16908a;--k-verify:#6f9a3a;
--k-remove:#a8703a;--k-cluster:#66727f;--rate:#9db7dd;--slow:#d18a10;--gap:#8a6fc0;--band:#eef1f5;--new:#a5d2b7}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--panel:#1d2127;--line:#353c45;--grid:#2a3038;--text:#e6e9ed;
--soft:#9aa5b1;--good:#4cc38a;--warn:#e0a83e;--bad:#ff6b70;--k-empty:#6b9bea;--k-switch:#ab84ee;--k-pods:#3fbdb4;
--k-verify:#9cc463;--k-remove:#d09a62;--k-cluster:#93a0ad;--rate:#3d5e8f;--slow:#e2a63c;--gap:#a892dc;--band:#20252c;--new:#2c6848}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:17px;font-weight:600;margin:0 0 10px;color:var(--soft);overflow-wrap:anywhere}
h2{font-size:19px;margin:40px 0 4px}h2+p{margin:0 0 10px;color:var(--soft)}
.result{border:1px solid var(--line);border-left:6px solid var(--tone);border-radius:6px;padding:14px 18px;background:var(--panel)}
.result strong{display:block;font-size:24px;line-height:1.25;color:var(--tone)}
.result p{margin:6px 0 0;font-size:17px;overflow-wrap:anywhere}
.good{--tone:var(--good)}.warn{--tone:var(--warn)}.bad{--tone:var(--bad)}.plain{--tone:var(--text)}
.facts{margin:12px 0 0;color:var(--soft);overflow-wrap:anywhere}
dl.figures{display:grid;grid-template-columns:repeat(4,1fr);gap:10px;margin:18px 0 0}
dl.figures div{border:1px solid var(--line);border-radius:6px;padding:10px 12px;background:var(--panel);display:flex;flex-direction:column-reverse;justify-content:flex-end}
dl.figures dd{margin:0;font-size:23px;line-height:1.25;font-weight:600;color:var(--tone,var(--text));font-variant-numeric:tabular-nums}
dl.figures dt{color:var(--soft);font-size:13px;line-height:1.35}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px;background:var(--bg)}
.picture{padding:8px 6px}
.picture svg{display:block;width:100%;min-width:860px;height:auto}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}svg text.label{fill:var(--text)}
svg .grid{stroke:var(--grid)}svg .frame{stroke:var(--line)}svg .band{fill:var(--band)}
.empty{fill:var(--k-empty);background:var(--k-empty)}.switch{fill:var(--k-switch);background:var(--k-switch)}
.pods{fill:var(--k-pods);background:var(--k-pods)}.verify{fill:var(--k-verify);background:var(--k-verify)}
.remove{fill:var(--k-remove);background:var(--k-remove)}.cluster{fill:var(--k-cluster);background:var(--k-cluster)}
.rate{fill:var(--rate);background:var(--rate)}.lost{fill:var(--bad);background:var(--bad)}
.slow{fill:var(--slow);background:var(--slow)}.gap{fill:var(--gap);background:var(--gap)}
.oldnet{fill:var(--grid);background:var(--grid)}.newnet{fill:var(--new);background:var(--new)}
svg rect{shape-rendering:crispEdges}svg .failed{stroke:var(--bad);stroke-width:2}
ul.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 0;padding:0;font-size:13px;color:var(--soft)}
ul.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;vertical-align:top;padding:5px 10px;border-bottom:1px solid var(--grid)}
th{white-space:nowrap;color:var(--soft);font-weight:600;background:var(--panel)}
td{overflow-wrap:break-word;max-width:460px}
td:first-child{overflow-wrap:anywhere;min-width:110px}
th.n{white-space:normal;min-width:64px;vertical-align:bottom}thead th{vertical-align:bottom}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.t{font-variant-numeric:tabular-nums;white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
.state-bad{color:var(--bad);font-weight:600}.state-good{color:var(--good)}.state-soft{color:var(--soft)}
ul.plain-list{margin:0;padding-left:18px}
details{margin:8px 0}summary{cursor:pointer;color:var(--soft)}
td details{margin:0}td details p{margin:4px 0;overflow-wrap:anywhere}
.note{color:var(--soft);font-size:13.5px;margin:6px 0 0}
footer{margin-top:44px;padding-top:12px;border-top:1px solid var(--line);color:var(--soft);font-size:13px}
@media (max-width:560px){main{padding:16px 12px 32px}.result strong{font-size:21px}dl.figures dd{font-size:20px}table{min-width:760px}}
@media (max-width:760px){dl.figures{grid-template-columns:1fr 1fr}}
@media print{:root{color-scheme:light;--bg:#fff;--panel:#fff;--text:#000;--soft:#444}body{font-size:11px}main{max-width:none;padding:0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.scroll{overflow:visible;border:0}.picture svg{min-width:0}
details::details-content{content-visibility:visible;display:block}h2{break-after:avoid}tr,.result,dl.figures div{break-inside:avoid}
table{font-size:10px}th,td{padding:3px 5px}}
`;
