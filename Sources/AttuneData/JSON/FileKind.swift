// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Tells what a file is that holds no JSON, by how it begins and ends its name, and what to do.
enum FileKind {
  private static let magic: [(bytes: [UInt8], what: String, cure: String)] = [
    ([0xFF, 0xFE], "UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    ([0xFE, 0xFF], "UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    (Array("ARROW1".utf8), "Arrow", pandas("feather")),
    ([0x28, 0xB5, 0x2F, 0xFD], "compressed by zstd", "zstd -d FILE"),
    ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0], "compressed by xz", "xz -dk FILE"),
    (Array("BZh".utf8), "compressed by bzip2", "bzip2 -dk FILE"),
    ([0x37, 0x7A, 0xBC, 0xAF], "a 7z archive", "7z x FILE"),
    ([0x50, 0x4B, 3, 4], "a ZIP archive", "unzip FILE"),
    (Array("%PDF".utf8), "PDF", "take its text out first"),
    (
      Array("SQLite format 3".utf8), "an SQLite database",
      "attune feedback export, if it is a store"
    ),
    (Array("GGUF".utf8), "a model", "give it to --model"),
    ([0x89, 0x48, 0x44, 0x46], "HDF5", "write its rows as JSON lines"),
    (
      Array("version https://git-lfs".utf8), "a pointer of Git LFS and not the data", "git lfs pull"
    ),
  ]
  private static func pandas(_ kind: String) -> String {
    "python3 -c \"import pandas; "
      + "pandas.read_\(kind)('FILE').to_json('NEW',orient='records',lines=True)\""
  }

  /// Refuses a file that holds no JSON.
  ///
  /// - Parameters:
  ///   - start: How it begins, after gunzip.
  ///   - url: The file.
  /// - Throws: ``DataError`` that says what it is and how rows come out of it.
  static func check(_ start: [UInt8], of url: URL) throws {
    func refuse(_ what: String, _ cure: String) -> DataError {
      let name = url.relativePath
      let stem = url.deletingPathExtension().lastPathComponent
      let isText = TableRows.isTable(url) || url.pathExtension == "jsonl"
      let new = stem + (isText ? "-utf8.\(url.pathExtension)" : ".jsonl")
      let ready = cure.replacing("FILE", with: name).replacing("NEW", with: new)
      return DataError(
        .badData, "\(name): this is \(what), not rows in UTF-8; convert it: \(ready)")
    }
    let ending = url.pathExtension.lowercased()
    if ["xlsx", "xls", "ods"].contains(ending) {
      throw refuse("a spreadsheet", "save the sheet as CSV, in UTF-8, and give that")
    }
    if let kind = magic.first(where: { start.starts(with: $0.bytes) }) {
      throw refuse(kind.what, kind.cure)
    }
    if start.count > 262, Array(start[257..<262]) == Array("ustar".utf8) {
      throw refuse("a tar archive", "tar -xf FILE")
    }
    // Text of one byte a character in UTF-16 without its mark.
    if start.count > 3, (start[0] == 0) != (start[1] == 0), (start[2] == 0) != (start[3] == 0) {
      let order = start[0] == 0 ? "BE" : "LE"
      throw refuse("UTF-16", "iconv -f UTF-16\(order) -t UTF-8 FILE > NEW")
    }
    let text = start.starts(with: [0xEF, 0xBB, 0xBF]) ? start.dropFirst(3) : start[...]
    guard let first = text.first(where: { !isSpace($0) }) else { return }
    if first == 0 {
      throw DataError(
        .badData,
        "\(url.relativePath): begins with NUL bytes, so it is no text; expected JSON lines")
    }
    guard first != UInt8(ascii: "{"), first != UInt8(ascii: "["), !TableRows.isTable(url) else {
      return
    }
    if first == UInt8(ascii: "<") { throw refuse("a web page or XML", "download the file itself") }
    let line = text.prefix { $0 != 10 }
    func columns(_ byte: UInt8) -> Int { line.count { $0 == byte } }
    if columns(9) > 0 { throw refuse("text, perhaps a TSV table", "cp FILE \(stem(url)).tsv") }
    if columns(UInt8(ascii: ",")) > 0 || columns(UInt8(ascii: ";")) > 0 {
      throw refuse("text, perhaps a CSV table", "cp FILE \(stem(url)).csv")
    }
  }

  private static func stem(_ url: URL) -> String { url.deletingPathExtension().lastPathComponent }

  /// Whether a byte parts the values of JSON.
  static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 10 || byte == 13 }
}
