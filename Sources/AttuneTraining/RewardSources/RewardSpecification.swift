// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A reward source as the command line names it: `model:DIR`, `labeller:NAME`, each with `@weight`.
///
/// The text after the last `@` is the weight if it is a number; `…@1` protects a name that ends
/// like one.
public struct RewardSpecification: Codable, Sendable, Equatable {
  /// What kinds of sources there are.
  public enum Kind: String, CaseIterable, Codable, Sendable {
    /// A reward model's folder.
    case model
    /// A built-in labeller.
    case labeller
  }

  /// The kind.
  public var kind: Kind
  /// What stands after the kind: a folder, a name.
  public var argument: String
  /// What the score is multiplied by.
  public var weight: Double

  /// Reads a source.
  ///
  /// - Parameter text: `KIND:ARGUMENT` or `KIND:ARGUMENT@WEIGHT`.
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  public init(_ text: String) throws {
    var text = Substring(text)
    let whole = String(text)
    weight = 1
    if let at = text.lastIndex(of: "@"), let number = Double(text[text.index(after: at)...]),
      number.isFinite
    {
      weight = number
      text = text[..<at]
    }
    let kinds = Kind.allCases.map(\.rawValue)
    guard let colon = text.firstIndex(of: ":") else {
      throw TrainingError(
        .badSetting, "reward source \(whole): write \(kinds[0]):DIR or \(kinds[1]):NAME")
    }
    let name = String(text[..<colon])
    guard let kind = Kind(rawValue: name) else {
      throw TrainingError(
        .badSetting,
        "reward source \(whole): there is no kind \(name)\(hint(for: name, among: kinds))")
    }
    self.kind = kind
    argument = String(text[text.index(after: colon)...])
    guard !argument.isEmpty else {
      throw TrainingError(.badSetting, "reward source \(whole): nothing stands after \(name):")
    }
    if kind == .labeller { _ = try Labeller.named(argument) }
  }

  /// A labeller as a source.
  public init(labeller: Labeller) {
    kind = .labeller
    argument = labeller.rawValue
    weight = 1
  }

  /// The source without its weight.
  public var name: String { "\(kind.rawValue):\(argument)" }
}
