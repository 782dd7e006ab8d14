// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import Foundation

/// What a run takes, told before it begins: memory by part, time, and what would take less.
public struct RunPlan: Codable, Sendable, Equatable {
  /// A part of the memory.
  public struct MemoryPart: Codable, Sendable, Equatable {
    /// Its name: a `MemoryEstimate.Part`, or `program`.
    public var part: String
    /// How much it is.
    public var bytes: Int
    /// What it is, for people.
    public var meaning: String
  }

  /// What the run does, in counts.
  public struct Work: Codable, Sendable, Equatable {
    /// What it is counted by: `step` or `rollout`.
    public var unit: String
    /// How many of them it has; nil where nobody said how many rows there are.
    public var count: Int?
    /// Rows of a file; nil without one.
    public var rows: Int?
    /// Tokens of a row on the average; of an online trainer of a prompt with its longest answer.
    public var rowTokens: Double
    /// Tokens that one of them trains on, over all its passes.
    public var tokens: Double
    /// Passes with gradients of one of them.
    public var passes: Double
    /// Tokens of the largest of these passes.
    public var largestPass: Int
    /// Answers that one of them samples; nil of a trainer that samples none.
    public var answers: Int?
  }

  /// Seconds, from a probe on this machine.
  public struct Time: Codable, Sendable, Equatable {
    /// A step, or a rollout whose answers all grow to `max_tokens`.
    public var perUnit: Double
    /// Its share that samples; nil of a trainer that samples none.
    public var sampling: Double?
    /// Passes without a gradient before the first and after the last: the reference, held-out rows.
    public var once: Double
    /// The run; nil where the number of its steps is not known.
    public var run: Double?
    /// What the probe took.
    public var probe: Double
  }

  /// A change of settings that takes less memory.
  public struct Change: Codable, Sendable, Equatable {
    /// What to set: `train=lora`; `--base-precision q4` is an option of the command.
    public var change: String
    /// What the run would take then.
    public var bytes: Int
    /// Whether that can be had.
    public var fits: Bool
  }

  /// Version of this object's format.
  public var formatVersion = 1
  /// The trainer.
  public var trainer: String
  /// The model that it starts from.
  public var model: String
  /// Its weights.
  public var parameters: Int
  /// The layers, as a person calls what is trained.
  public var train: String
  /// What the run does.
  public var work: Work
  /// The parts of the memory that are not nothing, the largest first.
  public var memory: [MemoryPart]
  /// Their sum: what the process takes at its largest.
  public var bytes: Int
  /// What this process can have.
  public var limit: Int
  /// Whether that suffices.
  public var fits: Bool
  /// Time; nil where the weights are not there to be tried.
  public var time: Time?
  /// What would take less, the least first.
  public var changes: [Change]
}

extension RunPlan {
  /// Plans a run.
  ///
  /// - Parameters:
  ///   - settings: The trainer's knobs.
  ///   - rows: What is trained on.
  ///   - spec: The model that it starts from.
  ///   - name: What that is called.
  ///   - memory: What some work takes.
  ///   - loaded: Bytes of what this process holds that the estimate counts too: weights that were read.
  ///   - others: Bytes of other models that will be open by then.
  ///   - other: The one among them that its settings name; nil: there is none.
  ///   - asks: Whether the model answers a few prompts in the end.
  ///   - prefix: What the names of its knobs begin with: `reward.` in the settings of a larger job.
  ///   - isWhole: Whether changes are tried where the run fits too.
  /// - Throws: `EngineError` if what is to be trained does not fit the model.
  package init<S: PlansRuns>(
    _ settings: S, rows: PlannedRows, _ spec: TransformerSpec, name: String,
    memory: (ModelWork) throws -> MemoryEstimate,
    loaded: Int = 0, beside others: Int = 0, other: TransformerSpec? = nil, asks: Bool = true,
    prefix: String = "", isWhole: Bool = true
  ) throws {
    let work = settings.work(on: rows, spec, beside: other, asks: asks)
    let program = max(0, ProcessMemory.taken - loaded) + others
    let limit = ProcessMemory.limit
    let estimate = try memory(work.memory)
    trainer = S.trainer
    model = name
    parameters = spec.parameterCount
    train = settings.training.weights.train.rawValue
    self.limit = limit
    let total = estimate.total + program
    bytes = total
    fits = total <= limit
    self.memory = MemoryEstimate.Part.allCases.compactMap { part in
      estimate[part] > 0
        ? MemoryPart(part: part.rawValue, bytes: estimate[part], meaning: part.meaning) : nil
    }
    self.memory.append(
      MemoryPart(part: "program", bytes: program, meaning: "the program, its data, other models"))
    self.memory.sort { $0.bytes > $1.bytes }
    self.work = Work(
      unit: work.unit.rawValue, count: work.units, rows: rows.isOfFile ? rows.training.count : nil,
      rowTokens: work.rowTokens, tokens: work.gradients.tokens, passes: work.gradients.passes,
      largestPass: work.largestPass?.rows ?? 0, answers: work.answers > 0 ? work.answers : nil)
    changes = []
    guard isWhole || !fits else { return }
    for saving in settings.savings(rows, spec) {
      var work = saving.settings.work(on: saving.rows, spec, beside: other, asks: asks).memory
      work.basePrecision = saving.base
      let needed = try memory(work).total + program
      // What saves less than a hundredth says nothing.
      guard needed < total - total / 100 else { continue }
      changes.append(
        Change(change: saving.words(prefix: prefix), bytes: needed, fits: needed <= limit))
    }
    changes.sort { ($0.bytes, $0.change) < ($1.bytes, $1.change) }
  }

  /// Bytes that the weights of a loaded model take.
  package static func weights(of model: any LanguageModel) throws -> Int {
    try model.memory(for: ModelWork(.frozen))[.base]
  }
}

/// A change that may take less memory.
struct Saving<Settings: PlansRuns> {
  /// Knobs with a space between them; none where the base's precision is all that changes.
  var knobs: String
  /// How frozen matrices would be kept; nil: as they are.
  var base: BasePrecision?
  var settings: Settings
  var rows: PlannedRows

  /// What a person sets.
  ///
  /// - Parameter prefix: What the names of knobs begin with.
  func words(prefix: String) -> String {
    let set = knobs.split(separator: " ").map { prefix + $0 }
    return (set + (base.map { ["--base-precision \($0.rawValue)"] } ?? [])).joined(separator: " ")
  }
}

extension PlansRuns {
  /// Changes that may take less memory: each alone, and some that go together.
  func savings(_ rows: PlannedRows, _ spec: TransformerSpec) -> [Saving<Self>] {
    var list: [Saving<Self>] = []
    func add(
      _ change: String, base: BasePrecision? = nil, _ rows: PlannedRows? = nil,
      _ make: (inout Self) -> Void = { _ in }
    ) {
      var settings = self
      make(&settings)
      let named = change.split(separator: " ").map { Self.trainingPrefix + $0 }
      list.append(
        Saving(
          knobs: named.joined(separator: " "), base: base, settings: settings,
          rows: rows ?? plannedRows))
    }
    let plannedRows = rows
    let weights = training.weights
    if weights.train != .lora {
      add("train=lora") { $0.trainAdapters() }
    } else if weights.rank > 4 {
      add("rank=\(weights.rank / 4)") { $0.training.weights.rank /= 4 }
    }
    let trained = spec.layers - trainable(spec).frozenLayers(of: spec)
    if trained > 1 {
      let half = max(1, trained / 2)
      switch weights.train {
      case .full:
        add("train=last_layers layers=\(half)") {
          $0.training.weights.train = .lastLayers
          $0.training.weights.layers = half
        }
      case .lastLayers, .lora: add("layers=\(half)") { $0.training.weights.layers = half }
      }
    }
    if training.optimiser.optimizer == .adamw {
      add("optimizer=adamw-8bit") { $0.training.optimiser.optimizer = .adamw8bit }
    }
    if !training.engine.recompute { add("recompute=true") { $0.training.engine.recompute = true } }
    let piece = training.engine.pieceTokens / 4
    if piece >= 64 {
      add("piece_tokens=\(piece)") { $0.training.engine.pieceTokens = piece }
      if !training.engine.recompute {
        add("recompute=true piece_tokens=\(piece)") {
          $0.training.engine.recompute = true
          $0.training.engine.pieceTokens = piece
        }
      }
    }
    if weights.train != .lora, !training.engine.recompute {
      add("train=lora recompute=true") {
        $0.trainAdapters()
        $0.training.engine.recompute = true
      }
    }
    let takesCodes = spec.groups(ofLayer: 0).allSatisfy {
      !$0.isMatrix || $0.inputs % WeightForm.group == 0
    }
    for base in takesCodes ? [BasePrecision.bf16, .q8, .q4] : [.bf16] { add("", base: base) }
    let least = takesCodes ? BasePrecision.q4 : .bf16
    // QLoRA, and with what else takes most.
    if weights.train != .lora { add("train=lora", base: least) { $0.trainAdapters() } }
    if !training.engine.recompute {
      add(weights.train == .lora ? "recompute=true" : "train=lora recompute=true", base: least) {
        if weights.train != .lora { $0.trainAdapters() }
        $0.training.engine.recompute = true
      }
    }
    let longest = rows.training.map { $0.prompt + ($0.answers.max() ?? 0) }.max() ?? 0
    if self is any ReadsRows, longest >= 64 {
      add("max_length=\(longest / 2)", rows.cut(to: longest / 2))
    }
    return list + ownSavings.map { Saving(knobs: $0.change, settings: $0.settings, rows: rows) }
  }

  /// Trains low-rank adapters of all layers.
  private mutating func trainAdapters() {
    training.weights.train = .lora
    training.weights.layers = 0
  }
}

extension RunPlan {
  /// The error of a run that can't be had; nil where it can.
  package var refusal: TrainingError? {
    guard !fits else { return nil }
    let parts = memory.prefix(4).map { "\($0.meaning) \(Self.size($0.bytes))" }
      .joined(separator: ", ")
    let fitting = changes.filter(\.fits).reversed().prefix(3)
      .map { "\($0.change) would take \(Self.size($0.bytes))" }
    let least = changes.first.map { "\($0.change) would still take \(Self.size($0.bytes))" }
    return TrainingError(
      .unavailable,
      "this run needs \(Self.size(bytes)) of memory (\(parts)), and this process can have "
        + "\(Self.size(limit)): "
        + (fitting.isEmpty
          ? (least.map { $0 + "; take a smaller model" } ?? "take a smaller model")
          : fitting.joined(separator: ", "))
        + "; attune plan \(trainer) says more")
  }

  /// Bytes for people.
  private static func size(_ bytes: Int) -> String {
    let megabytes = Double(bytes) / Double(1 << 20)
    return megabytes < 1000
      ? "\(Int(megabytes.rounded(.up))) MB" : "\(readable(megabytes / 1024, digits: 1)) GB"
  }

  /// The plan for people.
  public var text: String {
    var lines = [
      "\(trainer) of \(model), \(readable(Double(parameters) / 1e6, digits: 0)) million "
        + "weights, train=\(train)"
    ]
    let count = work.count.map { "\($0) \(work.unit)s" } ?? "\(work.unit)s"
    lines.append(
      "\(count), each \(Int(work.tokens)) tokens"
        + (work.answers.map { " with \($0) sampled answers" } ?? "")
        + ", the largest pass \(work.largestPass) tokens")
    lines.append("")
    lines.append(
      "memory \(Self.size(bytes)), of \(Self.size(limit)) that can be had"
        + (fits ? "" : ": it does not fit"))
    let width = memory.map { Self.size($0.bytes).count }.max() ?? 0
    for part in memory {
      let size = Self.size(part.bytes)
      lines.append(
        "  " + String(repeating: " ", count: width - size.count) + "\(size)  \(part.meaning)")
    }
    lines.append("")
    if let time {
      let sampling = time.sampling.map { ", \(readableSeconds($0)) of it sampling" } ?? ""
      lines.append(
        "time \(readableSeconds(time.perUnit)) a \(work.unit)\(sampling)"
          + (time.run.map { ", \(readableSeconds($0)) in all" } ?? "")
          + (time.sampling == nil ? "" : " at most")
          + " (from a probe of \(readableSeconds(time.probe)))")
    } else {
      lines.append("time: unknown, the weights are not there")
    }
    if !changes.isEmpty {
      lines.append("")
      lines.append(fits ? "what would take less" : "what to change")
      for change in changes {
        lines.append(
          "  \(Self.size(change.bytes))  \(change.change)" + (change.fits ? "" : " (does not fit)"))
      }
    }
    return lines.joined(separator: "\n")
  }
}

/// The end of a dry run: nothing was trained or written.
public struct DryRun: Error, Sendable {
  /// What the run would take; of a job of several stages what each that trains would.
  public let plans: [RunPlan]

  /// Ends a dry run.
  package init(_ plans: [RunPlan]) { self.plans = plans }
}

extension RunOptions {
  /// Refuses a run that memory does not suffice for; a dry run ends here.
  ///
  /// - Parameters:
  ///   - settings: The trainer's knobs.
  ///   - start: The model that it starts from.
  ///   - others: Models that are open too and go before training begins.
  ///   - other: The model that its settings name, which stays; nil: there is none.
  ///   - asks: Whether the model answers a few prompts in the end.
  ///   - rows: What is trained on.
  /// - Throws: `TrainingError.unavailable` with the numbers; `DryRun`.
  package func plan<S: PlansRuns>(
    _ settings: S, start: LoadedModel, beside others: [LoadedModel] = [],
    other: LoadedModel? = nil, asks: Bool = true, rows: () throws -> PlannedRows
  ) throws {
    let (rows, asks) = (try rows(), asks && report != nil)
    let loaded = try ([start] + others).reduce(0) { $0 + (try RunPlan.weights(of: $1.model)) }
    var plan = try RunPlan(
      settings, rows: rows, start.model.spec, name: start.name,
      memory: start.model.memory, loaded: loaded, other: other?.model.spec, asks: asks,
      isWhole: isDryRun)
    guard isDryRun else {
      if let refusal = plan.refusal { throw refusal }
      return
    }
    if plan.fits { try plan.measure(settings, rows, start, beside: other?.model.spec) }
    throw DryRun([plan])
  }
}
