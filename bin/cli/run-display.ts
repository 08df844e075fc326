// SPDX-License-Identifier: Apache-2.0
import type { Writable } from "node:stream";
import { errorMessage } from "../../lib/errors.ts";
import type { ProgressStyle } from "../../lib/steps.ts";
import type { RunEvent } from "../../migrate/engine/index.ts";
import type { Plan, PlanPhase } from "../../migrate/model/plan.ts";

/** Shows a run while it goes. */
export interface RunDisplay {
  onEvent(event: RunEvent): void;
  /** The run is over: what is left of the picture is drawn. */
  end(how: { completed: boolean; reason: string }): Promise<void>;
}

/** One event a line, for logs; or as JSON, for machines. */
export function lineDisplay(out: Writable, style: "lines" | "json" | "silent"): RunDisplay {
  return {
    onEvent: (event) => {
      if (style !== "silent") out.write(`${style === "json" ? jsonLine(event) : textLine(event)}\n`);
    },
    end: async () => undefined,
  };
}

function jsonLine({ event, step, state, message, durationMs }: RunEvent): string {
  return JSON.stringify({
    ...{ time: new Date().toISOString(), event, step: step?.name, state, message, durationMs },
  });
}

function textLine({ event, step, state, message, durationMs }: RunEvent): string {
  const seconds = durationMs === undefined ? "" : ` (${(durationMs / 1000).toFixed(1)} s)`;
  const lines: Record<RunEvent["event"], string> = {
    phase: `\n${message}`,
    step: `  ${(state ?? "").padEnd(8)} ${step?.name}${seconds}${message === "" ? "" : `: ${message}`}`,
    progress: `           ${step?.name}: ${message}`,
    trouble: `  ! ${step === undefined ? "" : `${step.name}: `}${message}`,
    pausing: `  ! ${message}`,
  };
  return lines[event];
}

/** A phase with more nodes than this is one line. */
const mostNodeLines = 40;

/** One line of the picture: a step of the cluster, a node with all its steps, or a phase of many nodes. */
class Line {
  readonly title: string;
  /** Names of the steps that have not ended. */
  readonly #left: Set<string>;
  readonly #total: number;
  readonly #end = Promise.withResolvers<void>();
  #task: { title: string; output: string } | undefined;
  #said = "";
  /** Begun, and not over. */
  isUnderWay = false;

  constructor(title: string, steps: readonly string[]) {
    this.title = title;
    this.#left = new Set(steps);
    this.#total = steps.length;
    this.#end.promise.catch(() => undefined);
  }

  /** Draws by this task from now on; returns when the line is over. */
  show(task: { title: string; output: string }): Promise<void> {
    this.#task = task;
    if (this.#said !== "") task.output = this.#said;
    return this.#end.promise;
  }

  say(text: string): void {
    this.isUnderWay = this.#left.size > 0;
    this.#said = text;
    if (this.#task !== undefined) this.#task.output = text;
  }

  /** Takes in that a step ended. */
  ended(step: string, message: string): void {
    this.#left.delete(step);
    if (this.#left.size > 0) return;
    if (this.#task !== undefined && this.#total === 1 && message !== "")
      this.#task.title = `${this.title}: ${message.split("\n", 1)[0]}`;
    this.finish();
  }

  finish(): void {
    this.isUnderWay = false;
    this.#end.resolve();
  }

  fail(reason: string): void {
    this.#end.reject(new Error(reason));
  }
}

interface ShownPhase {
  phase: PlanPhase;
  lines: Map<string, Line>;
  /** Lines that move at the same time. */
  atOnce: number;
}

function shownPhase(phase: PlanPhase): ShownPhase {
  const { nodes, steps, title } = phase;
  if (nodes === undefined)
    return {
      ...{ phase, atOnce: 1 },
      lines: new Map(steps.map((step) => [step.kind, new Line(step.title, [step.kind])])),
    };
  const names = (node: string): string[] => steps.map(({ kind }) => `${kind}/${node}`);
  if (nodes.length > mostNodeLines) {
    const line = new Line(
      `${title}: ${nodes.length} nodes`,
      nodes.flatMap(({ name }) => names(name)),
    );
    return { phase, atOnce: 1, lines: new Map(nodes.map(({ name }) => [name, line])) };
  }
  const waves = Map.groupBy(nodes, ({ wave }) => wave);
  return {
    phase,
    atOnce: Math.max(1, ...[...waves.values()].map(({ length }) => length)),
    lines: new Map(nodes.map(({ name }) => [name, new Line(name, names(name))])),
  };
}

/** The plan as a list on a terminal, with what each node is at. */
export async function liveDisplay(plan: Plan): Promise<RunDisplay> {
  const { Listr, PRESET_TIMER } = await import("listr2");
  const phases = plan.phases.map(shownPhase);
  const list = new Listr(
    phases.map(({ phase, lines, atOnce }) => ({
      title: phase.title,
      task: (_: unknown, parent: any) =>
        parent.newListr(
          [...new Set(lines.values())].map((line) => ({
            title: line.title,
            task: (__: unknown, task: any) => line.show(task),
          })),
          { concurrent: atOnce, exitOnError: true },
        ),
    })),
    {
      ...{ concurrent: false, exitOnError: true, registerSignalListeners: false },
      rendererOptions: {
        ...{ collapseErrors: false, collapseSubtasks: false, showErrorMessage: false },
        timer: PRESET_TIMER,
      },
    },
  );
  let drawing: Promise<unknown> | undefined;
  let problem: unknown;
  const draw = (): void => {
    drawing ??= list.run().catch((error: unknown) => (problem = error));
  };
  return {
    onEvent: (event) => {
      draw();
      take(phases, event);
    },
    end: async ({ completed, reason }) => {
      const lines = phases.flatMap((phase) => [...phase.lines.values()]);
      for (const line of lines) if (completed) line.finish();
      const underWay = lines.filter((line) => line.isUnderWay);
      if (!completed) for (const line of underWay.length === 0 ? lines : underWay) line.fail(reason);
      await drawing;
      if (completed && problem !== undefined) throw new Error(errorMessage(problem), { cause: problem });
    },
  };
}

function take(phases: readonly ShownPhase[], { event, step, state, message }: RunEvent): void {
  const at = phases.findIndex(({ phase }) => phase.name === step?.phase);
  if (step === undefined || at < 0) return;
  // What an earlier operator did is done.
  for (const earlier of phases.slice(0, at)) for (const line of earlier.lines.values()) line.finish();
  const { phase, lines } = phases[at]!;
  const line = lines.get(step.node ?? step.kind);
  if (line === undefined) return;
  for (const { name, wave } of phase.nodes ?? [])
    if (wave < step.wave && lines.get(name) !== line) lines.get(name)!.finish();
  const isCrowd = (phase.nodes?.length ?? 0) > mostNodeLines;
  const where = step.node === undefined ? "" : `${isCrowd ? step.name : step.kind.replaceAll("-", " ")}: `;
  if (event === "step" && (state === "done" || state === "skipped")) line.ended(step.name, message);
  else if (event === "step" && state === "running")
    line.say(where === "" ? step.title : `${where}${step.title}`);
  else line.say(`${where}${message.split("\n", 1)[0]}`);
}

/** The display that fits where the output goes. */
export async function runDisplay(out: Writable, style: ProgressStyle, plan: Plan): Promise<RunDisplay> {
  return style === "live" ? await liveDisplay(plan) : lineDisplay(out, style);
}
