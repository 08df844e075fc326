// SPDX-License-Identifier: Apache-2.0

/** What the wizard can do. */
export const paths = ["install", "migrate", "test-cluster", "connectivity"] as const;
export type WizardPath = (typeof paths)[number];

/** Answers given by flags; what is absent is asked. */
export interface WizardFlags {
  kubeconfig?: string;
  context?: string;
  path?: WizardPath;
  routing?: string;
  image?: string;
  /** kube-proxy goes on beside the agent. */
  keepKubeProxy?: boolean;
  strategy?: string;
  maxUnavailable?: string;
  planFile?: string;
  /** Drains may delete pods that no controller makes anew. */
  force?: boolean;
  /** Drains may delete emptyDir data. */
  deleteEmptydirData?: boolean;
  /** Findings of preflight that are taken upon oneself. */
  accept?: string[];
  name?: string;
  workers?: string;
  ipFamily?: string;
  cni?: string;
  kubeProxy?: string;
  /** Test the connectivity at the end. */
  test?: boolean;
}

/** The commands that the answers amount to, each as the words after `shunt`. */
export interface WizardPlan {
  /** Run first: they change nothing and show what the others would do. */
  show: string[][];
  run: string[][];
}
