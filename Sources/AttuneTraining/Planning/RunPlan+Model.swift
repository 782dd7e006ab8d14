// SPDX-License-Identifier: Apache-2.0

package import AttuneData
package import AttuneEngine
import Foundation

extension RunPlan {
  /// The plan of a run that nobody has begun; the weights of the model need not be there.
  ///
  /// - Parameters:
  ///   - settings: The trainer's knobs.
  ///   - name: A model, a `config.json`, or a folder with nothing else.
  ///   - data: The rows; nil: they are as `shape` has them.
  ///   - shape: How many rows there are, and their tokens; nil: as many tokens as may be.
  ///   - models: Further models that will be open: reward models, judges.
  ///   - engine: What computes it.
  /// - Throws: An error that names the file, option or knob at fault.
  package static func of<S: PlansRuns>(
    _ settings: S, model name: String, data: DataFile?, shape: (rows: Int, tokens: Int)?,
    beside models: [String] = [], on engine: any Engine
  ) throws -> RunPlan {
    let spec = try spec(of: name)
    let asks = S.trainer != RewardModelSettings.trainer
    let row = settings.plannedRow(tokens: shape?.tokens, spec.spec)
    let assumed = PlannedRows(all: row, count: shape?.rows)
    let others = try ((settings.otherModel.map { [$0] } ?? []) + models).reduce(0) { sum, name in
      sum + (try engine.memory(for: ModelWork(.frozen), of: try Self.spec(of: name).spec)[.base])
    }
    /// Without the weights.
    func bare() throws -> RunPlan {
      try RunPlan(
        settings, rows: assumed, spec.spec, name: name,
        memory: { try engine.memory(for: $0, of: spec.spec) }, beside: others, asks: asks)
    }
    guard spec.hasWeights else {
      guard data == nil else {
        throw TrainingError(
          .badModel,
          "--data: the model of \(name) has no tokenizer here to count its tokens by; say how many "
            + "there are, as --data-shape 1000x256")
      }
      return try bare()
    }
    let start: LoadedModel
    do {
      start = try LoadedModel.open(name, on: engine, rewardModels: !asks)
    } catch let error as EngineError where error.code == .unavailable {
      // Weights that don't fit are not read.
      return try bare()
    }
    try settings.check(against: start.model)
    let rows = try data.map { try settings.plannedRows($0, heldOut: nil, of: start) } ?? assumed
    var made = try RunPlan(
      settings, rows: rows, start.model.spec, name: name, memory: start.model.memory,
      loaded: weights(of: start.model), beside: others, asks: asks)
    if made.fits { try made.measure(settings, rows, start) }
    return made
  }

  /// What a model is made of, and whether its weights are there.
  private static func spec(of name: String) throws -> (spec: TransformerSpec, hasWeights: Bool) {
    let url = URL(filePath: name)
    let config = url.appending(path: "config.json")
    let files = try? FileManager.default.contentsOfDirectory(atPath: name)
    let isFile = files == nil && url.pathExtension.lowercased() == "json"
    let isBare =
      files.map { files in
        files.contains("config.json")
          && !files.contains {
            $0.hasSuffix(".safetensors") || $0.hasSuffix(".safetensors.index.json")
          }
      } ?? false
    if isFile || isBare {
      return (try TransformerSpec(configuration: isFile ? url : config), false)
    }
    let place = try LoadedModel.resolve(name)
    if LoRAFiles.isPresent(in: place), let base = try LoadedModel.base(of: name) {
      return (try spec(of: base.name).spec, true)
    }
    return (try Checkpoint.open(place).spec, true)
  }
}
