// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneTestSupport
import AttuneTraining
import Foundation
import Testing

struct SentimentTests {
  private struct Fixture: Decodable {
    struct Row: Decodable {
      let text: String
      let compound: Double

      init(from decoder: any Decoder) throws {
        var values = try decoder.unkeyedContainer()
        text = try values.decode(String.self)
        compound = try values.decode(Double.self)
      }
    }

    let lexicon: [String: Double]
    let emoji: [String: String]
    let texts: [Row]
  }

  private static func fixture() throws -> Fixture {
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/vader.json")
    return try JSONDecoder().decode(Fixture.self, from: Data(contentsOf: url))
  }

  /// The fixture's entries as the package's two files, the line ends of which differ.
  private static func folder(_ fixture: Fixture) throws -> URL {
    let url = URL.temporaryDirectory.appending(path: "attune-vader-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    let words = fixture.lexicon.map { "\($0.key)\t\($0.value)\t0.5\t[1, 2]\r\n" }.joined()
    let emoji = fixture.emoji.map { "\($0.key)\t\($0.value)\n" }.joined()
    try Data(words.utf8).write(to: url.appending(path: "vader_lexicon.txt"))
    try Data(emoji.utf8).write(to: url.appending(path: "emoji_utf8_lexicon.txt"))
    return url
  }

  @Test func `scores are those of the Python package`() throws {
    let fixture = try Self.fixture()
    let folder = try Self.folder(fixture)
    defer { try? FileManager.default.removeItem(at: folder) }
    let scorer = SentimentScorer(try SentimentLexicon(folder: folder))
    #expect(fixture.texts.count > 400)
    for row in fixture.texts {
      let ours = scorer.compound(row.text)
      #expect(abs(ours - row.compound) < 1e-9, "\(row.text): \(ours), not \(row.compound)")
    }
  }

  @Test func `a lexicon that is not there says how to fetch it`() {
    let error = #expect(throws: TrainingError.self) {
      try SentimentLexicon(folder: URL(filePath: "/nowhere"))
    }
    #expect(error?.message.contains("attune pull vader") == true)
  }

  @Test func `a damaged lexicon is named with its line`() throws {
    let folder = try Self.folder(try Self.fixture())
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: "vader_lexicon.txt")
    try Data("good\t1.9\nbad\n".utf8).write(to: file)
    let error = #expect(throws: TrainingError.self) { try SentimentLexicon(folder: folder) }
    #expect(error?.message.contains("vader_lexicon.txt:2") == true)
  }
}
