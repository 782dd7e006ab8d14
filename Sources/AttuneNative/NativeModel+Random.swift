// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

extension NativeModel {
  /// A frozen model of random weights.
  package static func random(_ spec: TransformerSpec, seed: UInt64, on engine: NativeEngine) throws
    -> NativeModel
  {
    try engine.requireMemory(for: spec, in: nil, at: "random weights")
    var stream: UInt64 = 0
    let blocks = try BlockLayout.blocks(spec).map { layout in
      let block = try ParameterBlock(layout) {
        try engine.form(of: $0, in: nil, at: "random weights")
      }
      for tensor in layout.tensors {
        stream += 1
        let apart = try block.floats(tensor) == nil ? FloatBuffer(tensor.count) : nil
        defer { if let apart { block.set(tensor, from: apart.pointer) } }
        guard let floats = apart?.pointer ?? block.floats(tensor) else { continue }
        guard tensor.isMatrix else {
          floats.update(repeating: tensor.isBias ? 0 : 1, count: tensor.count)
          continue
        }
        var random = RandomStream(seed: seed, stream: stream)
        let intoStream = tensor.role == .output || tensor.role == .down
        let deviation = intoStream ? 0.02 / Double(2 * spec.layers).squareRoot() : 0.02
        for i in 0..<tensor.count { floats[i] = Float(random.normal() * deviation) }
      }
      return block
    }
    return NativeModel(
      spec: spec, origin: Origin(engine), blocks: blocks, trainable: .frozen,
      rotary: try RotaryTables(spec), workspace: Workspace())
  }
}
