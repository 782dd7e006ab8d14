// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

/// Where the adapters of a model lie in its arena.
struct LoRALayout: Sendable {
  struct Adapter: Sendable {
    let module: TransformerSpec.Module
    var outputs: Int { module.weight.shape[0] }
    var inputs: Int { module.weight.shape[1] }
    /// A [rank, inputs].
    let a: Int
    /// B [outputs, rank].
    let b: Int
    /// First output row among its fused neighbours (query, key, value; gate, up).
    let fusedRow: Int
  }
  /// Adapters that read the same input: their A's lie side by side, one matrix product.
  struct Group: Sendable {
    var adapters: [Adapter] = []
  }
  /// Of one layer: attention input, attention output, mlp input, mlp output.
  struct Layer: Sendable {
    var attentionInput = Group()
    var attentionOutput = Group()
    var mlpInput = Group()
    var mlpOutput = Group()
    var groups: [Group] { [attentionInput, attentionOutput, mlpInput, mlpOutput] }
  }

  let settings: LoRASettings
  let firstLayer: Int
  private(set) var layers: [Layer] = []
  private(set) var count = 0
  var scale: Float { Float(settings.alpha / Double(settings.rank)) }

  /// Columns of x·Aᵀ of the group that has most.
  var mostRanks: Int {
    settings.rank * (layers.first?.groups.map(\.adapters.count).max() ?? 0)
  }

  subscript(layer i: Int) -> Layer? { i < firstLayer ? nil : layers[i - firstLayer] }

  init(_ settings: LoRASettings, spec: TransformerSpec) throws {
    guard settings.rank > 0, settings.rank <= spec.width else {
      throw EngineError(
        .badRequest, "LoRA rank \(settings.rank) is not between 1 and the width \(spec.width)")
    }
    guard !settings.projections.isEmpty else {
      throw EngineError(.badRequest, "LoRA needs at least one projection")
    }
    guard (0...spec.layers).contains(settings.lastLayers) else {
      throw EngineError(
        .badRequest, "LoRA on the last \(settings.lastLayers) layers: the model has \(spec.layers)")
    }
    self.settings = settings
    firstLayer = settings.lastLayers == 0 ? 0 : spec.layers - settings.lastLayers
    let chosen = Set(settings.projections)
    for i in firstLayer..<spec.layers {
      let groups = spec.groups(ofLayer: i)
      func group(_ role: ModuleRole) -> Group {
        let modules = groups.first { $0.modules.contains { $0.role == role } }?.modules ?? []
        func isChosen(_ module: TransformerSpec.Module) -> Bool {
          module.projection.map { chosen.contains($0) } ?? false
        }
        var group = Group()
        var row = 0
        var a = count
        count += modules.filter(isChosen).reduce(0) { $0 + $1.weight.shape[1] } * settings.rank
        for module in modules {
          let (outputs, inputs) = (module.weight.shape[0], module.weight.shape[1])
          if isChosen(module) {
            group.adapters.append(Adapter(module: module, a: a, b: count, fusedRow: row))
            a += settings.rank * inputs
            count += outputs * settings.rank
          }
          row += outputs
        }
        return group
      }
      var layer = Layer()
      layer.attentionInput = group(.query)
      layer.attentionOutput = group(.output)
      layer.mlpInput = group(.up)
      layer.mlpOutput = group(.down)
      layers.append(layer)
    }
  }
}
