// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneTestSupport
import Foundation

extension GGUFType {
  /// Where in a block the upper bytes of its half-precision scales are, or of its number.
  var scales: [Int] {
    switch self {
    case .f32: [3]
    case .f16, .bf16, .q4_0, .q5_0, .q8_0, .iq4NL: [1]
    case .q4_1, .q5_1, .q4K, .q5K: [1, 3]
    case .q2K: [81, 83]
    case .q3K: [109]
    case .q6K: [209]
    }
  }
}

/// A GGUF file of a small Llama whose matrices are random blocks of any types.
enum GGUFFile {
  private static let names: [ModuleRole: String] = [
    .embedding: "token_embd", .inputNorm: "attn_norm", .query: "attn_q", .key: "attn_k",
    .value: "attn_v", .output: "attn_output", .middleNorm: "ffn_norm", .gate: "ffn_gate",
    .up: "ffn_up", .down: "ffn_down", .finalNorm: "output_norm",
  ]

  static func write(
    _ spec: TransformerSpec, to url: URL, type: (TransformerSpec.Tensor) -> GGUFType
  ) throws {
    var random = SplitMix(seed: 9)
    var header = Data("GGUF".utf8)
    var body = Data()
    func append<Value: FixedWidthInteger>(_ value: Value) {
      withUnsafeBytes(of: value.littleEndian) { header.append(contentsOf: $0) }
    }
    func append(_ text: String) {
      append(UInt64(text.utf8.count))
      header.append(contentsOf: text.utf8)
    }
    let numbers = [
      ("embedding_length", spec.width), ("block_count", spec.layers),
      ("attention.head_count", spec.heads), ("attention.head_count_kv", spec.keyValueHeads),
      ("feed_forward_length", spec.mlpWidth), ("context_length", spec.maximumPositions),
    ]
    append(UInt32(3))
    append(UInt64(spec.tensors.count))
    append(UInt64(numbers.count + 2))
    append("general.architecture")
    append(UInt32(8))
    append("llama")
    append("llama.attention.layer_norm_rms_epsilon")
    append(UInt32(6))
    append(Float(1e-5).bitPattern)
    for (key, value) in numbers {
      append("llama." + key)
      append(UInt32(4))
      append(UInt32(value))
    }
    for tensor in spec.tensors {
      let type = type(tensor)
      let block = tensor.layer.map { "blk.\($0)." } ?? ""
      append("\(block)\(names[tensor.role] ?? "").weight")
      append(UInt32(tensor.shape.count))
      for size in tensor.shape.reversed() { append(UInt64(size)) }
      append(type.rawValue)
      append(UInt64(body.count))
      body.append(contentsOf: bytes(of: tensor, as: type, &random))
      body.append(Data(count: (32 - body.count % 32) % 32))
    }
    header.append(Data(count: (32 - header.count % 32) % 32))
    try (header + body).write(to: url)
  }

  private static func bytes(
    of tensor: TransformerSpec.Tensor, as type: GGUFType, _ random: inout SplitMix
  ) -> [UInt8] {
    if type == .f32 {
      return (0..<tensor.count).flatMap { _ in
        withUnsafeBytes(of: (1 + 0.1 * random.float()).bitPattern.littleEndian) { Array($0) }
      }
    }
    var bytes = (0..<tensor.count / type.blockElements * type.blockBytes).map { _ in
      UInt8(truncatingIfNeeded: random.next())
    }
    // Upper bytes of scales, or of the numbers themselves: of moderate size, of either sign.
    let size: UInt8 =
      switch type {
      case .q4K, .q5K, .q6K: 0x08
      case .q8_0, .iq4NL, .q2K, .q3K: 0x14
      case .bf16: 0x3C
      default: 0x24
      }
    for block in stride(from: 0, to: bytes.count, by: type.blockBytes) {
      for byte in type.scales { bytes[block + byte] = bytes[block + byte] & 0x83 | size }
    }
    return bytes
  }
}
