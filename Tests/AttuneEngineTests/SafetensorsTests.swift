// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneFiles
import AttuneTestSupport
import Foundation
import Testing

struct SafetensorsTests {
  private static let values: [Float] = [
    0, -0.0, 1, -1, 0.1, 65504, 65520, 1e-8, 6e-8, 5.96e-8, 1e30, -3.14159, .infinity,
    1.00048828125,
    1.0014648, 0.99951172,
  ]

  @Test(arguments: Safetensors.ElementType.allCases)
  func `what is written is read again, rounded to its type`(
    type: Safetensors.ElementType
  ) throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      let vector: [Float] = [7]
      try Safetensors.write(
        [("b.weight", [4, 4], Self.values), ("a", [1], vector), ("none", [0, 3], [])],
        metadata: ["step": "12", "text": "\"quoted\"\n"], to: url, as: type)
      let file = try Safetensors.File(url)
      #expect(file.names == ["a", "b.weight", "none"])
      #expect(file.metadata == ["step": "12", "text": "\"quoted\"\n"])
      #expect(file.shape(of: "b.weight") == [4, 4])
      #expect(file.shape(of: "c") == nil)
      #expect(try file.read("none").isEmpty)
      #expect(try file.read("a") == vector)
      let expected = Self.values.map { value in
        switch type {
        case .float32: value
        case .float16: Float(Float16(value))
        case .bfloat16: Self.nearestBrain(value)
        case .uint8: value  // no type of weights
        }
      }
      #expect(try file.read("b.weight").map(\.bitPattern) == expected.map(\.bitPattern))
      // Only the file itself is there: nothing beside it.
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.safetensors"])
    }
  }

  @Test func `codes are written as bytes and are no weights`() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      let codes = (0..<256).map { Float($0) }
      try Safetensors.write([("codes", [2, 128], codes)], to: url, as: .uint8)
      let file = try Safetensors.File(url)
      #expect(file.isCodes("codes") && !file.isCodes("none"))
      #expect(try file.readCodes("codes") == codes)
      #expect(throws: EngineError.self) { try file.read("codes") }
      #expect(throws: EngineError.self) { try file.readCodes("none") }
      try Safetensors.write([("weights", [1], [1])], to: url)
      #expect(throws: EngineError.self) { try Safetensors.File(url).readCodes("weights") }
    }
  }

  /// Of the two bfloat16 numbers around a value the nearer, the even one of two as near.
  private static func nearestBrain(_ value: Float) -> Float {
    guard value.isFinite else { return value }
    let low = Float(bitPattern: value.bitPattern & 0xFFFF_0000)
    let high = Float(bitPattern: (value.bitPattern & 0xFFFF_0000) &+ 0x1_0000)
    let (down, up) = (abs(Double(value) - Double(low)), abs(Double(high) - Double(value)))
    if down != up { return down < up ? low : high }
    return (low.bitPattern >> 16) % 2 == 0 ? low : high
  }

  @Test func `every float16 is read as the number it is`() throws {
    for bits in UInt16.min...UInt16.max {
      let expected = Float(Float16(bitPattern: bits))
      let found = ElementConversion.float(half: bits)
      #expect(found == expected || found.isNaN && expected.isNaN, "\(bits)")
      if !expected.isNaN { #expect(ElementConversion.half(expected) == bits) }
    }
  }

  @Test func `numbers round to the nearest float16`() {
    var generator = SplitMix(seed: 5)
    for _ in 0..<200_000 {
      let value = Float(bitPattern: UInt32(truncatingIfNeeded: generator.next()))
      let found = ElementConversion.half(value)
      let expected = Float16(value)
      #expect(found == expected.bitPattern || value.isNaN && Float16(bitPattern: found).isNaN)
    }
  }

  @Test func `long tensors are read whole, in parts and by several threads`() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      let values = (0..<(3 << 20) + 5).map { Float($0) }
      try Safetensors.write([("a", [values.count], values)], to: url)
      let file = try Safetensors.File(url)
      #expect(try file.read("a") == values)
      var part = [Float](repeating: 0, count: 10)
      try part.withUnsafeMutableBufferPointer { try file.read("a", from: 1_048_571, into: $0) }
      #expect(part == Array(values[1_048_571..<1_048_581]))
    }
  }

  // MARK: - Bad files

  private static func file(_ header: String, data: Int) -> Data {
    var bytes = Data()
    withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: header.utf8)
    bytes.append(Data(count: data))
    return bytes
  }

  private static func tensor(
    _ name: String, _ type: String, _ shape: String, _ offsets: String
  ) -> String {
    "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
  }

  static let bad: [(String, Data, String)] = [
    ("empty", Data(), "no safetensors file"),
    (
      "2^60", Data([0, 0, 0, 0, 0, 0, 0, 0x10]) + Data("{}".utf8),
      "claims 1152921504606846976 bytes"
    ),
    ("2^64 - 1", Data(repeating: 0xFF, count: 16), "claims 18446744073709551615 bytes"),
    ("header cut", file("{\"a\":", data: 0), "no JSON object"),
    ("list", file("[]", data: 0), "no JSON object"),
    ("nested", file(String(repeating: "{\"a\":", count: 5000), data: 0), "no JSON object"),
    ("fields", file("{\"a\":{\"dtype\":\"F32\"}}", data: 0), "tensor a: the header lacks"),
    ("truncated", file("{\(tensor("a", "F32", "[4]", "[0,16]"))}", data: 12), "tensor a: ends 4"),
    ("far", file("{\(tensor("a", "F32", "[4]", "[1600,1616]"))}", data: 16), "tensor a: ends 1600"),
    ("backwards", file("{\(tensor("a", "F32", "[4]", "[16,0]"))}", data: 16), "do not fit"),
    ("negative", file("{\(tensor("a", "F32", "[-4]", "[0,16]"))}", data: 16), "a bad shape"),
    (
      "offset below", file("{\(tensor("a", "F32", "[4]", "[-16,0]"))}", data: 16), "do not fit"
    ),
    (
      "huge offset", file("{\(tensor("a", "F32", "[4]", "[0,1e30]"))}", data: 16),
      "tensor a: the header lacks"
    ),
    (
      "extremes",
      file(
        "{\(tensor("a", "F32", "[4]", "[-9223372036854775808,9223372036854775807]"))}", data: 16),
      "do not fit"
    ),
    (
      "shape overflows",
      file("{\(tensor("a", "F32", "[4611686018427387904,4]", "[0,16]"))}", data: 16), "overflows"
    ),
    ("wrong size", file("{\(tensor("a", "F32", "[5]", "[0,16]"))}", data: 16), "do not fit"),
    ("type", file("{\(tensor("a", "F7", "[4]", "[0,16]"))}", data: 16), "type F7"),
    (
      "overlap",
      file(
        "{\(tensor("a", "F32", "[4]", "[0,16]")),\(tensor("b", "F32", "[4]", "[8,24]"))}", data: 24),
      "tensor b overlaps"
    ),
    (
      "more", file("{\(tensor("a", "F32", "[4]", "[0,16]"))}", data: 21),
      "5 bytes of the file belong to no tensor"
    ),
    (
      "hole",
      file(
        "{\(tensor("a", "F32", "[1]", "[0,4]")),\(tensor("b", "F32", "[1]", "[8,12]"))}", data: 12),
      "4 bytes of the file belong to no tensor"
    ),
  ]

  @Test(arguments: bad.indices)
  func `a damaged file is an error that names the place`(index: Int) throws {
    let (name, data, expected) = Self.bad[index]
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("bad.safetensors")
      try data.write(to: url)
      let error = try #require(throws: EngineError.self, "\(name)") {
        _ = try Safetensors.File(url)
      }
      #expect(error.message.contains(expected), "\(name): \(error.message)")
      #expect(error.message.hasPrefix(url.path))
    }
  }

  @Test(arguments: ["safetensors", "gguf"])
  func `a sparse file of 256 GB is an error at once`(kind: String) throws {
    func little(_ numbers: UInt64..., magic: Bool = true) -> Data {
      // The magic and version 3, or nothing, and numbers of eight bytes.
      var data = magic ? Data([0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0]) : Data()
      for number in numbers {
        withUnsafeBytes(of: number.littleEndian) { data.append(contentsOf: $0) }
      }
      return data
    }
    // A header of zeros, and headers that claim as much as the file has.
    var starts: [(Data, String)] = [(Data(), kind == "gguf" ? "no GGUF file" : "no JSON object")]
    if kind == "gguf" {
      // One key "a", an array of bytes.
      var key = little(0, 1, 1)
      key.append(contentsOf: [0x61, 9, 0, 0, 0, 0, 0, 0, 0])
      key.append(little(200 << 30, magic: false))
      starts.append((key, "a claims 214748364800 items"))
      starts.append((little(9 << 30, 0), "the number of tensors claims"))
      starts.append((little(0, 1, 99 << 30), "takes the header beyond 1024 MB"))
      starts.append((little(0, 0), "bytes after its last tensor belong to nothing"))
    } else {
      let header = "{" + Self.tensor("a", "F32", "[4]", "[0,16]") + "}"
      starts.append((Self.file(header, data: 16), "bytes of the file belong to no tensor"))
      starts.append((little(1 << 37, magic: false), "the header claims"))
    }
    for (start, expected) in starts {
      try withTemporaryFolder { folder in
        let url = folder.appendingPathComponent("model.\(kind)")
        try start.write(to: url)
        let handle = try FileHandle(forWritingTo: url)
        try handle.truncate(atOffset: 256 << 30)
        try handle.close()
        let error = try #require(throws: EngineError.self) {
          if kind == "gguf" { _ = try GGUF(url) } else { _ = try Safetensors.File(url) }
        }
        #expect(error.message.contains(expected), "\(error.message)")
      }
    }
  }

  @Test func `a type that holds no floats is an error only when it is read`() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("mask.safetensors")
      let header =
        "{\(Self.tensor("mask", "U8", "[3]", "[0,3]")),\(Self.tensor("a", "F32", "[1]", "[3,7]"))}"
      try Self.file(header, data: 7).write(to: url)
      let file = try Safetensors.File(url)
      #expect(try file.read("a") == [0])
      let error = try #require(throws: EngineError.self) { _ = try file.read("mask") }
      #expect(error.message == "\(url.path): tensor mask is of type U8, not F32, F16, BF16 or F64")
      let missing = try #require(throws: EngineError.self) { _ = try file.read("b") }
      #expect(missing.message == "\(url.path): has no tensor b")
    }
  }

  @Test func `a file that shrinks after it was opened is an error`() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      try Safetensors.write([("a", [1000], [Float](repeating: 1, count: 1000))], to: url)
      let file = try Safetensors.File(url)
      let handle = try FileHandle(forWritingTo: url)
      try handle.truncate(atOffset: 2000)
      try handle.close()
      let error = try #require(throws: EngineError.self) { _ = try file.read("a") }
      #expect(error.message.contains("ends at byte 2000"))
    }
  }

  @Test func `what is no file or not there is an error`() throws {
    try withTemporaryFolder { folder in
      #expect(throws: EngineError.self) { _ = try Safetensors.File(folder) }
      let missing = folder.appendingPathComponent("missing")
      let error = try #require(throws: EngineError.self) { _ = try Safetensors.File(missing) }
      #expect(error.message == "\(missing.path): No such file or directory")
      let nowhere = missing.appendingPathComponent("a.safetensors")
      #expect(throws: FileError.self) { try Safetensors.write([("a", [1], [1])], to: nowhere) }
    }
  }

  @Test func `an unfinished file leaves the old one as it was and nothing beside it`() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      try Safetensors.write([("a", [1], [1])], to: url)
      do {
        let writer = try Safetensors.Writer(
          url, layout: [("a", [2], .float32), ("b", [1], .float32)])
        try [Float]([2, 3]).withUnsafeBufferPointer { try writer.write("a", $0) }
      }
      #expect(try Safetensors.File(url).read("a") == [1])
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.safetensors"])
    }
  }

  #if os(Linux)
    @Test func `a folder that takes no files is an error`() throws {
      let error = try #require(throws: FileError.self) {
        try Safetensors.write([("a", [1], [1])], to: URL(fileURLWithPath: "/proc/a.safetensors"))
      }
      #expect(error.message.hasPrefix("/proc/a.safetensors: can't be written"))
    }
  #endif
}
