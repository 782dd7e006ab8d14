// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels
import Foundation

extension NativeModel {
  /// Reads a model; all of it is frozen. Matrices that lie beside one another are kept in one form:
  /// float32 where their file's forms differ.
  package static func load(_ checkpoint: Checkpoint, on engine: NativeEngine) throws -> NativeModel
  {
    let spec = checkpoint.spec
    try engine.requireMemory(for: checkpoint)
    let blocks = try BlockLayout.blocks(spec).map { layout in
      let block = try ParameterBlock(layout) {
        try engine.form(of: $0, in: checkpoint.tensors, at: checkpoint.url.path)
      }
      for tensor in layout.tensors { try block.read(tensor, from: checkpoint.tensors) }
      return block
    }
    var head: FloatBuffer?
    if let shape = checkpoint.tensors.shape(of: "score.weight") {
      guard shape.reduce(1, *) == spec.width else {
        throw EngineError(
          .badModel, "score.weight has shape \(shape): one score of \(spec.width) weights is read")
      }
      let buffer = try FloatBuffer(spec.width)
      try checkpoint.tensors.read("score.weight", into: buffer.mutableBuffer)
      head = buffer
    }
    return NativeModel(
      spec: spec, origin: Origin(engine), blocks: blocks, trainable: .frozen,
      frozenScalarHead: head,
      rotary: try RotaryTables(spec), workspace: Workspace())
  }
}

extension NativeEngine {
  /// How the matrices of a group are kept.
  ///
  /// - Throws: `EngineError` where they can't be kept as `--base-precision` says.
  func form(
    of group: TransformerSpec.ModuleGroup, in source: (any TensorSource)?, at place: String
  ) throws -> WeightForm {
    let stored = source as? any StoredTensorSource
    let forms = group.modules.map {
      basePrecision.form(of: stored?.form(of: $0.weight.name) ?? .float32)
    }
    let form = forms.allSatisfy { $0 == forms[0] } ? forms[0] : .float32
    guard !form.hasGroups || group.inputs % WeightForm.group == 0 else {
      throw EngineError(
        .badRequest,
        "\(place): \(group.modules[0].weight.name) has rows of \(group.inputs) numbers, which are no "
          + "whole groups of \(WeightForm.group) codes: take --base-precision bf16 or as-is")
    }
    return form
  }
}

extension ParameterBlock {
  /// Reads a tensor: its file's own bytes where it is kept so, else some rows after another.
  fileprivate func read(_ tensor: TransformerSpec.Tensor, from source: any TensorSource) throws {
    guard let (form, start) = stored(tensor) else { return }
    if tensor.isMatrix, let source = source as? any StoredTensorSource,
      source.form(of: tensor.name) == form
    {
      return try source.readStored(tensor.name, into: start)
    }
    guard tensor.isMatrix, form != .float32 else {
      return try source.read(
        tensor.name,
        into: UnsafeMutableBufferPointer(
          start: start.assumingMemoryBound(to: Float.self), count: tensor.count))
    }
    let (rows, columns) = (tensor.shape[0], tensor.shape[1])
    // 16 MB of floats: some parts for the threads that read.
    let most = max(1, (1 << 22) / max(columns, 1))
    let piece = try FloatBuffer(min(most, rows) * columns)
    for first in stride(from: 0, to: rows, by: most) {
      let part = first..<min(rows, first + most)
      try source.read(
        tensor.name, rows: part,
        into: UnsafeMutableBufferPointer(start: piece.pointer, count: part.count * columns))
      set(tensor, from: piece.pointer, rows: part)
    }
  }
}
