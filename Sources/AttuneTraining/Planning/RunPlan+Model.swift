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
    let other = try settings.otherModel.map { try Self.spec(of: $0).spec }
    let open = try (other.map { [$0] } ?? []) + models.map { try Self.spec(of: $0).spec }
    let others = try open.reduce(0) {
      $0 + (try engine.memory(for: ModelWork(.frozen), of: $1)[.base])
    }
    /// Without the weights, which are kept as they would come.
    func bare() throws -> RunPlan {
      try RunPlan(
        settings, rows: assumed, spec.spec, name: name,
        memory: {
          var work = $0
          if engine.record.basePrecision == .asIs {
            work.basePrecision = work.basePrecision ?? spec.kept
          }
          return try engine.memory(for: work, of: spec.spec)
        }, beside: others, other: other, asks: asks)
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
      loaded: weights(of: start.model), beside: others, other: other, asks: asks)
    if made.fits { try made.measure(settings, rows, start, beside: other) }
    return made
  }

  /// What a model is made of, whether its weights are there, and how they are kept as they come.
  private static func spec(
    of name: String
  ) throws -> (spec: TransformerSpec, hasWeights: Bool, kept: BasePrecision?) {
    let url = URL(filePath: name)
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
      let config = isFile ? url : url.appending(path: "config.json")
      let type = try TransformerSpec.weightType(configuration: config)
      return (
        try TransformerSpec(configuration: config), false, type == "bfloat16" ? .bf16 : nil
      )
    }
    let place = try LoadedModel.resolve(name)
    if LoRAFiles.isPresent(in: place), let base = try LoadedModel.base(of: name) {
      return try spec(of: base.name)
    }
    let checkpoint = try Checkpoint.open(place)
    let matrix = checkpoint.spec.groups(ofLayer: 0).first(where: \.isMatrix)?.modules[0].weight
    let form = matrix.flatMap {
      (checkpoint.tensors as? any StoredTensorSource)?.form(of: $0.name)
    }
    return (
      checkpoint.spec, true,
      form.flatMap { form in BasePrecision.allCases.first { $0.form(of: .float32) == form } }
    )
  }
}
