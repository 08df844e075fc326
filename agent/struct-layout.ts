// SPDX-License-Identifier: Apache-2.0

/** How one C field is stored: its size in bytes, alignment, and both directions. */
export interface Field<T> {
  readonly size: number;
  readonly align: number;
  write(view: DataView, offset: number, value: T): void;
  read(view: DataView, offset: number): T;
}

const number = (
  size: number,
  write: (view: DataView, offset: number, value: number) => void,
  read: (view: DataView, offset: number) => number,
): Field<number> => ({ size, align: size, write, read });

export const u8 = number(
  1,
  (view, offset, value) => view.setUint8(offset, value),
  (view, offset) => view.getUint8(offset),
);
export const u16 = number(
  2,
  (view, offset, value) => view.setUint16(offset, value, true),
  (view, offset) => view.getUint16(offset, true),
);
export const u32 = number(
  4,
  (view, offset, value) => view.setUint32(offset, value, true),
  (view, offset) => view.getUint32(offset, true),
);
/** A `__be16`, as ports are in keys: a plain number here, network order in memory. */
export const be16 = number(
  2,
  (view, offset, value) => view.setUint16(offset, value, false),
  (view, offset) => view.getUint16(offset, false),
);
export const u64: Field<bigint> = {
  size: 8,
  align: 8,
  write: (view, offset, value) => view.setBigUint64(offset, value, true),
  read: (view, offset) => view.getBigUint64(offset, true),
};

/** A fixed number of raw bytes (an address, a MAC). Throws when given another length. */
export function bytes(size: number, align = 1): Field<Uint8Array> {
  return {
    size,
    align,
    write(view, offset, value) {
      if (value.length !== size) throw new RangeError(`expected ${size} bytes, got ${value.length}`);
      for (let index = 0; index < size; index++) view.setUint8(offset + index, value[index]!);
    },
    read: (view, offset) => Uint8Array.from(new Uint8Array(view.buffer, view.byteOffset + offset, size)),
  };
}

type Fields = Record<string, Field<any>>;
type ValueOf<F extends Fields> = { [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** A C struct: camelCase here, the same names in snake_case there (datapath-layout.test.ts compares both). */
export interface StructLayout<T> extends Field<T> {
  /** Its name in C. */
  readonly name: string;
  /** Byte offset of each field. */
  readonly offsets: Readonly<Record<string, number>>;
  /** The fields' sizes in bytes. */
  readonly sizes: Readonly<Record<string, number>>;
  /** Encodes; fields left out are zero. */
  encode(value: Partial<T>): Uint8Array;
  decode(data: Uint8Array): T;
}

/** Declares a struct with C's own alignment rules. Padding must be named, as in C. */
export function struct<F extends Fields>(name: string, fields: F): StructLayout<ValueOf<F>> {
  const offsets: Record<string, number> = {};
  const sizes: Record<string, number> = {};
  let size = 0;
  let align = 1;
  for (const [key, field] of Object.entries(fields)) {
    if (size % field.align !== 0) throw new RangeError(`${name}.${key}: unnamed padding before it`);
    offsets[key] = size;
    sizes[key] = field.size;
    size += field.size;
    align = Math.max(align, field.align);
  }
  if (size % align !== 0) throw new RangeError(`${name}: unnamed padding at its end`);
  const entries = Object.entries(fields);
  const places = entries.map(([key, field]) => ({ key, field, at: offsets[key]! }));
  const write = (view: DataView, offset: number, value: Partial<ValueOf<F>>): void => {
    for (let index = 0; index < places.length; index++) {
      const { key, field, at } = places[index]!;
      const part = value[key];
      if (part !== undefined) field.write(view, offset + at, part);
    }
  };
  const read = (view: DataView, offset: number): ValueOf<F> =>
    Object.fromEntries(
      entries.map(([key, field]) => [key, field.read(view, offset + offsets[key]!)]),
    ) as ValueOf<F>;
  // Written in one place and copied out: a view for each value would cost more than the writing.
  const scratch = new Uint8Array(size);
  const scratchView = new DataView(scratch.buffer);
  return {
    name,
    size,
    align,
    offsets,
    sizes,
    write,
    read,
    encode(value) {
      scratch.fill(0);
      write(scratchView, 0, value);
      return scratch.slice();
    },
    decode(data) {
      if (data.length < size) throw new RangeError(`${name}: ${data.length} bytes, expected ${size}`);
      return read(new DataView(data.buffer, data.byteOffset, data.byteLength), 0);
    },
  };
}
