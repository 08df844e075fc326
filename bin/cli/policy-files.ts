// SPDX-License-Identifier: Apache-2.0
// Policies as they stand in files, and where in them something is wrong.
import { type Document, LineCounter, parseAllDocuments } from "yaml";
import { type Path, pathText } from "../../agent/policy/model.ts";
import { isPolicy, parsePolicy } from "../../agent/policy/validate.ts";

export interface FileProblem {
  line: number;
  column: number;
  /** Where in the object, e.g. spec.ingress[0].from; empty for the file itself. */
  path: string;
  message: string;
}

export interface FilePolicy {
  file: string;
  line: number;
  kind: string;
  namespace: string | undefined;
  name: string;
  problems: FileProblem[];
}

export interface CheckedFile {
  policies: FilePolicy[];
  /** Objects of other kinds. */
  others: number;
  /** The file is no YAML. */
  problems: FileProblem[];
}

/** Names a YAML text may use again: more are refused, for they can grow beyond any memory. */
const mostAliases = 100;

/** Checks every policy of a YAML or JSON text, also those in Lists. */
export function checkFile(file: string, text: string): CheckedFile {
  const lines = new LineCounter();
  const checked: CheckedFile = { policies: [], others: 0, problems: [] };
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  for (const document of Array.isArray(documents) ? documents : []) {
    const place = new Place(document, lines);
    for (const { pos, message } of document.errors) {
      const { line, col } = lines.linePos(pos[0]);
      checked.problems.push({ line, column: col, path: "", message });
    }
    if (document.errors.length > 0) continue;
    let content: any;
    try {
      content = document.toJS({ maxAliasCount: mostAliases });
    } catch (error) {
      checked.problems.push({ ...place.of([]), path: "", message: (error as Error).message });
      continue;
    }
    if (content === null || content === undefined) continue;
    const isList =
      typeof content.kind === "string" && content.kind.endsWith("List") && Array.isArray(content.items);
    const objects: [any, Path][] = isList
      ? content.items.map((item: any, index: number): [any, Path] => [item, ["items", index]])
      : [[content, []]];
    for (const [object, base] of objects) {
      if (!isPolicy(object)) checked.others++;
      else checked.policies.push(checkOne(file, object, base, place));
    }
  }
  return checked;
}

function checkOne(file: string, object: any, base: Path, place: Place): FilePolicy {
  const { problems } = parsePolicy(object);
  return {
    file,
    line: place.of(base).line,
    kind: object.kind,
    namespace: typeof object.metadata?.namespace === "string" ? object.metadata.namespace : undefined,
    name: typeof object.metadata?.name === "string" ? object.metadata.name : "(without a name)",
    problems: problems.map(({ path, message }) => ({
      ...place.of([...base, ...path]),
      path: pathText(path),
      message,
    })),
  };
}

/** Lines and columns of a document's parts. */
class Place {
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;

  constructor(document: Document.Parsed, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** Of what is at a path, or of the nearest thing around it that is there. */
  of(path: Path): { line: number; column: number } {
    for (let length = path.length; length >= 0; length--) {
      const node: any = this.#document.getIn(path.slice(0, length), true);
      const start = node?.range?.[0];
      if (start === undefined) continue;
      const { line, col } = this.#lines.linePos(start);
      return { line, column: col };
    }
    return { line: 1, column: 1 };
  }
}
