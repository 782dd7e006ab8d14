// SPDX-License-Identifier: Apache-2.0

import CAttuneKernels

/// The tensors of a decoder, by their role.
package enum ParameterRole: Int, CaseIterable, Sendable {
  case embedding, positionEmbedding
  case inputNorm, inputNormBias
  case query, key, value, queryBias, keyBias, valueBias, queryNorm, keyNorm
  case output, outputBias
  case middleNorm, middleNormBias
  case gate, up, gateBias, upBias, down, downBias
  case finalNorm, finalNormBias, head

  var suffix: String {
    switch self {
    case .embedding: "embed_tokens.weight"
    case .positionEmbedding: "embed_positions.weight"
    case .inputNorm: "input_layernorm.weight"
    case .inputNormBias: "input_layernorm.bias"
    case .query: "self_attn.q_proj.weight"
    case .key: "self_attn.k_proj.weight"
    case .value: "self_attn.v_proj.weight"
    case .queryBias: "self_attn.q_proj.bias"
    case .keyBias: "self_attn.k_proj.bias"
    case .valueBias: "self_attn.v_proj.bias"
    case .queryNorm: "self_attn.q_norm.weight"
    case .keyNorm: "self_attn.k_norm.weight"
    case .output: "self_attn.o_proj.weight"
    case .outputBias: "self_attn.o_proj.bias"
    case .middleNorm: "post_attention_layernorm.weight"
    case .middleNormBias: "post_attention_layernorm.bias"
    case .gate: "mlp.gate_proj.weight"
    case .up: "mlp.up_proj.weight"
    case .gateBias: "mlp.gate_proj.bias"
    case .upBias: "mlp.up_proj.bias"
    case .down: "mlp.down_proj.weight"
    case .downBias: "mlp.down_proj.bias"
    case .finalNorm: "norm.weight"
    case .finalNormBias: "norm.bias"
    case .head: "lm_head.weight"
    }
  }
}

/// Where each tensor of a block (the embeddings, one layer, or the final norm and head) lies in one
/// run of floats. Query, key and value lie side by side, and so do gate and up, so that each group
/// is one matrix product.
package struct BlockLayout: Sendable {
  package struct Tensor: Sendable {
    package let role: ParameterRole
    package let name: String
    package let shape: [Int]
    package let offset: Int
    /// Where it lies among the block's matrices (which may be bfloat16) or its vectors.
    package let packedOffset: Int
    package var count: Int { shape.reduce(1, *) }
    package var isMatrix: Bool { shape.count == 2 }
  }

  package private(set) var tensors: [Tensor] = []
  package private(set) var count = 0
  package private(set) var matrixCount = 0
  package private(set) var vectorCount = 0
  private var index = [Int](repeating: -1, count: ParameterRole.allCases.count)
  private let prefix: String

  private init(prefix: String) { self.prefix = prefix }

  package subscript(role: ParameterRole) -> Tensor? {
    let i = index[role.rawValue]
    return i < 0 ? nil : tensors[i]
  }

  private mutating func add(_ role: ParameterRole, _ shape: Int...) {
    let isMatrix = shape.count == 2
    let name = role == .head ? role.suffix : prefix + role.suffix
    index[role.rawValue] = tensors.count
    tensors.append(
      Tensor(
        role: role, name: name, shape: shape, offset: count,
        packedOffset: isMatrix ? matrixCount : vectorCount))
    let size = shape.reduce(1, *)
    count += size
    if isMatrix { matrixCount += size } else { vectorCount += size }
  }

  /// Matrices that are one product each: query, key and value together, gate and up together.
  var matrixGroups: [[Tensor]] {
    let roles: [[ParameterRole]] = [
      [.embedding], [.query, .key, .value], [.output], [.gate, .up], [.down], [.head],
    ]
    return roles.map { $0.compactMap { self[$0] } }.filter { !$0.isEmpty }
  }

  package static func embeddings(_ spec: TransformerSpec) -> BlockLayout {
    var layout = BlockLayout(prefix: "model.")
    layout.add(.embedding, spec.vocabularySize, spec.width)
    if case .learned = spec.positions {
      layout.add(.positionEmbedding, spec.maximumPositions, spec.width)
    }
    return layout
  }

  package static func layer(_ i: Int, _ spec: TransformerSpec) -> BlockLayout {
    var layout = BlockLayout(prefix: "model.layers.\(i).")
    let d = spec.width
    let queries = spec.heads * spec.headWidth
    let keys = spec.keyValueHeads * spec.headWidth
    let f = spec.mlpWidth
    layout.add(.inputNorm, d)
    if spec.norm == .layer { layout.add(.inputNormBias, d) }
    layout.add(.query, queries, d)
    layout.add(.key, keys, d)
    layout.add(.value, keys, d)
    if spec.queryKeyValueBias {
      layout.add(.queryBias, queries)
      layout.add(.keyBias, keys)
      layout.add(.valueBias, keys)
    }
    if spec.queryKeyNorm {
      layout.add(.queryNorm, spec.headWidth)
      layout.add(.keyNorm, spec.headWidth)
    }
    layout.add(.output, d, queries)
    if spec.attentionOutputBias { layout.add(.outputBias, d) }
    layout.add(.middleNorm, d)
    if spec.norm == .layer { layout.add(.middleNormBias, d) }
    if spec.mlp == .swiglu { layout.add(.gate, f, d) }
    layout.add(.up, f, d)
    if spec.mlpBias {
      if spec.mlp == .swiglu { layout.add(.gateBias, f) }
      layout.add(.upBias, f)
    }
    layout.add(.down, d, f)
    if spec.mlpBias { layout.add(.downBias, d) }
    return layout
  }

  package static func final(_ spec: TransformerSpec) -> BlockLayout {
    var layout = BlockLayout(prefix: "model.")
    layout.add(.finalNorm, spec.width)
    if spec.norm == .layer { layout.add(.finalNormBias, spec.width) }
    if !spec.tiedHead { layout.add(.head, spec.vocabularySize, spec.width) }
    return layout
  }

  /// The blocks of a model: embeddings, each layer, final norm and head.
  package static func blocks(_ spec: TransformerSpec) -> [BlockLayout] {
    [.embeddings(spec)] + (0..<spec.layers).map { .layer($0, spec) } + [.final(spec)]
  }
}

/// Numbers of one block: its own memory when frozen, a part of the model's arena when trained.
package final class ParameterBlock {
  package let layout: BlockLayout
  /// The memory that `floats` lies in.
  private let memory: FloatBuffer
  private let halfMemory: FloatBuffer?
  private let start: Int
  /// Matrices that the model's file has in fewer bytes, by the role that they start at; only of
  /// blocks whose numbers are those of the file.
  private var compact: [ParameterRole: (form: CompactForm, memory: FloatBuffer)] = [:]

  /// A view of a part of an arena.
  package init(_ layout: BlockLayout, arena: FloatBuffer, at start: Int) {
    self.layout = layout
    memory = arena
    halfMemory = nil
    self.start = start
  }

  /// Memory of its own, matrices in float32 or bfloat16.
  package init(_ layout: BlockLayout, bfloat16: Bool = false) {
    self.layout = layout
    start = 0
    memory = FloatBuffer(bfloat16 ? layout.vectorCount : layout.count)
    halfMemory = bfloat16 ? FloatBuffer((layout.matrixCount + 1) / 2) : nil
  }

  package var isBFloat16: Bool { halfMemory != nil }

  package func vector(_ role: ParameterRole) -> UnsafeMutablePointer<Float>? {
    guard let tensor = layout[role] else { return nil }
    return memory.pointer + start + (isBFloat16 ? tensor.packedOffset : tensor.offset)
  }

  /// A matrix that starts at a role's rows, with the rows of its neighbours if more are asked for.
  package func matrix(_ role: ParameterRole, rows: Int? = nil) -> Matrix? {
    guard let tensor = layout[role] else { return nil }
    let rows = rows ?? tensor.shape[0]
    if let halfMemory {
      let halves = UnsafeMutableRawPointer(halfMemory.pointer).assumingMemoryBound(to: UInt16.self)
      return Matrix(
        .bfloat16(halves + tensor.packedOffset), rows: rows, columns: tensor.shape[1])
    }
    var matrix = Matrix(
      memory.pointer + start + tensor.offset, rows: rows, columns: tensor.shape[1])
    matrix.compact = compact[role].map { ($0.form, UnsafeRawPointer($0.memory.pointer)) }
    return matrix
  }

  /// Keeps the matrices that a source has in fewer bytes in that form too, for the decoder.
  func keepCompact(_ source: any CompactTensorSource) throws {
    for group in layout.matrixGroups {
      guard let first = group.first, let form = source.compactForm(of: first.name),
        group.allSatisfy({ source.compactForm(of: $0.name) == form })
      else { continue }
      let bytes = form.bytes(group.reduce(0) { $0 + $1.count })
      let memory = FloatBuffer((bytes + 3) / 4)
      var place = UnsafeMutableRawPointer(memory.pointer)
      for tensor in group {
        try source.readCompact(tensor.name, into: place)
        place += form.bytes(tensor.count)
      }
      compact[first.role] = (form, memory)
    }
  }

  /// A tensor's floats, for reading and writing; nil for a bfloat16 matrix.
  package func floats(_ tensor: BlockLayout.Tensor) -> UnsafeMutablePointer<Float>? {
    if isBFloat16 {
      return tensor.isMatrix ? nil : memory.pointer + tensor.packedOffset
    }
    return memory.pointer + start + tensor.offset
  }

  /// Copies a tensor out as float32.
  package func copy(_ tensor: BlockLayout.Tensor, to out: UnsafeMutablePointer<Float>) {
    if let floats = floats(tensor) {
      out.update(from: floats, count: tensor.count)
    } else if case .bfloat16(let halves)? = matrix(tensor.role)?.storage {
      atk_float_from_bf16(out, halves, tensor.count)
    }
  }

  /// Writes a tensor from float32, rounding where it is kept in bfloat16.
  package func set(_ tensor: BlockLayout.Tensor, from values: UnsafePointer<Float>) {
    if let floats = floats(tensor) {
      floats.update(from: values, count: tensor.count)
    } else if let halfMemory {
      let halves = UnsafeMutableRawPointer(halfMemory.pointer).assumingMemoryBound(to: UInt16.self)
      atk_bf16_from_float(halves + tensor.packedOffset, values, tensor.count)
    }
  }
}
