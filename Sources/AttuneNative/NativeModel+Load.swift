// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels
import Foundation

/// The precision in which frozen layers are kept.
///
/// No option sets it yet: products that read bfloat16 as fast as float32 come first. Until then
/// tests alone hold the path.
public enum FrozenPrecision: String, Codable, CaseIterable, Sendable {
  /// As computed with.
  case float32
  /// Half the memory; embeddings, head, norms and biases stay float32. Weights are rounded once,
  /// so a policy and a reference made from one model hold the same numbers.
  case bfloat16
}

extension NativeModel {
  /// Reads a model; all of it is frozen.
  package static func load(_ checkpoint: Checkpoint, on engine: NativeEngine) throws -> NativeModel
  {
    let spec = checkpoint.spec
    let frozenPrecision = engine.frozenPrecision
    try engine.requireMemory(for: spec, at: checkpoint.url.path)
    var scratch = [Float]()
    var blocks: [ParameterBlock] = []
    let layouts = BlockLayout.blocks(spec)
    for (i, layout) in layouts.enumerated() {
      let isLayer = i > 0 && i < layouts.count - 1
      let block = try ParameterBlock(layout, bfloat16: isLayer && frozenPrecision == .bfloat16)
      for tensor in layout.tensors {
        if let floats = block.floats(tensor) {
          try checkpoint.tensors.read(
            tensor.name, into: UnsafeMutableBufferPointer(start: floats, count: tensor.count))
        } else {
          if scratch.count < tensor.count {
            scratch = try [Float](count: tensor.count) { $0.update(repeating: 0) }
          }
          try scratch.withUnsafeMutableBufferPointer { buffer in
            try checkpoint.tensors.read(
              tensor.name, into: UnsafeMutableBufferPointer(rebasing: buffer[..<tensor.count]))
            if let start = buffer.baseAddress { block.set(tensor, from: start) }
          }
        }
      }
      if let source = checkpoint.tensors as? any CompactTensorSource, !block.isBFloat16 {
        try block.keepCompact(source)
      }
      blocks.append(block)
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
