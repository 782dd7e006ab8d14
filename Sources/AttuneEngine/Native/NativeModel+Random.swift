// SPDX-License-Identifier: Apache-2.0

import CAttuneKernels

extension NativeModel {
  /// A frozen model of random weights, to be trained from nothing: normal with deviation 0.02,
  /// projections into the stream divided by √(2·layers) as in GPT-2, norms at 1, biases at 0.
  ///
  /// - Parameters:
  ///   - spec: The architecture.
  ///   - seed: The seed; each tensor has a stream of its own.
  /// - Returns: The model.
  /// - Throws: `EngineError` if the machine has no BLAS, or no room for so many weights.
  public static func random(_ spec: TransformerSpec, seed: UInt64) throws -> NativeModel {
    try spec.requireMemory("random weights")
    try Machine.startIfNeeded()
    var stream: UInt64 = 0
    let blocks = BlockLayout.blocks(spec).map { layout in
      let block = ParameterBlock(layout)
      for tensor in layout.tensors {
        stream += 1
        guard let floats = block.floats(tensor) else { continue }
        guard tensor.isMatrix else {
          floats.update(repeating: tensor.isBias ? 0 : 1, count: tensor.count)
          continue
        }
        var random = CounterRandom(seed: seed, stream: stream)
        let intoStream = tensor.role == .output || tensor.role == .down
        let deviation = intoStream ? 0.02 / Double(2 * spec.layers).squareRoot() : 0.02
        for i in 0..<tensor.count { floats[i] = Float(random.normal() * deviation) }
      }
      return block
    }
    return NativeModel(
      spec: spec, origin: Origin(), blocks: blocks, trainable: .frozen,
      rotary: RotaryTables(spec), workspace: Workspace())
  }
}
