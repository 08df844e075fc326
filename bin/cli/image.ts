// SPDX-License-Identifier: Apache-2.0
import { copyFile } from "node:fs/promises";
import { Command } from "commander";
import type { CliEnv } from "./env.ts";

/** `shunt image`: the container image of the agent, packed from this machine's files. */
export function imageCommand(env: CliEnv): Command {
  const command = new Command("image").description("pack the agent's container image");
  command.addCommand(
    new Command("save")
      .description("write the image as a docker-archive, for ctr, podman or docker to load")
      .requiredOption("-o, --output <file>", "file to write")
      .addHelpText(
        "after",
        "\nExample:\n  shunt image save -o shunt.tar && kind load image-archive shunt.tar",
      )
      .action(async (flags: { output: string }) => {
        const { ensureSetup } = await import("./setup.ts");
        await ensureSetup(env, "shunt image save");
        const { packShuntImage, shuntImage } = await import(
          "../../test/clusters/sandbox/images/shunt-image.ts"
        );
        await copyFile(await packShuntImage(env.env), flags.output);
        env.stdout.write(`Wrote ${shuntImage} to ${flags.output}\n`);
      }),
  );
  return command;
}
