// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Where the rows of a command come from: one file or several, folders of files, or a mixture of files by
/// weight; and what their columns are called.
public struct DataSource: Sendable {
  /// A file, with its share of the mixture if there is one.
  public struct Part: Sendable {
    /// The file.
    public var url: URL
    /// The weight that was given with it; files of one folder have it together.
    public var weight: Double?
    /// Which of the given names it is from.
    var origin: Int
  }

  /// The files, in order.
  public private(set) var parts: [Part]
  /// What their columns are called.
  public var map: ColumnMap

  /// A single file as it is.
  public init(_ url: URL) {
    parts = [Part(url: url, weight: nil, origin: 0)]
    map = ColumnMap()
  }

  /// Reads names of files and folders, each with `@WEIGHT` behind it in a mixture.
  ///
  /// - Parameters:
  ///   - names: At least one.
  ///   - map: What the columns are called.
  /// - Throws: ``DataError`` that names what is at fault: a folder without data, a weight that is none,
  ///   weights on some and not on others.
  public init(_ names: [String], map: ColumnMap = ColumnMap()) throws {
    precondition(!names.isEmpty, "a command reads at least one file")
    self.map = map
    parts = []
    var weights = 0
    for (origin, name) in names.enumerated() {
      let (path, weight) = try Self.weighted(name)
      if weight != nil { weights += 1 }
      for url in try Self.files(URL(filePath: path)) {
        if parts.contains(where: { $0.url.standardizedFileURL == url.standardizedFileURL }) {
          throw DataError(.badData, "\(url.relativePath): is given twice; each row is read once")
        }
        parts.append(Part(url: url, weight: weight, origin: origin))
      }
    }
    if weights > 0 {
      guard names.count > 1 else {
        throw DataError(
          .badData, "\(names[0]): a weight mixes several files; give another --data with its own")
      }
      guard weights == names.count else {
        throw DataError(
          .badData,
          "--data: \(weights) of \(names.count) files have a weight (@); give all of them one")
      }
    }
  }

  /// Whether it is one file that is read as it stands.
  public var isPlainFile: Bool { parts.count == 1 && map.isEmpty }

  /// The name for messages.
  var url: URL {
    guard parts.count > 1 else { return parts[0].url }
    let names = parts.map(\.url.relativePath)
    let shown = names.count > 3 ? names.prefix(2) + ["\(names.count - 2) more"] : names[...]
    return URL(filePath: shown.joined(separator: " + "))
  }

  /// A name and the weight behind its last @, unless a file of the whole name is there.
  private static func weighted(_ name: String) throws -> (String, Double?) {
    guard let at = name.lastIndex(of: "@"), !FileManager.default.fileExists(atPath: name) else {
      return (name, nil)
    }
    let path = String(name[..<at])
    guard let weight = Double(name[name.index(after: at)...]) else { return (name, nil) }
    guard weight.isFinite, weight > 0 else {
      throw DataError(.badData, "\(name): the weight behind @ must be a number above 0")
    }
    return (path, weight)
  }

  private static let endings: Set<String> = [
    "jsonl", "ndjson", "json", "csv", "tsv", "tab", "parquet",
  ]

  /// The file itself, or those of a folder and the folders in it, by name.
  private static func files(_ url: URL) throws -> [URL] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder),
      isFolder.boolValue
    else { return [url] }
    let names = (try? FileManager.default.subpathsOfDirectory(atPath: url.path)) ?? []
    let found = names.sorted().filter { name in
      let file = URL(filePath: name)
      let plain = file.pathExtension.lowercased() == "gz" ? file.deletingPathExtension() : file
      return endings.contains(plain.pathExtension.lowercased())
        && !name.split(separator: "/").contains { $0.hasPrefix(".") }
    }
    guard !found.isEmpty else {
      throw DataError(
        .file,
        "\(url.relativePath): the folder has no data files (.jsonl, .json, .csv, .tsv, .parquet, also .gz)"
      )
    }
    return found.map { URL(filePath: url.relativePath + "/" + $0) }
  }
}

// MARK: - Mixtures

extension DataSource {
  /// Takes rows in the proportions of the weights: as many as there are without a row twice, spread evenly
  /// over each file, and in an order of which every beginning has about these proportions.
  ///
  /// - Parameter origins: Which of the given names each row is from.
  /// - Returns: The places of the rows that are taken, in order; nil where nothing is mixed.
  func mixture(of origins: [Int]) -> [Int]? {
    guard parts.allSatisfy({ $0.weight != nil }) else { return nil }
    var places: [Int: [Int]] = [:]
    for (place, origin) in origins.enumerated() { places[origin, default: []].append(place) }
    var weights: [Int: Double] = [:]
    for part in parts { weights[part.origin] = part.weight }
    let sum = weights.values.reduce(0, +)
    // The file that runs out first decides.
    let total = weights.map { Double(places[$0.key]?.count ?? 0) * sum / $0.value }.min() ?? 0
    var taken: [(share: Double, origin: Int, place: Int)] = []
    for (origin, weight) in weights {
      let rows = places[origin] ?? []
      let count = min(rows.count, Int((total * weight / sum + 1e-9).rounded(.down)))
      for index in 0..<count {
        taken.append(
          ((Double(index) + 0.5) / Double(count), origin, rows[index * rows.count / count]))
      }
    }
    return taken.sorted { ($0.share, $0.origin) < ($1.share, $1.origin) }.map(\.place)
  }
}
