// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { mkdir, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { repoDir } from "../node/launch.ts";
import { contents, type FileSet, fingerprint } from "./file-set.ts";
import { type TarEntry, TarWriter } from "./tar.ts";

/** A layer of an image: big ones are told apart by names, sizes and times, small ones by content. */
export interface LayerSource {
  name: string;
  files: FileSet;
  by: "times" | "content";
}

/** An image to pack. */
export interface ImageSource {
  /** Repository and tag, for example shunt.local/shunt:dev. */
  reference: string;
  layers: LayerSource[];
  entrypoint: string[];
  env: string[];
}

interface Layer {
  file: string;
  digest: string;
}

/** Where packed images and layers are kept, by their content's hash. */
export const imagesDir = path.join(repoDir, "build/images");
const keptFiles = 12;

/**
 * Packs an image as a docker-archive and returns the file. What is unchanged since the last time is not packed
 * again. Runs that overlap do no harm: each file appears at once, whole.
 */
export async function packImageArchive(image: ImageSource): Promise<string> {
  await mkdir(imagesDir, { recursive: true });
  const layers: Layer[] = [];
  for (const source of image.layers) layers.push(await packLayer(source));
  const config = JSON.stringify({
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    created: "1970-01-01T00:00:00Z",
    config: { Entrypoint: image.entrypoint, Env: image.env, WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => `sha256:${digest}`) },
  });
  const id = sha256(config);
  const name = image.reference.replaceAll(/[^\w.-]/g, "-");
  const file = path.join(imagesDir, `${name}-${sha256(id + image.reference).slice(0, 16)}.tar`);
  if (!existsSync(file))
    await writeOnce(file, (part) => writeArchive(part, image.reference, id, config, layers));
  await touch(file);
  await forgetOld();
  return file;
}

function writeArchive(file: string, reference: string, id: string, config: string, layers: Layer[]): void {
  const tar = new TarWriter(file);
  const text = (name: string, data: string) =>
    tar.add({ path: name, type: "file", mode: 0o644, data: Buffer.from(data) });
  const names = layers.map(({ digest }) => `${digest}.tar`);
  text("manifest.json", JSON.stringify([{ Config: `${id}.json`, RepoTags: [reference], Layers: names }]));
  text(`${id}.json`, config);
  for (const [index, layer] of layers.entries())
    tar.add({
      path: names[index]!,
      type: "file",
      mode: 0o644,
      source: layer.file,
      size: statSync(layer.file).size,
    });
  tar.finish();
}

async function packLayer({ name, files, by }: LayerSource): Promise<Layer> {
  const entries: TarEntry[] = files.list();
  const key = sha256(by === "times" ? fingerprint(entries) : contents(entries)).slice(0, 16);
  const file = path.join(imagesDir, `layer-${name}-${key}.tar`);
  const digestFile = `${file}.sha256`;
  if (!existsSync(file) || !existsSync(digestFile)) {
    let digest = "";
    await writeOnce(file, (part) => {
      const tar = new TarWriter(part);
      for (const entry of entries) tar.add(entry);
      digest = tar.finish();
    });
    await writeFile(digestFile, digest);
  }
  await touch(file, digestFile);
  return { file, digest: readFileSync(digestFile, "utf8") };
}

/** Writes a file under another name first, so that it appears whole or not at all. */
async function writeOnce(file: string, write: (part: string) => void): Promise<void> {
  const part = `${file}.${process.pid}.part`;
  try {
    write(part);
    await rename(part, file);
  } finally {
    await rm(part, { force: true });
  }
}

async function touch(...files: string[]): Promise<void> {
  const now = new Date();
  for (const file of files) await utimes(file, now, now);
}

/** Removes files that no image has used for a while; the newest stay. */
async function forgetOld(): Promise<void> {
  const hourMs = 3_600_000;
  const files = (await readdir(imagesDir))
    .map((name) => path.join(imagesDir, name))
    .flatMap((file) => (existsSync(file) ? [{ file, usedMs: statSync(file).mtimeMs }] : []))
    .sort((a, b) => b.usedMs - a.usedMs);
  for (const { file, usedMs } of files.slice(keptFiles))
    if (Date.now() - usedMs > hourMs) await rm(file, { force: true });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
