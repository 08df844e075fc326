#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copied into a node's CNI folder under the name of the plugin that it stands for.
exec /usr/local/bin/node --disable-warning=ExperimentalWarning /opt/shunt/bin/sandbox-part.ts cni-plugin "${0##*/}"
