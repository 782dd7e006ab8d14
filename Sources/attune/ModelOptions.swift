// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneEngine
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

/// Which model a command works with.
struct ModelOption: ParsableArguments {
  @Option(
    help: ArgumentHelp("A directory, a .gguf file, or a pulled name.", valueName: "m"),
    completion: .directory)
  var model: String

  /// Starts the engine and opens the model; one that answers, unless reward models are taken too.
  func open(_ shared: SharedOptions, rewardModels: Bool = false) throws -> LoadedModel {
    try LoadedModel.open(model, on: shared.engine(), rewardModels: rewardModels)
  }
}

/// Which data a command reads.
struct DataOption: ParsableArguments {
  @Option(help: ArgumentHelp("The file to read.", valueName: "file"), completion: .file())
  var data: String

  var url: URL { URL(filePath: data) }
}

/// Which rows a command reads.
struct RowsOption: ParsableArguments {
  @Option(
    name: .customLong("data"),
    help: ArgumentHelp(
      "A file or folder of rows: JSON lines or list, CSV, TSV, Parquet; repeatable, with @WEIGHT behind each a mixture.",
      valueName: "file"),
    completion: .file())
  var files: [String]

  @OptionGroup var columns: ColumnOptions

  /// Reads the file, and says what of it is not used.
  ///
  /// - Parameters:
  ///   - other: Another file, such as one of held-out rows, that is read in the same way.
  ///   - expecting: The kinds that the command can use; any if empty.
  ///   - carriesRows: Whether rows go to rewards or into the output whole.
  ///   - takesPrompts: Whether prompts are taken, with the columns that go along with them.
  func read(
    _ other: String? = nil, expecting: [DataKind] = [], carriesRows: Bool = false,
    takesPrompts: Bool = false
  ) throws -> DataFile {
    try columns.read(
      other.map { [$0] } ?? files, expecting: expecting,
      use: ColumnUse(carriesRows: carriesRows, takesPrompts: takesPrompts), needsMap: other == nil)
  }
}

/// What the columns of a file are called, and what their words mean.
struct ColumnOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What the file calls columns: prompt=question,completion=answer.", valueName: "names"))
  var map: String?

  @Option(
    help: ArgumentHelp(
      "What words of judgements mean: up=true,down=false.", valueName: "words"))
  var values: String?

  @Option(
    help: ArgumentHelp(
      "Columns that may stay unused whatever they say, with commas.", valueName: "columns"))
  var ignore: String?

  /// The names of a list with commas.
  static func columns(_ list: String?) -> Set<String> {
    Set((list ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
  }

  /// Reads files, and says what of them is not used.
  ///
  /// - Parameters:
  ///   - files: At least one, or one folder, or a mixture.
  ///   - expecting: The kinds that the command can use; any if empty.
  ///   - use: What the command does with columns that the format does not have.
  ///   - needsMap: Whether every part of the map must be of use.
  func read(
    _ files: [String], expecting: [DataKind] = [], use: ColumnUse = ColumnUse(),
    needsMap: Bool = true
  ) throws -> DataFile {
    var use = use
    use.ignored = Self.columns(ignore)
    return try DataFile.readTelling(
      DataSource(files, map: ColumnMap(names: map, values: values)), expecting: expecting, use: use,
      needsMap: needsMap)
  }
}

extension DataFile {
  /// Reads files, and says on standard error which of their columns are not used.
  static func readTelling(
    _ source: DataSource, expecting: [DataKind] = [], use: ColumnUse = ColumnUse(),
    needsMap: Bool = true
  ) throws -> DataFile {
    let data = try read(source, expecting: expecting, use: use, needsMap: needsMap)
    if let warning = data.warning {
      Output.note("\(use.refusesNoJudgement ? "note" : "warning"): \(warning)")
    }
    return data
  }
}

/// Which file a command writes.
struct OutputFileOption: ParsableArguments {
  @Option(help: ArgumentHelp("The file to write.", valueName: "file"), completion: .file())
  var output: String

  var url: URL { URL(filePath: output) }
}

/// Which folder a trainer writes, and what becomes of a run that is there.
struct OutputFolderOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The run's folder; an unfinished run of the same settings goes on.", valueName: "dir"),
    completion: .directory)
  var output: String

  @Flag(help: "Discard a run that is in the folder.")
  var restart = false

  @Option(
    help: ArgumentHelp(
      "Show the run's numbers elsewhere too: tensorboard, mlflow or csv; repeatable.",
      valueName: "tracker"))
  var track: [TrackerKind] = []

  var url: URL { URL(filePath: output, directoryHint: .isDirectory) }

  var options: RunOptions {
    var options = RunOptions()
    options.restart = restart
    options.report = RunReport.writeAtEnd
    options.track = track
    return options
  }
}

extension TrackerKind: ExpressibleByArgument {}

/// Where rewards come from.
struct RewardOptions: ParsableArguments {
  @Option(
    name: .customLong("reward"),
    help: ArgumentHelp(
      "Where rewards come from, with @weight behind it if that is not 1; repeatable.",
      discussion: RewardSpecification.Kind.table, valueName: "source"))
  var sources: [String] = []

  /// How they are written, for the commands' help.
  static let note = """
    Several sources are added up. The text after the last @ is the weight if it is a number. \
    Documentation/Rewards.md describes every source.
    """

  /// The sources, at least one.
  var specifications: [RewardSpecification] { get throws { try specifications(isNeeded: true) } }

  /// The sources.
  ///
  /// - Parameter isNeeded: Whether there has to be one.
  func specifications(isNeeded: Bool) throws -> [RewardSpecification] {
    guard !sources.isEmpty || !isNeeded else {
      throw ValidationError("Missing expected argument '--reward <source>'.")
    }
    return try sources.map { try RewardSpecification($0) }
  }
}

/// Who judges, by which principles.
struct JudgeOptions: ParsableArguments {
  @Option(
    name: .customLong("judge"),
    help: ArgumentHelp(
      "A model, or the URL of an OpenAI-compatible server; several are averaged.", valueName: "m"))
  var judges: [String] = []

  @Option(
    help: ArgumentHelp("Which model of a server (default: its only one).", valueName: "name"))
  var judgeModel: String?

  @Option(
    help: ArgumentHelp("Principles, one a line (default: Attune's sixteen).", valueName: "file"),
    completion: .file())
  var constitution: String?

  /// Them as knobs.
  func knobs(in path: String = "") -> KnobFlags {
    [
      KnobOption(path + "judges", as: "--judge"): judges.isEmpty ? nil : judges,
      KnobOption(path + "server_model", as: "--judge-model"): judgeModel,
      KnobOption(path + "constitution"): constitution,
    ]
  }

  /// The knobs of the judges; nil without one.
  func settings(seed: UInt64?) throws -> JudgeSettings? {
    guard !judges.isEmpty else {
      guard judgeModel == nil, constitution == nil else {
        throw ValidationError("--judge-model and --constitution are of no use without --judge.")
      }
      return nil
    }
    var settings = JudgeSettings()
    settings.judges = judges
    settings.serverModel = judgeModel ?? ""
    settings.constitution = constitution ?? ""
    settings.seed = seed ?? 0
    return settings
  }
}

/// The settings of a trainer that are typed most.
struct TrainingOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Highest learning rate.", valueName: "x"))
  var learningRate: Double?

  @Option(help: ArgumentHelp("Passes over the data.", valueName: "n"))
  var epochs: Int?

  @OptionGroup var moments: OptimizerOption

  /// Them as knobs.
  func knobs(in path: String = "") -> KnobFlags {
    [
      KnobOption(path + "learning_rate"): learningRate, KnobOption(path + "epochs"): epochs,
      KnobOption(path + "optimizer"): moments.optimizer,
    ]
  }
}

/// The optimiser of a trainer.
struct OptimizerOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "adamw, or adamw-8bit: a quarter of the memory for moments.", valueName: "name"))
  var optimizer: OptimizerName?
}

extension OptimizerName: ExpressibleByArgument {}

/// Which numbers answers are drawn with.
struct SamplerOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Which numbers answers are drawn with: same, the model's own, or int8, faster where the processor has \
      AVX2 or AVX512-VNNI and slower elsewhere (default: same; quickstart: int8 where it is faster, unless \
      --precision float32 is asked for).
      """, valueName: "same|int8"))
  var sampler: Sampler?
}

extension Sampler: ExpressibleByArgument {}

/// How answers are drawn.
struct SamplingOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Most tokens of an answer.", valueName: "n"))
  var maxTokens: Int?

  @Option(help: ArgumentHelp("0 takes the most probable token.", valueName: "t"))
  var temperature: Double?

  @Option(help: ArgumentHelp("Keep the k most probable tokens; 0 keeps all.", valueName: "k"))
  var topK: Int?

  @Option(help: ArgumentHelp("Keep the smallest set of this probability.", valueName: "p"))
  var topP: Double?

  @Option(help: ArgumentHelp("Drop tokens below this share of the greatest.", valueName: "p"))
  var minP: Double?

  @Option(help: ArgumentHelp("Divide the logits of tokens that came before.", valueName: "x"))
  var repetitionPenalty: Double?

  @Option(help: ArgumentHelp("A text that ends an answer; repeatable.", valueName: "text"))
  var stop: [String] = []

  @OptionGroup var sampler: SamplerOption

  /// Them as knobs.
  var knobs: KnobFlags {
    [
      "max_tokens": maxTokens, "temperature": temperature, "top_k": topK, "top_p": topP,
      "min_p": minP, "repetition_penalty": repetitionPenalty, "stop": stop.isEmpty ? nil : stop,
      "sampler": sampler.sampler,
    ]
  }
}
