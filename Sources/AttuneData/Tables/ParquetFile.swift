// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A Parquet file's description of itself: its columns and where their pages lie.
struct ParquetFile {
  /// What a column's values are in the file.
  enum Physical: Int {
    case boolean, int32, int64, int96, float, double, byteArray, fixedByteArray
  }

  /// What they mean.
  enum Meaning {
    case plain
    case text
    case unsigned
    case decimal(scale: Int)
    case date
    /// So many units a second, since 1970.
    case time(units: Int)
  }

  /// A field of the schema, a group or a column.
  final class Node {
    let name: String
    /// 0 required, 1 optional, 2 repeated.
    let repetition: Int
    var children: [Node] = []
    /// The levels at which it is there.
    var definition = 0
    var repeats = 0
    var isList = false
    var isMap = false
    /// Of a column: what its values are.
    var physical: Physical?
    var meaning = Meaning.plain
    var width = 0
    /// Its place among the columns; of a group that of its first one.
    var column = 0
    var columns: Range<Int> = 0..<0

    init(name: String, repetition: Int) {
      self.name = name
      self.repetition = repetition
    }
  }

  /// Where a column of a row group lies.
  struct Chunk {
    var codec: Int
    var values: Int
    var range: Range<Int>
  }

  let url: URL
  let root: Node
  /// The columns, in order.
  let leaves: [Node]
  /// Rows and chunks of each group.
  let groups: [(rows: Int, chunks: [Chunk])]
  private let handle: FileHandle

  /// How a file begins and ends.
  static let magic = "PAR1"

  func damaged(_ what: String) -> DataError { Self.damaged(url, what) }

  private static func damaged(_ url: URL, _ what: String) -> DataError {
    DataError(.badData, "\(url.relativePath): the Parquet file is damaged or cut: \(what)")
  }

  /// Opens a file and reads its description.
  ///
  /// - Throws: ``DataError`` that names the file and what is wrong.
  init(_ url: URL) throws {
    self.url = url
    do {
      handle = try FileHandle(forReadingFrom: url)
    } catch {
      throw DataError(.file, "\(url.relativePath): cannot be opened for reading")
    }
    let size = Int((try? handle.seekToEnd()) ?? 0)
    let end = try Self.bytes(handle, max(0, size - 8)..<size, url)
    guard size >= 12, end.suffix(4).elementsEqual(Self.magic.utf8) else {
      throw Self.damaged(url, "it does not end as one")
    }
    let length = end.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= size - 12 else { throw Self.damaged(url, "its description is longer than it") }
    let footer = try Self.bytes(handle, size - 8 - length..<size - 8, url)
    var reader = ThriftReader(footer[...])
    guard let description = try? reader.structure(), let schema = description[2]?.list else {
      throw Self.damaged(url, "its description can't be read")
    }
    (root, leaves) = try Self.tree(schema, url)
    let columns = leaves.count
    groups = try (description[4]?.list ?? []).map { group in
      guard let rows = group[3]?.int, rows >= 0, let chunks = group[1]?.list,
        chunks.count == columns
      else { throw Self.damaged(url, "a row group has other columns than the schema") }
      return (rows, try chunks.map { try Self.chunk($0, size: size, url) })
    }
  }

  /// The bytes of a range.
  func bytes(_ range: Range<Int>) throws -> [UInt8] { try Self.bytes(handle, range, url) }

  private static func bytes(
    _ handle: FileHandle, _ range: Range<Int>, _ url: URL
  ) throws -> [UInt8] {
    do {
      try handle.seek(toOffset: UInt64(range.lowerBound))
      let data = try handle.read(upToCount: range.count) ?? Data()
      guard data.count == range.count else { throw damaged(url, "it ends early") }
      return Array(data)
    } catch let error as DataError {
      throw error
    } catch {
      throw DataError(.file, "\(url.relativePath): reading failed: \(error.localizedDescription)")
    }
  }

  private static func chunk(_ value: ThriftValue, size: Int, _ url: URL) throws -> Chunk {
    guard let data = value[3], let codec = data[4]?.int, let values = data[5]?.int, values >= 0,
      let length = data[7]?.int, length >= 0, let first = data[9]?.int
    else { throw damaged(url, "a column has no description") }
    if value[1]?.text != nil {
      throw DataError(
        .badData, "\(url.relativePath): its columns lie in other files, which is not read")
    }
    // Some writers say 0 where there is no dictionary.
    let start = min(first, data[11]?.int.flatMap { $0 > 0 ? $0 : nil } ?? first)
    guard start >= 4, start <= size, length <= size - start else {
      throw damaged(url, "a column lies beyond its end")
    }
    return Chunk(codec: codec, values: values, range: start..<start + length)
  }

  // MARK: - Schema

  private static func tree(_ schema: [ThriftValue], _ url: URL) throws -> (Node, [Node]) {
    var next = 0
    var leaves: [Node] = []
    func node(_ parent: Node?, depth: Int) throws -> Node {
      guard next < schema.count, depth < 64, let name = schema[next][4]?.text else {
        throw damaged(url, "its schema can't be read")
      }
      let element = schema[next]
      next += 1
      let node = Node(name: name, repetition: parent == nil ? 0 : element[3]?.int ?? 0)
      node.definition = (parent?.definition ?? 0) + (node.repetition > 0 ? 1 : 0)
      node.repeats = (parent?.repeats ?? 0) + (node.repetition == 2 ? 1 : 0)
      let first = leaves.count
      node.column = first
      let count = element[5]?.int ?? 0
      if count > 0 || element[1] == nil {
        node.isList = element[6]?.int == 3 || element[10]?[3] != nil
        node.isMap = [1, 2].contains(element[6]?.int) || element[10]?[2] != nil
        for _ in 0..<count { node.children.append(try self_(node, depth: depth + 1)) }
      } else {
        guard let physical = element[1]?.int.flatMap(Physical.init) else {
          throw damaged(url, "the column \(name) has an unknown type")
        }
        node.physical = physical
        node.width = element[2]?.int ?? 0
        node.meaning = meaning(element)
        leaves.append(node)
      }
      node.columns = first..<leaves.count
      return node
    }
    func self_(_ parent: Node, depth: Int) throws -> Node { try node(parent, depth: depth) }
    let root = try node(nil, depth: 0)
    guard !leaves.isEmpty, next == schema.count else {
      throw damaged(url, "its schema has no columns")
    }
    return (root, leaves)
  }

  private static func meaning(_ element: ThriftValue) -> Meaning {
    let logical = element[10]
    if let unit = logical?[8]?[2] ?? logical?[7]?[2] {
      return .time(units: unit[1] != nil ? 1000 : unit[2] != nil ? 1_000_000 : 1_000_000_000)
    }
    if let decimal = logical?[5] { return .decimal(scale: decimal[1]?.int ?? 0) }
    switch element[6]?.int {
    case 0, 4, 19: return .text
    case 5: return .decimal(scale: element[7]?.int ?? 0)
    case 6: return .date
    case 9: return .time(units: 1000)
    case 10: return .time(units: 1_000_000)
    case 11, 12, 13, 14: return .unsigned
    default: return logical?[1] != nil || logical?[4] != nil || logical?[12] != nil ? .text : .plain
    }
  }
}
