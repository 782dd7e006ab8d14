// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import Foundation
import Testing

struct MovieReviewsTests {
  private static func csv(_ count: Int) -> String {
    "text,label,source\n"
      + (0..<count).map {
        "\"Film \($0) is, I say,<br /><br />a \"\"film\"\" of much length\",1,imdb\n"
      }.joined() + "not this one,0,rotten_tomatoes\n"
  }

  private func settings(texts: Int = 5, prompts: Int = 4) -> ReviewSettings {
    var settings = ReviewSettings()
    (settings.texts, settings.prompts, settings.words, settings.seed) = (texts, prompts, 3, 7)
    return settings
  }

  @Test func `texts and prompts are of different reviews`() throws {
    let folder = try TemporaryFolder()
    let file = folder.file("reviews.csv", Self.csv(12))
    let report = try MovieReviews.write(
      from: file, settings: settings(), to: folder.url.appending(path: "out"))
    #expect(report.reviews == 12)
    let texts = try DataFile.read(URL(filePath: report.texts)).rows.compactMap {
      if case .text(.text(let text)) = $0.example { text } else { nil }
    }
    let prompts = try DataFile.read(URL(filePath: report.prompts), expecting: [.promptOnly]).prompts
    #expect(texts.count == 5 && prompts.count == 4)
    #expect(texts.allSatisfy { $0.hasSuffix("is, I say, a \"film\" of much length") })
    for prompt in prompts {
      guard case .text(let words) = prompt else {
        Issue.record("a prompt is no plain text")
        continue
      }
      #expect(words.split(separator: " ").count == 3)
      #expect(!texts.contains { $0.hasPrefix(words + " ") || $0.hasPrefix(words + ",") })
    }
  }

  @Test func `what can't be had is said`() throws {
    let folder = try TemporaryFolder()
    let out = folder.url.appending(path: "out")
    func message(_ csv: String, _ settings: ReviewSettings) -> String {
      do {
        _ = try MovieReviews.write(
          from: folder.file("r.csv", csv), settings: settings, to: out)
        return ""
      } catch { return "\(error)" }
    }
    #expect(message(Self.csv(8), settings()).contains("has only 8 reviews"))
    #expect(message("a,b\n", settings()).contains("line 1"))
    #expect(message(Self.csv(3) + "x,1\n", settings()).contains("line 6: has 2 fields"))
    var alike = settings(texts: 1, prompts: 3)
    alike.words = 1
    #expect(message(Self.csv(12), alike).contains("only 1 openings of 1 words"))
    #expect(
      throws: TrainingError.self,
      performing: {
        try MovieReviews.write(
          from: folder.url.appending(path: "none.csv"), settings: settings(), to: out)
      })
  }
}
