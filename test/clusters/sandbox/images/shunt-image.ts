// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { ShuntError } from "../../../../lib/errors.ts";
import { run } from "../../../../lib/run.ts";
import { findProgram } from "../machine.ts";
import { pauseImage } from "../node/containerd-config.ts";
import { repoDir } from "../node/launch.ts";
import { FileSet } from "./file-set.ts";
import { addFirewallNames, firewallPrograms } from "./firewall-programs.ts";
import { packImageArchive } from "./pack.ts";

/** The one image of everything that is ours. */
export const shuntImage = "shunt.local/shunt:dev";

/** Name of the image that carries a real kube-proxy. */
export const kubeProxyImage = "shunt.local/kube-proxy:dev";

const path$ = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const programs = ["ip", "tc", "bridge", "ss", "nsenter", "flock", "curl", "iperf3"];

/** Packs the image of the agent and everything else of ours. Returns the docker-archive's file. */
export async function packShuntImage(env: Record<string, string | undefined>): Promise<string> {
  return await packImageArchive({
    reference: shuntImage,
    layers: [
      { name: "base", files: await baseFiles(env), by: "times" },
      { name: "modules", files: moduleFiles(), by: "times" },
      { name: "shunt", files: repositoryFiles(), by: "content" },
    ],
    entrypoint: [],
    env: [path$, "NODE_OPTIONS=--disable-warning=ExperimentalWarning"],
  });
}

/** Packs the image of a pod's first process. */
export async function packPauseImage(): Promise<string> {
  const files = new FileSet();
  files.file("pause", path.join(repoDir, "build/bin/pause"));
  return await packImageArchive({
    reference: pauseImage,
    layers: [{ name: "pause", files, by: "content" }],
    entrypoint: ["/pause"],
    env: [],
  });
}

/** Packs a real kube-proxy with the programs that it calls. */
export async function packKubeProxyImage(
  binary: string,
  env: Record<string, string | undefined>,
): Promise<string> {
  const files = await systemFiles(env);
  for (const name of ["ip", ...firewallPrograms]) await addProgram(files, name, env);
  await addFirewallNames(files);
  await files.program("usr/local/bin/kube-proxy", binary);
  return await packImageArchive({
    reference: kubeProxyImage,
    layers: [{ name: "kube-proxy", files, by: "times" }],
    entrypoint: ["/usr/local/bin/kube-proxy"],
    env: [path$],
  });
}

/** What every container with a shell needs: folders, users and busybox under all its names. */
async function systemFiles(env: Record<string, string | undefined>): Promise<FileSet> {
  const files = new FileSet();
  for (const name of ["bin", "sbin", "lib", "lib64"]) files.link(name, `usr/${name}`);
  for (const name of ["dev", "proc", "sys", "run", "etc", "var/log", "usr/lib64"]) files.dir(name);
  for (const name of ["tmp", "var/tmp"]) files.dir(name, 0o1777);
  files.dir("root", 0o700);
  files.link("var/run", "/run");
  files.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
  files.text("etc/group", "root:x:0:\nnogroup:x:65534:\n");
  files.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
  const busybox = await addProgram(files, "busybox", env);
  const { stdout } = await run(busybox, ["--list"]);
  for (const applet of stdout.split("\n"))
    if (/^[\w[.-]+$/.test(applet) && applet !== "busybox") files.link(`usr/bin/${applet}`, "busybox");
  return files;
}

async function baseFiles(env: Record<string, string | undefined>): Promise<FileSet> {
  const files = await systemFiles(env);
  for (const name of [...programs, ...firewallPrograms]) await addProgram(files, name, env);
  await addFirewallNames(files);
  await files.program("usr/local/bin/node", process.execPath);
  for (const library of await libbpf(env)) files.file(`usr/lib/${path.basename(library)}`, library);
  const authorities = "etc/ssl/certs/ca-certificates.crt";
  if (existsSync(`/${authorities}`)) files.file(authorities, `/${authorities}`);
  return files;
}

/** libbpf.so.1 is what ip itself is linked with, so its own libraries are there already. */
async function libbpf(env: Record<string, string | undefined>): Promise<string[]> {
  const { sharedLibraries } = await import("./file-set.ts");
  const libraries = await sharedLibraries(findProgram("ip", env)!);
  return libraries.filter((library) => path.basename(library).startsWith("libbpf.so"));
}

async function addProgram(files: FileSet, name: string, env: Record<string, string | undefined>) {
  const source = findProgram(name, env);
  if (source === undefined)
    throw new ShuntError(`Cannot pack the image: this machine has no ${name}`, {
      code: "NotSetUp",
      remedy: `Set it up with: sh ${path.join(repoDir, "scripts/setup.sh")}`,
    });
  const folder =
    name === "busybox" || !/\/s?bin\//.test(source) ? "bin" : path.basename(path.dirname(source));
  await files.program(`usr/${folder}/${name}`, source);
  return source;
}

/** The dependencies that the product runs with, without what only compilers and readers need. */
function moduleFiles(): FileSet {
  const files = new FileSet();
  const modules = path.join(repoDir, "node_modules");
  const lock = JSON.parse(readFileSync(path.join(modules, ".package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean }>;
  };
  const unused = /(\.d\.[cm]?ts|\.map|\.md|\.markdown)$/;
  for (const [folder, { dev }] of Object.entries(lock.packages)) {
    if (dev === true || /node_modules\/(node-linux-|@types\/)/.test(folder)) continue;
    if (!existsSync(path.join(repoDir, folder))) continue;
    files.tree(
      path.join("opt/shunt", folder),
      path.join(repoDir, folder),
      (file) => !unused.test(file) && path.basename(file) !== "node_modules" && !file.startsWith("musl_"),
    );
  }
  return files;
}

function repositoryFiles(): FileSet {
  const files = new FileSet();
  const isProduct = (file: string) => !/\.test\.ts$/.test(file) && path.basename(file) !== "testdata";
  for (const folder of ["bin", "lib", "agent", "test", "installer", "migrate"])
    if (existsSync(path.join(repoDir, folder)))
      files.tree(`opt/shunt/${folder}`, path.join(repoDir, folder), isProduct);
  for (const folder of ["bpf", "bin"])
    files.tree(
      `opt/shunt/build/${folder}`,
      path.join(repoDir, "build", folder),
      (file) => !/\.tmp$/.test(file),
    );
  files.file("opt/shunt/package.json", path.join(repoDir, "package.json"));
  return files;
}
