// SPDX-License-Identifier: Apache-2.0
import { Argument, Command } from "commander";
import type { CliEnv } from "./env.ts";

const scripts: Record<string, string> = {
  bash: `_shunt() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(shunt completion words -- "\${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _shunt shunt
`,
  zsh: `#compdef shunt
_shunt() {
  local -a reply
  reply=(\${(f)"$(shunt completion words -- \${words[2,CURRENT-1]} 2>/dev/null)"})
  compadd -a reply
}
compdef _shunt shunt
`,
  fish: `complete -c shunt -f -a '(shunt completion words -- (commandline -opc)[2..-1] 2>/dev/null)'
`,
};

/** The words that can follow these: sub-commands and flags of the command they lead to. */
export function completionWords(program: Command, words: readonly string[]): string[] {
  let command = program;
  for (const word of words) {
    const next = command.commands.find((child) => child.name() === word);
    if (next !== undefined) command = next;
  }
  const flags = command.options
    .filter((option) => !option.hidden)
    .map((option) => option.long ?? option.short ?? "");
  return [...command.commands.map((child) => child.name()), ...flags, "--help"].filter((word) => word !== "");
}

/** `shunt completion bash|zsh|fish` prints a script for the shell to read. */
export function completionCommand(env: CliEnv, program: () => Command): Command {
  const command = new Command("completion")
    .description("print a shell completion script")
    .addArgument(new Argument("<shell>", "which shell").choices(Object.keys(scripts)))
    .addHelpText("after", "\nExample:\n  source <(shunt completion bash)")
    .action((shell: string) => void env.stdout.write(scripts[shell]!));
  command
    .command("words", { hidden: true })
    .argument("[words...]")
    .action((words: string[]) => void env.stdout.write(`${completionWords(program(), words).join("\n")}\n`));
  return command;
}
