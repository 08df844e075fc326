// SPDX-License-Identifier: Apache-2.0
// What the services bench measured, as a picture (SVG): a panel a measure, a line a way of routing services.

/** Ways, with their colours; those that were not measured are left out. */
const ways = [
  { key: "noService", title: "no service", colour: "#8a8f98" },
  { key: "shunt", title: "Shunt", colour: "#1463ff" },
  { key: "nftables", title: "nftables", colour: "#0c8f5b" },
  { key: "iptablesLegacy", title: "iptables (legacy)", colour: "#d9822b" },
  { key: "iptablesNft", title: "iptables (nft backend)", colour: "#c23030" },
] as const;
const panels = [
  { unit: "setup_p50_us", title: "connection set-up, p50", axis: "µs" },
  { unit: "setup_p99_us", title: "connection set-up, p99", axis: "µs" },
  { unit: "connections_per_second", title: "connect, request, close", axis: "a second" },
  { unit: "program_ms", title: "programming all of it", axis: "ms" },
] as const;
const [panelWidth, panelHeight, margin] = [330, 220, 52] as const;

interface Line {
  title: string;
  colour: string;
  points: [services: number, value: number][];
}

/** `medians` of the bench's result: `shunt_1000_setup_p50_us` and so on. */
export function servicePicture(medians: Readonly<Record<string, number>>): string {
  const drawn = panels.map((panel, index) => {
    const lines = ways.flatMap(({ key, title, colour }): Line[] => {
      const points = Object.entries(medians)
        .map(([name, value]) => [new RegExp(`^${key}_(\\d+)_${panel.unit}$`).exec(name)?.[1], value] as const)
        .flatMap(([services, value]): [number, number][] =>
          services === undefined ? [] : [[Number(services), value]],
        )
        .toSorted(([a], [b]) => a - b);
      return points.length === 0 ? [] : [{ title, colour, points }];
    });
    const [x, y] = [
      (index % 2) * (panelWidth + margin * 2),
      Math.floor(index / 2) * (panelHeight + margin * 2),
    ];
    return `<g transform="translate(${x + margin},${y + margin})">${drawPanel(panel, lines)}</g>`;
  });
  const width = 2 * (panelWidth + margin * 2);
  const height = 2 * (panelHeight + margin * 2) + 30;
  const legend = ways.map(
    ({ title, colour }, index) =>
      `<rect x="${margin + index * 150}" y="${height - 24}" width="12" height="12" fill="${colour}"/><text x="${margin + 18 + index * 150}" y="${height - 14}">${title}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
${[...drawn, ...legend].join("\n")}
</svg>
`;
}

/** Both axes are logarithmic: ten times as many services are as far apart as ten times the value. */
function drawPanel({ title, axis }: (typeof panels)[number], lines: readonly Line[]): string {
  const all = lines.flatMap(({ points }) => points);
  const [fewest, most] = bounds(all.map(([services]) => services));
  const [low, high] = bounds(all.map(([, value]) => value));
  const place = (value: number, [from, to]: readonly [number, number], length: number): number =>
    Math.round((Math.log(value / from) / Math.log(to / from)) * length * 10) / 10;
  const xOf = (services: number): number => place(services, [fewest, most], panelWidth);
  const yOf = (value: number): number => panelHeight - place(value, [low, high], panelHeight);
  const grid = [
    ...powers(low, high).map((value) => {
      const y = yOf(value);
      return `<path d="M0 ${y}H${panelWidth}" stroke="#e3e6ea"/><text x="-6" y="${y + 4}" text-anchor="end" fill="#5c6370">${value.toLocaleString("en")}</text>`;
    }),
    ...powers(fewest, most).map(
      (value) =>
        `<text x="${xOf(value)}" y="${panelHeight + 18}" text-anchor="middle" fill="#5c6370">${value.toLocaleString("en")}</text>`,
    ),
  ];
  const drawn = lines.map(({ colour, points }) => {
    const path = points.map(
      ([services, value], index) => `${index === 0 ? "M" : "L"}${xOf(services)} ${yOf(value)}`,
    );
    const dots = points.map(
      ([services, value]) => `<circle cx="${xOf(services)}" cy="${yOf(value)}" r="2.5" fill="${colour}"/>`,
    );
    return `<path d="${path.join("")}" fill="none" stroke="${colour}" stroke-width="2"/>${dots.join("")}`;
  });
  return [
    `<text x="0" y="-14" font-weight="bold">${title}, ${axis}</text>`,
    ...grid,
    `<path d="M0 0V${panelHeight}H${panelWidth}" fill="none" stroke="#9aa1ab"/>`,
    ...drawn,
    `<text x="${panelWidth}" y="${panelHeight + 34}" text-anchor="end" fill="#5c6370">services</text>`,
  ].join("");
}

/** From below the smallest to above the largest, with room around. */
function bounds(values: readonly number[]): [number, number] {
  if (values.length === 0) return [1, 10];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return [low / 1.3, high * 1.3];
}

/** 1, 2 and 5 times the powers of ten in a range; only the powers when these would be many. */
function powers(low: number, high: number): number[] {
  const found: number[] = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
    for (const step of high / low > 100 ? [1] : [1, 2, 5]) found.push(power * step);
  return found.filter((value) => value >= low && value <= high);
}
