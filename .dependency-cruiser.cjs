// SPDX-License-Identifier: Apache-2.0
// Which folder may import which; everything else is refused. `npm run check` runs it.
const only = (from, ...to) => ({
  name: `${from}-imports-only-${to.join("-") || "itself"}`,
  severity: "error",
  from: { path: `^${from}/`, pathNot: "\\.test\\.ts$|^test/e2e/testing-operator\\.ts$" },
  to: { path: "^(bin|lib|installer|migrate|agent|bpf|playbooks|test|scripts)/", pathNot: [`^(${[from, ...to].join("|")})/`] },
});
const face = (folder) => ({
  name: `only-the-public-face-of-${folder}`,
  severity: "error",
  from: { path: "^(migrate|playbooks)/", pathNot: `^${folder}/` },
  to: { path: `^${folder}/`, pathNot: `^${folder}/index\\.ts$` },
});

module.exports = {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    { name: "no-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    only("lib"),
    only("installer", "lib"),
    only("migrate", "lib", "installer"),
    only("agent", "lib"),
    only("playbooks", "lib", "installer", "migrate"),
    only("test", "lib"),
    only("scripts", "lib"),
    face("installer"),
    face("migrate"),
    {
      name: "koffi-only-in-agent-libbpf",
      severity: "error",
      from: { pathNot: "^agent/libbpf[^/]*\\.ts$|^agent/libbpf/" },
      to: { path: "node_modules/koffi" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "node_modules/(typescript|@types)" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"], extensions: [".ts", ".js", ".json"] },
  },
};
