// SPDX-License-Identifier: Apache-2.0

/// The knobs of serving a model to its users: of `attune serve`.
public struct ServeSettings: Codable, Sendable, Equatable {
  /// Answers that are decoded side by side.
  public var sequences = 32
  /// Answers that ended whose keys and values are kept, so that a conversation's next turn is read from
  /// where it was.
  public var kept = 16
  /// Most tokens of a prompt and its answer; 0 takes what the model reads, halved until there is memory.
  public var context = 0
  /// Requests that may wait; the next one is told to come later (429).
  public var queue = 128
  /// Most answers that one request may ask for.
  public var answers = 128
  /// Connections at once.
  public var connections = 512

  /// The defaults.
  public init() {}

  /// Checks ranges.
  ///
  /// - Throws: ``ServerError`` that names the knob.
  public func validate() throws {
    func require(_ isGood: Bool, _ knob: String, _ range: String) throws {
      guard isGood else { throw ServerError(.badSetting, "\(knob) must be \(range)") }
    }
    try require((1...4096).contains(sequences), "sequences", "1 to 4096")
    try require((0...4096).contains(kept), "kept", "0 to 4096")
    try require(context == 0 || context >= 16, "context", "0, or at least 16")
    try require((1...65_536).contains(queue), "queue", "1 to 65536")
    try require((1...65_536).contains(answers), "answers", "1 to 65536")
    try require((1...65_536).contains(connections), "connections", "1 to 65536")
  }
}
