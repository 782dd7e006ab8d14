// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
public import Foundation

/// SHA-256 digests, in hexadecimal: what a run records of its inputs.
public enum Fingerprint {
  /// The digest of bytes in memory.
  public static func of(_ data: Data) -> String {
    var digest = SHA256Digest()
    data.withUnsafeBytes { digest.update($0) }
    return digest.hexadecimal()
  }

  /// The digest of a value: of its JSON with sorted keys.
  ///
  /// - Throws: `TrainingError` if the value has a number that is not finite.
  public static func of(value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return of(try encoder.encode(value))
    } catch {
      throw TrainingError(.badSetting, "a setting is not a finite number: \(error)")
    }
  }

  /// The digest of a file, read in pieces.
  ///
  /// - Throws: `TrainingError` if the file can't be read.
  public static func of(file url: URL) throws -> String {
    var digest = SHA256Digest()
    let handle: FileHandle
    do {
      handle = try FileHandle(forReadingFrom: url)
    } catch {
      throw TrainingError(.file, "\(url.path): can't be read: \(reason(error))")
    }
    defer { try? handle.close() }
    while true {
      let piece: Data?
      do {
        piece = try handle.read(upToCount: 1 << 22)
      } catch {
        throw TrainingError(.file, "\(url.path): can't be read: \(reason(error))")
      }
      guard let piece, !piece.isEmpty else { break }
      piece.withUnsafeBytes { digest.update($0) }
    }
    return digest.hexadecimal()
  }

  /// The digest of rows: of their file as it stands, or of what they say where they have none.
  ///
  /// - Throws: `TrainingError` if the file can't be read.
  public static func of(data: DataFile) throws -> String {
    if !data.isInMemory, data.isPlainFile { return try of(file: data.url) }
    return of(Data(data.rows.map { $0.json.text + "\n" }.joined().utf8))
  }

  /// The digest of a model: a `.gguf` file, or the files of a folder that make the model up
  /// (weights, configuration, tokenizer, chat template, adapter), each with its name.
  ///
  /// What a training run leaves beside the model (metrics, checkpoints) does not count.
  ///
  /// - Throws: `TrainingError` if a file can't be read.
  public static func of(model url: URL) throws -> String {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isDirectory) else {
      throw TrainingError(.badModel, "\(url.path): there is no such file or folder")
    }
    guard isDirectory.boolValue else { return try of(file: url) }
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: url.path)
    } catch {
      throw TrainingError(.file, "\(url.path): can't be listed: \(reason(error))")
    }
    var digest = SHA256Digest()
    for name in names.sorted() where isPartOfModel(name) {
      let file = url.appending(path: name)
      let own = try name == "attune.json" ? of(note: file) : of(file: file)
      digest.update(name + "\u{0}" + own + "\n")
    }
    return digest.hexadecimal()
  }

  /// What a model notes of its base is the base's fingerprint; where that lies says nothing.
  private static func of(note file: URL) throws -> String {
    guard let data = try? Data(contentsOf: file),
      var note = try? JSONText.read(LoadedModel.Note.self, from: data)
    else { return try of(file: file) }
    note.base?.name = ""
    return try of(value: note)
  }

  private static func isPartOfModel(_ name: String) -> Bool {
    let parts = [
      "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
      "special_tokens_map.json", "chat_template.jinja", "adapter_config.json", "attune.json",
      "model.safetensors.index.json",
    ]
    return parts.contains(name)
      || (name.hasSuffix(".safetensors") && !name.hasPrefix("checkpoint"))
  }
}
