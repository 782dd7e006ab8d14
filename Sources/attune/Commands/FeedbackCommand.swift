// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneFiles
import AttuneStore
import AttuneStudies
import Foundation

extension RowFormat: ExpressibleByArgument {
  /// The format's name in lower case, with plain hyphens.
  public init?(argument: String) {
    let format = Self.allCases.first { $0.argument == argument.lowercased() }
    guard let format else { return nil }
    self = format
  }

  /// What is written on the command line.
  var argument: String { rawValue.lowercased().replacing("–", with: "-") }

  /// Every name.
  public static var allValueStrings: [String] { allCases.map(\.argument) }
}

/// Which store a command works with.
struct StoreOption: ParsableArguments {
  @Option(help: ArgumentHelp("The store, a SQLite file.", valueName: "file"), completion: .file())
  var store: String

  var url: URL { URL(filePath: store) }
}

struct FeedbackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "feedback",
    abstract: "Keeps feedback in a store that loses nothing: import, export, stats.",
    subcommands: [Import.self, Export.self, Stats.self])

  struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Takes files of any format that Attune reads into a store.",
      discussion: """
        What the store has already is not taken twice. A row that is broken is reported with its
        line and stops nothing else.

        Example: attune feedback import --store feedback.db pairs.jsonl --annotator anna
        """)

    @Argument(help: "The files.", completion: .file())
    var files: [String]

    @OptionGroup var store: StoreOption

    @Option(help: ArgumentHelp("Who gave the feedback of rows that do not say.", valueName: "name"))
    var annotator: String?

    @Flag(help: "It is a language model's feedback.")
    var ai = false

    @Option(
      help: ArgumentHelp(
        "Columns that may stay unused whatever they say, with commas.", valueName: "columns"))
    var ignore: String?

    @OptionGroup var shared: SharedOptions

    func run() throws {
      try shared.refuseSettings()
      let feedback = try FeedbackStore(store.url)
      let reports = try files.map {
        try feedback.importFile(
          URL(filePath: $0), annotator: annotator, origin: ai ? .ai : .file,
          ignored: ColumnOptions.columns(ignore))
      }
      for case let warning? in reports.map(\.warning) { Output.note("warning: \(warning)") }
      if shared.json {
        try Output.json(ImportReports(files: reports))
      } else {
        for report in reports { try Output.line(report.text) }
      }
    }

    private struct ImportReports: Encodable {
      let format_version = 1
      let files: [ImportReport]
    }
  }

  struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Writes a store's feedback as rows of a format.",
      discussion: """
        Rows that came in that format are written byte for byte as they came, before all else that
        the format has a place for.

        Example: attune feedback export --store feedback.db --format preference --output pairs.jsonl
        """)

    @OptionGroup var store: StoreOption

    @Option(help: ArgumentHelp("The format of the rows.", valueName: "format"))
    var format: RowFormat = .preference

    @OptionGroup var output: OutputFileOption
    @OptionGroup var shared: SharedOptions

    func run() throws {
      try shared.refuseSettings()
      let (data, report) = try FeedbackStore(store.url, create: false).export(format)
      try AtomicFile.write(data, to: output.url)
      if shared.json { try Output.json(report) } else { try Output.line(report.text) }
    }
  }

  struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract:
        "Tells how far annotators agree, what they lean towards, how many labels are needed.",
      discussion: """
        Rows with "gold": true are the key that annotators are measured by. Of more than twenty \
        annotators those are shown that stand out or gave most labels; --all and --json show everyone.

        Example: attune feedback stats --store feedback.db --accuracy 0.75 --curve reward.json
        """)

    @OptionGroup var store: StoreOption

    @Option(help: ArgumentHelp("Estimate how many labels it needs.", valueName: "x"))
    var accuracy: Double?

    @Option(
      help: ArgumentHelp("What attune reward --json said: its learning curve.", valueName: "file"),
      completion: .file(extensions: ["json"]))
    var curve: String?

    @Flag(help: "Show every annotator and every two of them.")
    var all = false

    @OptionGroup var shared: SharedOptions

    func validate() throws {
      if let accuracy, !(accuracy > 0 && accuracy < 1) {
        throw ValidationError("--accuracy \(accuracy): give a share above 0 and below 1.")
      }
      if curve != nil, accuracy == nil {
        throw ValidationError("--curve is of no use without --accuracy.")
      }
    }

    func run() throws {
      try shared.refuseSettings()
      let points = try curve.map { try LearningCurveFile.read(URL(filePath: $0)) } ?? []
      let statistics = try FeedbackStore(store.url, create: false)
        .statistics(accuracy: accuracy, curve: points)
      if shared.json {
        try Output.json(statistics)
      } else {
        try Output.line(statistics.text(all: all))
      }
    }
  }
}
