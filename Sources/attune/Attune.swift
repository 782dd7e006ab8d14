// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The command line: one subcommand a file in `Commands/`, no logic here.
@main
struct Attune: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attune",
    abstract: "Aligns language models with human and AI preferences.",
    version: "0.1.0")
}
