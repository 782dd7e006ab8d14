// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import Foundation

/// TensorBoard's event files: records of protocol buffers (`event.proto`, `summary.proto`) with checksums.
final class TensorBoardTracker: Tracker {
  private let url: URL
  private let settings: [(name: String, value: String)]
  private var file: FileHandle?

  /// - Throws: `FileError` if the folder can't be made, or what an earlier process wrote can't be removed.
  init(in folder: URL, settings: [(name: String, value: String)]) throws {
    self.settings = settings
    let own = folder.appending(path: "tensorboard", directoryHint: .isDirectory)
    try AtomicFile.makeFolder(own)
    for name in (try? FileManager.default.contentsOfDirectory(atPath: own.path)) ?? []
    where name.hasPrefix("events.out.tfevents.") && name.hasSuffix(".attune") {
      try? FileManager.default.removeItem(at: own.appending(path: name))
    }
    let now = Int(Date().timeIntervalSince1970)
    url = own.appending(
      path: "events.out.tfevents.\(now).\(ProcessInfo.processInfo.hostName).\(getpid()).attune")
  }

  func begin(_ steps: [TrackedStep]) throws {
    let time = steps.first?.time ?? Date().timeIntervalSince1970
    var bytes = Self.record(Self.event(time: time) { $0.text(3, "brain.Event:2") })
    bytes += Self.record(
      Self.text("settings", table(settings, heads: ("setting", "value")), step: 0, time: time))
    for step in steps { bytes += Self.scalars(step) }
    try AtomicFile.write(Data(bytes), to: url)
    do {
      file = try FileHandle(forWritingTo: url)
      try file?.seekToEnd()
    } catch {
      throw FileError("\(url.path): can't be written: \(reason(error))")
    }
  }

  func add(_ step: TrackedStep) throws { try append(Self.scalars(step), last: step) }

  func finish(_ figures: [(name: String, value: Double)]) throws {
    guard let last, !figures.isEmpty else { return }
    try append(
      Self.scalars(TrackedStep(step: last.step, time: last.time, values: figures))
        + Self.record(
          Self.text(
            "final", table(figures.map { ($0.name, "\($0.value)") }, heads: ("figure", "value")),
            step: last.step, time: last.time)),
      last: last)
  }

  private var last: TrackedStep?

  private func append(_ bytes: [UInt8], last step: TrackedStep) throws {
    last = step
    do {
      try file?.write(contentsOf: bytes)
    } catch {
      throw FileError("\(url.path): can't be written: \(reason(error))")
    }
  }

  /// Markdown, which the page of texts shows.
  private func table(
    _ rows: [(name: String, value: String)], heads: (String, String)
  ) -> String {
    "| \(heads.0) | \(heads.1) |\n| --- | --- |\n"
      + rows.map {
        "| \($0.name) | \($0.value.replacing("|", with: "\\|").replacing("\n", with: " ")) |\n"
      }
      .joined()
  }

  // MARK: - Messages

  private static func event(
    time: Double, step: Int = 0, _ body: (inout Message) -> Void
  ) -> [UInt8] {
    var event = Message()
    event.double(1, time)
    if step != 0 { event.number(2, UInt64(bitPattern: Int64(step))) }
    body(&event)
    return event.bytes
  }

  private static func scalars(_ step: TrackedStep) -> [UInt8] {
    var summary = Message()
    for (name, value) in step.values {
      var item = Message()
      item.text(1, name)
      item.float(2, Float(value))
      summary.message(1, item)
    }
    return record(event(time: step.time, step: step.step) { $0.message(5, summary) })
  }

  /// A text as the plugin of that name reads it: a tensor of one string.
  private static func text(_ tag: String, _ text: String, step: Int, time: Double) -> [UInt8] {
    var plugin = Message()
    plugin.text(1, "text")
    var metadata = Message()
    metadata.message(1, plugin)
    var tensor = Message()
    // DT_STRING, of the shape [1].
    tensor.number(1, 7)
    var size = Message()
    size.number(1, 1)
    var shape = Message()
    shape.message(2, size)
    tensor.message(2, shape)
    tensor.text(8, text)
    var item = Message()
    item.text(1, tag)
    item.message(8, tensor)
    item.message(9, metadata)
    var summary = Message()
    summary.message(1, item)
    return event(time: time, step: step) { $0.message(5, summary) }
  }

  /// A record: its length, the checksum of that, the message, its checksum.
  private static func record(_ message: [UInt8]) -> [UInt8] {
    func little(_ value: some FixedWidthInteger) -> [UInt8] {
      withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
    let length = little(UInt64(message.count))
    return length + little(maskedChecksum(length)) + message + little(maskedChecksum(message))
  }

  /// CRC-32C, turned and shifted as TensorFlow has it.
  private static func maskedChecksum(_ bytes: [UInt8]) -> UInt32 {
    var sum: UInt32 = 0xFFFF_FFFF
    for byte in bytes { sum = table[Int((sum ^ UInt32(byte)) & 0xFF)] ^ (sum >> 8) }
    sum = ~sum
    return (sum >> 15 | sum << 17) &+ 0xA282_EAD8
  }

  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0x82F6_3B78 : sum >> 1 }
  }
}

/// A message in the format of protocol buffers.
private struct Message {
  private(set) var bytes: [UInt8] = []

  private mutating func varint(_ value: UInt64) {
    var value = value
    while value >= 0x80 {
      bytes.append(UInt8(value & 0x7F) | 0x80)
      value >>= 7
    }
    bytes.append(UInt8(value))
  }

  private mutating func tag(_ field: UInt64, _ kind: UInt64) { varint(field << 3 | kind) }

  mutating func number(_ field: UInt64, _ value: UInt64) {
    tag(field, 0)
    varint(value)
  }

  mutating func double(_ field: UInt64, _ value: Double) {
    tag(field, 1)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
  }

  mutating func float(_ field: UInt64, _ value: Float) {
    tag(field, 5)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
  }

  mutating func text(_ field: UInt64, _ text: String) {
    tag(field, 2)
    varint(UInt64(text.utf8.count))
    bytes += text.utf8
  }

  mutating func message(_ field: UInt64, _ message: Message) {
    tag(field, 2)
    varint(UInt64(message.bytes.count))
    bytes += message.bytes
  }
}
