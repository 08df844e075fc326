// SPDX-License-Identifier: Apache-2.0

/** One answer that can be picked. */
export interface Choice {
  value: string;
  name: string;
  /** Says more about it while it is pointed at. */
  description?: string;
  /** Why it cannot be picked now. */
  disabled?: string;
}

/** Asks a person, or answers in their place: the wizard does not know which. */
export interface Ask {
  select(question: { message: string; choices: Choice[]; preset: string }): Promise<string>;
  /** `check` says what is wrong with an answer; undefined when nothing is. */
  input(question: {
    message: string;
    preset: string;
    check: (answer: string) => string | undefined;
  }): Promise<string>;
  confirm(question: { message: string; preset: boolean }): Promise<boolean>;
}

/** Takes what is preset, as somebody does who only presses Enter. */
export const presets: Ask = {
  select: async ({ preset }) => preset,
  input: async ({ preset }) => preset,
  confirm: async ({ preset }) => preset,
};
