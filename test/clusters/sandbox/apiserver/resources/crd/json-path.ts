// SPDX-License-Identifier: Apache-2.0

type Step = (value: unknown) => unknown[];

const TOKEN =
  /\.\.|\.((?:\\.|[^.[\\])+)|\[(\*)\]|\[(-?\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]|\[\?\(\s*@\.?([^=!<>\s)]*)\s*(?:(==|!=)\s*("[^"]*"|'[^']*'|[^\s)]+)\s*)?\)\]/gy;

function field(name: string): Step {
  if (name === "*") return every;
  return (value) => {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return [];
    return [(value as Record<string, unknown>)[name]];
  };
}

const every: Step = (value) =>
  typeof value === "object" && value !== null ? Object.values(value as object) : [];

function index(position: number): Step {
  return (value) => {
    const item = Array.isArray(value) ? value.at(position) : undefined;
    return item === undefined ? [] : [item];
  };
}

function filter(path: string, operator: string | undefined, literal: string | undefined): Step {
  return (value) => {
    if (!Array.isArray(value)) return [];
    return value.filter((item) => {
      const found = path ? readJsonPath(`.${path}`, item)[0] : item;
      if (!operator) return found !== undefined;
      const wanted = String(literal).replace(/^(["'])(.*)\1$/, "$2");
      return (String(found) === wanted) === (operator === "==");
    });
  };
}

function parse(path: string): Step[] {
  const steps: Step[] = [];
  let position = 0;
  const text = path.startsWith(".") || path.startsWith("[") ? path : `.${path}`;
  while (position < text.length) {
    TOKEN.lastIndex = position;
    const match = TOKEN.exec(text);
    if (!match || match[0] === "..") return [() => []];
    const [whole, name, star, number, single, double, inner, operator, literal] = match;
    const quoted = single ?? double;
    if (name !== undefined) steps.push(field(name.replace(/\\(.)/g, "$1")));
    else if (star) steps.push(every);
    else if (number !== undefined) steps.push(index(Number(number)));
    else if (quoted !== undefined) steps.push(field(quoted));
    else steps.push(filter(inner ?? "", operator, literal));
    position += whole.length;
  }
  return steps;
}

/** The values at a JSONPath of the simple kind that custom resources' columns use; none when it is not there. */
export function readJsonPath(path: string, object: unknown): unknown[] {
  return parse(path).reduce<unknown[]>((values, step) => values.flatMap(step), [object]);
}
