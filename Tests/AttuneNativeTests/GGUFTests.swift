// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

struct GGUFTests {
  private static let types = Fixtures.url("gguf/types.gguf")

  @Test(arguments: GGUFType.allCases.map { "\($0)".lowercased() })
  func `numbers are those of gguf-py, bit for bit`(name: String) throws {
    let gguf = try GGUF(Self.types)
    let expected = try Safetensors.File(Fixtures.url("gguf/types.safetensors"))
    #expect(gguf.shape(of: name) == [4, 512])
    // A product by zero may differ in its sign alone.
    #expect(try gguf.read(name) == expected.read(name))
  }

  @Test(arguments: [
    ("f32", WeightForm.float32), ("f16", .float32), ("bf16", .bfloat16), ("q4_0", .nibbles),
    ("q4_1", .nibbles), ("q5_0", .fives), ("q5_1", .fives), ("q8_0", .bytes), ("iq4_nl", .bytes),
    ("q2_k", .fineNibbles), ("q3_k", .fineNibbles), ("q4_k", .nibbles), ("q5_k", .fives),
    ("q6_k", .bytes),
  ])
  func `rows as they are kept are the rows that are asked for`(
    name: String, form: WeightForm
  ) throws {
    let gguf = try GGUF(Self.types)
    #expect(gguf.form(of: name) == form)
    let expected = try gguf.read(name)
    let (n, k) = (4, 512)
    var compact = [UInt8](repeating: 0, count: form.bytes(n * k))
    try compact.withUnsafeMutableBytes { buffer in
      guard let start = buffer.baseAddress else { return }
      try gguf.readStored(name, into: start, count: n) { n - 1 - $0 }
    }
    // The product with a unit matrix is the weights.
    var unit = [Float](repeating: 0, count: k * k)
    for i in 0..<k { unit[i * k + i] = 1 }
    var columns = [Float](repeating: 0, count: k * n)
    atk_linear_decode(&columns, unit, compact, form.kernelFormat, nil, k, n, k, 0)
    for i in 0..<n * k {
      let (row, column) = i.quotientAndRemainder(dividingBy: k)
      #expect(columns[column * n + n - 1 - row] == expected[i])
    }
  }

  @Test func `metadata of every type is read`() throws {
    let metadata = try GGUF(Self.types).metadata
    #expect(metadata["test.u8"] == .unsigned(200))
    #expect(metadata["test.i8"] == .signed(-100))
    #expect(metadata["test.u16"] == .unsigned(60000))
    #expect(metadata["test.i16"] == .signed(-30000))
    #expect(metadata["test.u32"] == .unsigned(4_000_000_000))
    #expect(metadata["test.i32"] == .signed(-2_000_000_000))
    #expect(metadata["test.u64"] == .unsigned(.max))
    #expect(metadata["test.u64"]?.int == nil)
    #expect(metadata["test.i64"] == .signed(.min))
    #expect(metadata["test.f32"] == .float(Double(Float(0.1))))
    #expect(metadata["test.f64"]?.double == 0.1)
    #expect(metadata["test.bool"]?.bool == true)
    #expect(metadata["test.string"]?.string == "größer als 0")
    #expect(metadata["test.ints"]?.ints == [1, -2, 3])
    #expect(metadata["test.floats"] == .array([.float(0.5), .float(1.5)]))
    #expect(metadata["test.strings"]?.strings == ["a", "", "ß"])
    #expect(metadata["test.strings"]?.ints == nil)
  }

  @Test(arguments: [
    "llama-tied", "llama-yarn", "qwen2", "qwen3", "gpt2", "mistral", "phi3", "smollm3", "olmo2",
    "granite", "exaone4", "ernie", "pythia", "stablelm",
  ])
  func `a model is the same from GGUF and from its folder`(name: String) throws {
    let folder = Fixtures.url("models/\(name)")
    let gguf = try Checkpoint.open(folder.appendingPathComponent("model.gguf"))
    let plain = try Checkpoint.open(folder)
    #expect(gguf.spec == plain.spec)
    #expect(gguf.format == .gguf && plain.format == .huggingFace)
    #expect(gguf.ggufMetadata?["general.architecture"] != nil)
    #expect(gguf.tensors.names == plain.tensors.names)
    for tensor in plain.spec.tensors {
      #expect(gguf.tensors.shape(of: tensor.name) == tensor.shape)
      let expected = try plain.tensors.read(tensor.name)
      let found = try gguf.tensors.read(tensor.name)
      // Matrices are float16 in the GGUF file.
      let rounded =
        tensor.shape.count == 2
        ? expected.map { ElementConversion.float(half: ElementConversion.half($0)) } : expected
      #expect(found == rounded, "\(tensor.name)")
    }
  }

  @Test func `a type that is not read is named`() throws {
    let error = try #require(throws: EngineError.self) {
      _ = try GGUF(Fixtures.url("gguf/other.gguf"))
    }
    #expect(error.message.contains("tensor other: is stored as IQ4_XS"))
  }

  // MARK: - Bad files

  @Test func `a file cut anywhere is an error`() throws {
    let whole = try Data(contentsOf: Self.types)
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("cut.gguf")
      // Every place of the header, then a few of the data.
      for count in Array(0..<1200) + [whole.count / 2, whole.count - 40] {
        try whole.prefix(count).write(to: url)
        let error = try #require(throws: EngineError.self, "\(count)") { _ = try GGUF(url) }
        #expect(error.message.hasPrefix(url.path))
      }
    }
  }

  @Test func `no damage crashes`() throws {
    let whole = try Data(contentsOf: Self.types)
    var generator = SplitMix(seed: 11)
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("damaged.gguf")
      for _ in 0..<400 {
        var data = whole
        for _ in 0..<3 {
          let place = Int.random(in: 4..<1300, using: &generator)
          data[place] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &generator) ?? 0
        }
        try data.write(to: url)
        guard let gguf = try? GGUF(url) else { continue }
        for name in gguf.names { _ = try? gguf.read(name) }
      }
    }
  }

  /// A header of one key or tensor.
  private static func file(
    version: UInt32 = 3, tensors: UInt64 = 0, keys: UInt64 = 0, body: (inout Data) -> Void
  ) -> Data {
    var data = Data("GGUF".utf8)
    append(version, to: &data)
    append(tensors, to: &data)
    append(keys, to: &data)
    body(&data)
    return data
  }

  private static func append<Value: FixedWidthInteger>(_ value: Value, to data: inout Data) {
    withUnsafeBytes(of: value.littleEndian) { data.append(contentsOf: $0) }
  }

  private static func name(_ text: String, to data: inout Data) {
    append(UInt64(text.utf8.count), to: &data)
    data.append(contentsOf: text.utf8)
  }

  private static func tensor(
    _ sizes: [UInt64], type: UInt32 = 0, offset: UInt64 = 0, padding: Int = 64
  ) -> Data {
    file(tensors: 1) { data in
      describe("t", sizes, type, at: offset, to: &data)
      data.append(Data(count: padding))
    }
  }

  private static func describe(
    _ tensor: String, _ sizes: [UInt64], _ type: UInt32, at offset: UInt64, to data: inout Data
  ) {
    name(tensor, to: &data)
    append(UInt32(sizes.count), to: &data)
    for size in sizes { append(size, to: &data) }
    append(type, to: &data)
    append(offset, to: &data)
  }

  /// The data of a file of tensors of 512 elements, one after another, whose header says their types.
  private static func file(_ stored: [GGUFType], said: [GGUFType]) -> Data {
    var offset = 0
    var data = file(tensors: UInt64(said.count)) { data in
      for (i, type) in said.enumerated() {
        describe("t\(i)", [512], type.rawValue, at: UInt64(offset), to: &data)
        offset += (bytes(stored[i]) + 31) / 32 * 32
      }
    }
    data.append(Data(count: (32 - data.count % 32) % 32))
    let last = bytes(stored[stored.count - 1])
    data.append(Data(count: offset - (last + 31) / 32 * 32 + last))
    return data
  }

  private static func bytes(_ type: GGUFType) -> Int { 512 / type.blockElements * type.blockBytes }

  @Test(arguments: GGUFType.allCases)
  func `a file that lacks a byte, or whose tensors' types are swapped, is refused`(
    type: GGUFType
  ) throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("typed.gguf")
      func open(_ data: Data) throws -> GGUF {
        try data.write(to: url)
        return try GGUF(url)
      }
      let whole = Self.file([type], said: [type])
      #expect(try open(whole).read("t0").count == 512)
      for lacking in [1, Self.bytes(type)] {
        let cut = try #require(throws: EngineError.self) { try open(whole.dropLast(lacking)) }
        #expect(cut.message.contains("t0 needs \(Self.bytes(type)) bytes"), "\(cut.message)")
      }
      if type.blockElements > 1 {
        let row = UInt64(type.blockElements + 8)
        let odd = try #require(throws: EngineError.self) {
          try open(Self.tensor([row], type: type.rawValue))
        }
        #expect(
          odd.message.contains("rows of \(row) are not whole blocks of \(type.blockElements)"))
      }
      // A header can't be told from a right one where the padding hides the difference.
      for other in GGUFType.allCases
      where abs(Self.bytes(other) - Self.bytes(type)) >= 32 {
        let error = try #require(throws: EngineError.self) {
          try open(Self.file([type, other], said: [other, type]))
        }
        #expect(
          error.message.contains(
            Self.bytes(other) > Self.bytes(type) ? "t1 overlaps the one before it" : "t1 needs"))
      }
    }
  }

  static let bad: [(Data, String)] = [
    (Data("GGUF".utf8), "is no GGUF file"),
    (Data("PK".utf8) + Data(count: 40), "is no GGUF file"),
    (file(version: 1) { $0.append(Data(count: 64)) }, "version 1"),
    (file(version: 0x0300_0000) { $0.append(Data(count: 64)) }, "big-endian"),
    (file(tensors: 1 << 60) { $0.append(Data(count: 64)) }, "claims 1152921504606846976"),
    (file(keys: .max) { $0.append(Data(count: 64)) }, "claims 18446744073709551615"),
    (
      file(keys: 1) { data in
        append(UInt64(1) << 60, to: &data)
        data.append(Data(count: 64))
      }, "the length of the name of key 0 claims"
    ),
    (
      file(keys: 1) { data in
        name("list", to: &data)
        append(UInt32(9), to: &data)
        append(UInt32(0), to: &data)
        append(UInt64(1) << 60, to: &data)
        data.append(Data(count: 64))
      }, "list claims"
    ),
    (
      file(keys: 1) { data in
        name("odd", to: &data)
        append(UInt32(99), to: &data)
        data.append(Data(count: 64))
      }, "odd has the unknown type 99"
    ),
    (
      file(keys: 1) { data in
        name("deep", to: &data)
        append(UInt32(9), to: &data)
        for _ in 0..<1000 {
          append(UInt32(9), to: &data)
          append(UInt64(1), to: &data)
        }
      }, "deep nests too deep"
    ),
    (
      file(keys: 1) { data in
        name("general.alignment", to: &data)
        append(UInt32(4), to: &data)
        append(UInt32(0), to: &data)
        data.append(Data(count: 64))
      }, "general.alignment"
    ),
    (tensor([1 << 62, 4]), "tensor t: its size overflows"),
    (tensor([.max]), "tensor t: its size overflows"),
    (tensor([1 << 58]), "tensor t needs"),
    (tensor([4, 4, 4, 4, 4]), "5 dimensions"),
    (tensor([8], offset: 1 << 40), "tensor t needs"),
    (tensor([8], offset: .max), "its place overflows"),
    (tensor([8], offset: 4), "not aligned"),
    (tensor([48], type: 3), "not whole blocks"),
    (tensor([256], type: 23), "is stored as IQ4_XS; read are F32, F16, Q4_0, Q4_1, Q5_0, Q5_1"),
    (tensor([8], type: 4242), "is stored as type 4242"),
    (tensor([64]), "it is truncated"),
  ]

  @Test(arguments: bad.indices)
  func `a damaged file is an error that names the place`(index: Int) throws {
    let (data, expected) = Self.bad[index]
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("bad.gguf")
      try data.write(to: url)
      let error = try #require(throws: EngineError.self) { _ = try GGUF(url) }
      #expect(error.message.contains(expected), "\(error.message)")
      #expect(error.message.hasPrefix(url.path))
    }
  }

  @Test func `a model without its metadata or of another kind is refused by name`() throws {
    let error = try #require(throws: EngineError.self) { _ = try Checkpoint.open(Self.types) }
    #expect(error.message.contains("general.architecture") || error.message.contains("token_embd"))
  }
}
