// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import AttuneStore
import Foundation
import Testing

@Suite struct FeedbackStatisticsTests {
  /// Twenty items by two annotators who agree on fifteen, and a key for four of them.
  private func store(_ bench: Bench) throws -> FeedbackStore {
    var rows: [String] = []
    for i in 0..<20 {
      // The preferred answer is the longer one in even items.
      let (good, bad) =
        i % 2 == 0 ? ("a long answer \(i)", "short \(i)") : ("no \(i)", "not so \(i) ")
      func row(_ labeller: String, _ isTurned: Bool, _ more: String = "") -> String {
        let (a, b) = isTurned ? (bad, good) : (good, bad)
        return #"{"prompt":"p\#(i)","chosen":"\#(a)","rejected":"\#(b)","labeller":"\#(labeller)""#
          + more + "}"
      }
      rows.append(row("anna", false, #","shown_first":"chosen","seconds":3"#))
      rows.append(row("bert", i < 5))
      if i < 4 { rows.append(row("key", false, #","gold":true"#)) }
    }
    let store = try bench.store()
    _ = try store.importFile(try bench.file("in.jsonl", rows.joined(separator: "\n")))
    return store
  }

  @Test func `annotators are compared with one another and with the key`() throws {
    let bench = try Bench()
    let statistics = try store(bench).statistics(
      accuracy: 0.9, curve: [(100, 0.6), (400, 0.8)])
    #expect(statistics.comparisons == 44 && statistics.items == 20)
    let pair = try #require(statistics.agreement.first)
    #expect(statistics.agreement.count == 1)
    #expect(pair.items == 20 && pair.agreement == 0.75)
    let kappa = try #require(pair.kappa)
    // Chance is about one half, whichever answer a digest puts first.
    #expect(kappa > 0.4 && kappa < 0.6)
    let anna = try #require(statistics.annotators.first { $0.name == "anna" })
    let bert = try #require(statistics.annotators.first { $0.name == "bert" })
    #expect(statistics.annotators.count == 2)
    #expect(anna.gold.value == 1 && anna.gold.count == 4)
    #expect(bert.gold.value == 0)
    #expect(anna.firstPreferred.value == 1 && anna.firstPreferred.count == 20)
    #expect(bert.firstPreferred.value == nil)
    #expect(anna.longerPreferred.value == 0.5)
    #expect(anna.medianSeconds == 3)
    // Error 0.4 at 100 and 0.2 at 400 is a·n^(−½); 0.1 needs 1600, and 40 are here.
    let need = try #require(statistics.need)
    #expect(abs((need.labels ?? 0) - 1600) < 1e-6)
    #expect(abs((need.more ?? 0) - 1560) < 1e-6)
    #expect(need.ceiling == 0.75)
    #expect(statistics.text().contains("Krippendorff"))
    // bert's gold is below what both have together.
    #expect(statistics.text().contains("of 20 items, Cohen's κ"))
  }

  @Test func `of many annotators those are told who stand out or gave most labels`() throws {
    let bench = try Bench()
    var statistics = try store(bench).statistics()
    let anna = try #require(statistics.annotators.first { $0.name == "anna" })
    let pair = try #require(statistics.agreement.first)
    statistics.annotators = (0..<30).map { number in
      var annotator = anna
      annotator.name = "n\(number)"
      annotator.labels = 100 + number
      annotator.kappa = number == 3 ? 0.1 : 0.6
      return annotator
    }
    statistics.agreement = (0..<50).map { number in
      var pair = pair
      pair.annotators = ["x\(number)", "y"]
      pair.items = 10 + number
      return pair
    }
    let lines = statistics.text().split(separator: "\n").map(String.init)
    let told = lines.filter { $0.hasPrefix("n") }
    #expect(told.count == 20 && told[0].hasPrefix("n3: 103 labels"))
    #expect(told[0].hasSuffix("agrees with others hardly more than by chance"))
    #expect(told[1].hasPrefix("n29:") && told[19].hasPrefix("n11:"))
    #expect(
      lines.contains(
        "10 further annotators with \((0...10).reduce(0) { $0 + ($1 == 3 ? 0 : 100 + $1) }) labels: --all"
      ))
    #expect(lines.contains("  30 further pairs of annotators: --all"))
    #expect(
      lines.count { $0.contains(" and y: ") } == 20 && lines.contains { $0.contains("x49 and y") })
    let all = statistics.text(all: true).split(separator: "\n")
    #expect(all.count { $0.hasPrefix("n") } == 30 && all.count { $0.contains(" and y: ") } == 50)
    #expect(!all.contains { $0.contains("further") })
  }

  @Test func `an empty store has no figures and breaks nothing`() throws {
    let bench = try Bench()
    let statistics = try bench.store().statistics(accuracy: 0.8)
    #expect(statistics.fleissKappa == nil && statistics.krippendorffAlpha == nil)
    #expect(statistics.need?.labels == nil)
    #expect(!statistics.text().isEmpty)
  }

  @Test func `models are ranked alike from a file and from a store`() throws {
    let bench = try Bench()
    var rows: [String] = []
    for i in 0..<30 {
      let (a, b) = i % 3 == 0 ? ("weak", "strong") : ("strong", "weak")
      rows.append(
        #"{"prompt":"p\#(i)","chosen":"x\#(i)","rejected":"y\#(i)","chosen_model":"\#(a)","rejected_model":"\#(b)"}"#
      )
    }
    rows.append(#"{"prompt":"q","chosen":"x","rejected":"y"}"#)
    rows.append(
      #"{"prompt":"q","chosen":"x","rejected":"z","outcome":"both_bad","chosen_model":"weak","rejected_model":"strong"}"#
    )
    let file = try bench.file("in.jsonl", rows.joined(separator: "\n"))
    let ranking = try ModelRanking(file)
    #expect(ranking.models.map(\.model) == ["strong", "weak"])
    #expect(ranking.comparisons == 30 && ranking.unnamed == 1 && ranking.bothBad == 1)
    #expect(!ranking.usedPrior)
    let strong = try #require(ranking.models.first)
    // Two wins of three are odds of two: 400·log₁₀ 2 between them.
    #expect(abs(strong.rating - 1000 - 200 * log10(2.0)) < 0.2)
    #expect(strong.interval.low < strong.rating && strong.rating < strong.interval.high)
    let store = try bench.store()
    _ = try store.importFile(file)
    let fromStore = try ModelRanking(store.url)
    #expect(fromStore.models == ranking.models)
  }

  @Test func `what a model won is counted by provenance, rankings by their pairs`() throws {
    let bench = try Bench()
    let store = try bench.store()
    func model(_ fingerprint: String) -> String { #"{"name":"m","fingerprint":"\#(fingerprint)"}"# }
    let (new, old) = (model("new"), model("old"))
    func pair(_ better: String, _ worse: String, _ more: String = "") -> String {
      #"{"prompt":"q","chosen":"a","rejected":"b","chosen_model":\#(better),"#
        + #""rejected_model":\#(worse)\#(more)}"#
    }
    _ = try store.importFile(
      // One model's two answers against the other's one: one win and one tie.
      try bench.file(
        "ranking.jsonl",
        #"{"prompt":"p","completions":["a","b","c"],"scores":[2,1,1],"models":[\#(new),\#(old),\#(new)]}"#
      ), origin: .person)
    _ = try store.importFile(
      try bench.file(
        "pairs.jsonl",
        [pair(new, old), pair(old, new), pair(new, old, #","outcome":"both_bad""#)]
          .joined(separator: "\n")), origin: .person)
    let wins = try store.wins([("new", "old"), ("old", "new"), ("new", "none")])
    #expect(
      wins.map { [$0.won, $0.lost, $0.tied, $0.bothBad] } == [
        [2, 1, 1, 1], [1, 2, 1, 1], [0, 0, 0, 0],
      ])
    #expect(wins[0].value == 2.5 / 4 && wins[2].value == nil)
    // Wilson's interval of 2.5 of 4 by hand.
    #expect(abs(wins[0].interval.low - 0.21943) < 1e-4)
    #expect(abs(wins[0].interval.high - 0.90811) < 1e-4)
  }

  @Test func `comparisons without models can't be ranked`() throws {
    let bench = try Bench()
    let file = try bench.file("in.jsonl", #"{"prompt":"q","chosen":"x","rejected":"y"}"#)
    let error = #expect(throws: StoreError.self) { try ModelRanking(file) }
    #expect(error?.message.contains("chosen_model") == true)
  }
}
