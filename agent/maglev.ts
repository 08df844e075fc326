// SPDX-License-Identifier: Apache-2.0

/** One that a table leads to. */
export interface Weighted {
  /** What its places depend on, so that they are the same on every node and at every time. */
  name: string;
  /** Its share against the others'; 0 gets nothing. */
  weight: number;
}

/**
 * Primes, so that every step walks the whole table. A table is four hundred times as large as what it leads to: then
 * hardly twice as many entries change as those of a backend that goes.
 */
const sizes = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521];
const placesEach = 400;

/** FNV-1a over the name, ended by MurmurHash3's finalizer, which spreads similar names. */
function hashOf(name: string, seed: number): number {
  let hash = (2_166_136_261 ^ seed) >>> 0;
  for (let index = 0; index < name.length; index++)
    hash = Math.imul(hash ^ name.charCodeAt(index), 16_777_619) >>> 0;
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b) >>> 0;
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35) >>> 0;
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Entries of the table for that many backends: 0 when none is needed, as there is nothing to choose. */
export function maglevSize(count: number): number {
  if (count < 2) return 0;
  return sizes.find((size) => size >= count * placesEach) ?? sizes.at(-1)!;
}

/**
 * The lookup table of "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016, section 3.4), with
 * weights: in turn each backend takes the next free entry of its own permutation, one of half the weight in every
 * other turn. When a backend goes, hardly more than its own entries change. Entries are indexes into `backends`. There
 * must be backends, and a size of `maglevSize`.
 */
export function maglevTable(backends: readonly Weighted[], size: number): Uint16Array {
  if (backends.length === 0 || !sizes.includes(size))
    throw new Error(`no Maglev table of ${size} entries for ${backends.length} backends`);
  const heaviest = Math.max(...backends.map(({ weight }) => weight));
  // When all are 0, they are all the same again: better than serving nobody.
  const shares = backends.map(({ weight }) => (heaviest === 0 ? 1 : weight / heaviest));
  const position = backends.map(({ name }) => hashOf(name, 0) % size);
  const step = backends.map(({ name }) => (hashOf(name, 0x9e3779b9) % (size - 1)) + 1);
  const due = backends.map(() => 0);
  const free = 0xffff;
  const table = new Uint16Array(size).fill(free);
  for (let filled = 0; filled < size; )
    for (let index = 0; index < backends.length && filled < size; index++) {
      due[index]! += shares[index]!;
      if (due[index]! < 1) continue;
      due[index]! -= 1;
      let place = position[index]!;
      while (table[place] !== free) place = (place + step[index]!) % size;
      table[place] = index;
      position[index] = (place + step[index]!) % size;
      filled++;
    }
  return table;
}
