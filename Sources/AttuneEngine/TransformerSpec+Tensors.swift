// SPDX-License-Identifier: Apache-2.0

/// What a module with weights does in a decoder.
package enum ModuleRole: Int, CaseIterable, Sendable {
  case embedding, positionEmbedding
  case inputNorm, query, key, value, queryNorm, keyNorm, output, attentionOutputNorm
  case middleNorm, gate, up, down, mlpOutputNorm
  case finalNorm, head
  /// The scalar head of a reward or value model, which a model has or has not.
  case score
}

extension TransformerSpec {
  /// A weight of the model: its canonical name and its shape.
  public struct Tensor: Sendable, Equatable {
    /// The canonical name, Hugging Face Llama's for every architecture.
    public let name: String
    /// `[rows, columns]` of a matrix, `[count]` of a vector.
    public let shape: [Int]
    /// The layer that it belongs to, nil for embeddings, last norm and head.
    public let layer: Int?
    /// What its module does.
    package let role: ModuleRole
    /// Whether it is its module's bias.
    package let isBias: Bool

    /// Number of elements.
    public var count: Int { shape.reduce(1, *) }
    package var isMatrix: Bool { shape.count == 2 }
    /// The end of its name.
    package var kind: String { isBias ? "bias" : "weight" }
  }

  /// A row of the table of a model's tensors: a module with its weight and perhaps a bias.
  package struct Module: Sendable {
    /// The tensors' canonical name, less `.weight` or `.bias`.
    package let name: String
    package let weight: Tensor
    package let bias: Tensor?
    /// What an adapter that is put beside it is called; nil where none can be.
    package let projection: Projection?

    package var role: ModuleRole { weight.role }
    /// Weight, then bias: their order in files.
    package var tensors: [Tensor] { [weight] + (bias.map { [$0] } ?? []) }

    fileprivate init(
      _ role: ModuleRole, _ name: String, _ shape: [Int], bias: Bool = false, layer: Int? = nil,
      adapter projection: Projection? = nil
    ) {
      self.name = layer.map { "model.layers.\($0)." + name } ?? name
      weight = Tensor(
        name: self.name + ".weight", shape: shape, layer: layer, role: role, isBias: false)
      self.bias =
        bias
        ? Tensor(
          name: self.name + ".bias", shape: [shape[0]], layer: layer, role: role, isBias: true)
        : nil
      self.projection = projection
    }
  }

  /// Modules that read the same input: a product with their matrices, one below another, is theirs
  /// together.
  package struct ModuleGroup: Sendable {
    package let modules: [Module]
    /// Weights side by side, then biases: their order in memory.
    package var tensors: [Tensor] { modules.map(\.weight) + modules.compactMap(\.bias) }
    /// Rows of all matrices, and their columns.
    package var outputs: Int { modules.reduce(0) { $0 + $1.weight.shape[0] } }
    package var inputs: Int { modules[0].weight.shape[1] }
    package var isMatrix: Bool { modules[0].weight.isMatrix }

    fileprivate init(_ modules: Module...) { self.modules = modules }
    fileprivate init(_ modules: [Module]) { self.modules = modules }
  }

  /// The embeddings' part of the table.
  var embeddingGroups: [ModuleGroup] {
    let tokens = ModuleGroup(Module(.embedding, "model.embed_tokens", [vocabularySize, width]))
    guard case .learned = positions else { return [tokens] }
    let places = Module(.positionEmbedding, "model.embed_positions", [maximumPositions, width])
    return [tokens, ModuleGroup(places)]
  }

  /// A layer's part of the table: every tensor that it has, its shape and what lies beside it, from
  /// which memory, files and adapters follow.
  ///
  /// - Parameter layer: Its index, from 0.
  package func groups(ofLayer layer: Int) -> [ModuleGroup] {
    func vector(_ role: ModuleRole, _ name: String, _ count: Int, bias: Bool = false) -> Module {
      Module(role, name, [count], bias: bias, layer: layer)
    }
    func linear(
      _ role: ModuleRole, _ projection: Projection, _ name: String, _ outputs: Int, _ inputs: Int,
      bias: Bool
    ) -> Module {
      Module(role, name, [outputs, inputs], bias: bias, layer: layer, adapter: projection)
    }
    let queries = heads * headWidth
    let keys = keyValueHeads * headWidth
    func norm(_ role: ModuleRole, _ name: String) -> ModuleGroup {
      ModuleGroup(vector(role, name, width, bias: self.norm.hasBias))
    }
    var list = normPlacement.isBefore ? [norm(.inputNorm, "input_layernorm")] : []
    list.append(
      ModuleGroup(
        linear(.query, .q, "self_attn.q_proj", queries, width, bias: queryKeyValueBias),
        linear(.key, .k, "self_attn.k_proj", keys, width, bias: queryKeyValueBias),
        linear(.value, .v, "self_attn.v_proj", keys, width, bias: queryKeyValueBias)))
    if queryKeyNorm != .none {
      let isWhole = queryKeyNorm == .all
      list += [
        ModuleGroup(vector(.queryNorm, "self_attn.q_norm", isWhole ? queries : headWidth)),
        ModuleGroup(vector(.keyNorm, "self_attn.k_norm", isWhole ? keys : headWidth)),
      ]
    }
    list.append(
      ModuleGroup(
        linear(.output, .o, "self_attn.o_proj", width, queries, bias: attentionOutputBias)))
    // Names are those of the families that have such norms.
    switch normPlacement {
    case .before: list.append(norm(.middleNorm, "post_attention_layernorm"))
    case .after: list.append(norm(.attentionOutputNorm, "post_attention_layernorm"))
    case .around:
      list.append(norm(.attentionOutputNorm, "post_attention_layernorm"))
      list.append(norm(.middleNorm, "pre_feedforward_layernorm"))
    }
    let gate = linear(.gate, .gate, "mlp.gate_proj", mlpWidth, width, bias: mlpBias)
    let up = linear(.up, .up, "mlp.up_proj", mlpWidth, width, bias: mlpBias)
    list.append(ModuleGroup(mlp.isGated ? [gate, up] : [up]))
    list.append(ModuleGroup(linear(.down, .down, "mlp.down_proj", width, mlpWidth, bias: mlpBias)))
    if normPlacement.isAfter { list.append(norm(.mlpOutputNorm, "post_feedforward_layernorm")) }
    return list
  }

  /// The table's part of the last norm and the untied head.
  var finalGroups: [ModuleGroup] {
    let norm = ModuleGroup(Module(.finalNorm, "model.norm", [width], bias: norm.hasBias))
    return tiedHead
      ? [norm] : [norm, ModuleGroup(Module(.head, "lm_head", [vocabularySize, width]))]
  }

  /// The table block by block: embeddings, each layer, last norm and head.
  package var blocks: [[ModuleGroup]] {
    [embeddingGroups] + (0..<layers).map { groups(ofLayer: $0) } + [finalGroups]
  }

  /// All weights in a fixed order: embeddings, layer after layer, last norm, untied head. The
  /// scalar head (`score.weight`, `[1, width]`) is no part of it.
  public var tensors: [Tensor] { blocks.joined().flatMap(\.modules).flatMap(\.tensors) }

  /// The scalar head's weight, in models that have one.
  var scoreTensor: Tensor { Module(.score, "score", [1, width]).weight }

  /// Number of weights, a tied head counted once.
  public var parameterCount: Int { tensors.reduce(0) { $0 + $1.count } }
}
