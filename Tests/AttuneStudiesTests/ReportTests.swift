// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation
import Testing

struct ReportTests {
  private static func model(_ role: String, gold: Double, completed: Double) -> String {
    func summary(_ mean: Double, _ sd: Double, _ half: Double) -> String {
      #"{"mean": \#(mean), "sd": \#(sd), "interval": [\#(mean - half), \#(mean + half)]}"#
    }
    return #"""
      {"model": "\#(role)", "role": "\#(role)",
        "rewards": {
          "labeller:concise": \#(summary(gold, 1.4, 0.3)),
          "model:reward": \#(summary(gold / 2, 0.8, 0.2))},
        "kl": \#(role == "start" ? 0 : 5.25), "kl_interval": [0, 6],
        "length": 38.5, "length_interval": [35, 41], "completed": \#(completed),
        "completed_interval": [\#(completed - 0.1), \#(completed + 0.1)],
        "distinct_1": 0.4, "distinct_2": 0.8, "distinct_3": 0.9, "repetition": 0.02,
        "perplexity": 3.7, "prompt_words": 0.45, "prompt_words_interval": [0.4, 0.5], "empty": 0,
        "diversity": {
          "self_bleu": 0.31, "self_bleu_interval": [0.2, 0.4], "distinct_answers": 0.97,
          "distinct_answers_interval": [0.9, 1], "entropy": 1.23, "entropy_interval": [1.1, 1.4]}}
      """#
  }

  /// A report with a hostile answer in it and a curve that has a hole.
  private static func report(rollouts: Int = 16, rounds: Int = 1) throws -> Report {
    let concise = #""interval": [0.74, 0.87], "ties": 0.01, "reward": "labeller:concise""#
    let json = #"""
      {"format_version": 1, "version": "0.1.0", "title": "Attune: a <test>", "model": "smollm2",
        "labeller": "concise",
        "labeller_summary": "It wants answers of about twenty words that end by themselves.",
        "date": "2026-11-23 20:00 UTC", "seed": 1,
        "machine": {"threads": 2, "sgemm_gflops_start": 171.3, "sgemm_gflops_end": 168.9},
        "stages": [
          {"name": "samples", "seconds": 56.2, "reused": true, "summary": "384 answers"},
          {"name": "ppo", "seconds": 241, "reused": false, "summary": "16 rollouts of 32 answers"}],
        "evaluation": {
          "format_version": 1,
          "models": [
            \#(model("start", gold: -0.65, completed: 0.33)),
            \#(model("policy", gold: 0.74, completed: 0.78))],
          "win_rate": {"value": 0.81, \#(concise)},
          "win_rates": [
            {"value": 0.81, \#(concise)},
            {"value": 0.78, "interval": [0.7, 0.85], "ties": 0, "reward": "model:reward"}],
          "prompts": 32, "samples_per_prompt": 4, "confidence": 0.95, "reference": "smollm2",
          "seconds": 80},
        "reward_model": {
          "eval_accuracy": 0.71, "eval_accuracy_interval": [0.66, 0.76], "eval_pairs": 240,
          "eval_ece": 0.043,
          "bins": [
            {"confidence": 0.55, "accuracy": 0.52, "pairs": 90},
            {"confidence": 0.66, "accuracy": 0.7, "pairs": 80},
            {"confidence": 0.75, "accuracy": 0.8, "pairs": 50},
            {"confidence": 0.86, "accuracy": 0.85, "pairs": 20},
            {"confidence": 0.9, "accuracy": 0, "pairs": 0}],
          "learning_curve": [
            {"pairs": 120, "accuracy": 0.58}, {"pairs": 240, "accuracy": 0.63},
            {"pairs": 480, "accuracy": 0.69}, {"pairs": 960, "accuracy": 0.71}]},
        "training": [], "samples": \#(samples), "greedy": \#(samples),
        "settings": [
          {"stage": "ppo", "name": "learning_rate", "value": "0.001"},
          {"stage": "sample", "name": "temperature", "value": "1"},
          {"stage": "run", "name": "side_by_side", "value": "4"}]}
      """#
    var report = try JSONDecoder().decode(Report.self, from: Data(json.utf8))
    report.training = (0..<rollouts).map { step in
      let t = Double(step)
      return Report.Point(
        step: step,
        values: [
          "round": Double(1 + step * rounds / rollouts),
          "reward/mean": t == 3 ? .nan : t / 10 - 0.5, "reward/gold_mean": 0.7 - exp(-t / 4),
          "kl/sequence": t * 0.4 - 0.3, "response/length": 44 - t,
          "response/ended_share": min(1, 0.33 + t / 25), "response/distinct_2": 0.85 - t / 200,
          "loss/policy": -0.02 + 0.001 * t, "loss/value": 0.4 / (1 + t),
          "policy/clip_share": 0.05, "kl/beta": 0.1, "policy/entropy": 1.2,
        ])
    }
    return report
  }

  private static var samples: String {
    let hostile = #"<script>alert('x')</script> & \"quoted\" </blockquote>"#
    let rows = (0..<10).map { index in
      let after = index == 0 ? hostile : "Give it six hours of sun and water when the soil is dry."
      return #"""
        {"prompt": "How do I keep basil alive on a window sill? (\#(index))",
          "before": {
            "text": "Basil is a plant that many people love.\nIt needs light, water, and also",
            "completed": false, "rewards": {"labeller:concise": -1.25, "model:reward": -0.4}},
          "after": {
            "text": "\#(after)", "completed": true,
            "rewards": {"labeller:concise": \#(index == 2 ? -1.5 : 1.9), "model:reward": 0.8}}}
        """#
    }
    return "[" + rows.joined(separator: ",") + "]"
  }

  @Test func `text from models stays text`() throws {
    let html = try Self.report().html
    #expect(!html.contains("<script"))
    #expect(
      html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;quoted&quot;"))
    #expect(html.contains("<title>Attune: a &lt;test&gt;</title>"))
  }

  @Test func `the page loads nothing`() throws {
    let html = try Self.report().html
    for word in ["http://", "https://", "src=", "<link", "@import", "url("] {
      #expect(!html.contains(word), "\(word) would reach out")
    }
  }

  @Test func `every tag that opens closes, in order`() throws {
    let html = try Self.report().html
    let void: Set<String> = ["meta", "!DOCTYPE"]
    var open: [String] = []
    for match in html.matches(of: /<(\/?)([A-Za-z!][A-Za-z0-9]*)([^>]*)>/) {
      let name = String(match.output.2)
      if match.output.1 == "/" {
        #expect(open.popLast() == name)
      } else if !match.output.3.hasSuffix("/") && !void.contains(name) {
        open.append(name)
      }
    }
    #expect(open.isEmpty)
  }

  @Test func `a page without numbers is still a page`() throws {
    var report = try Self.report(rollouts: 0)
    report.rewardModel?.bins = []
    report.samples = []
    report.settings = []
    #expect(report.html.contains("Nothing was recorded."))
    #expect(!report.html.lowercased().contains("nan"))
  }

  @Test func `a number that is not finite is a gap, not a coordinate`() throws {
    let html = try Self.report().html
    #expect(!html.contains("nan") && !html.contains("inf\""))
    let learned = html.components(separatedBy: "Reward that is climbed</figcaption>").last ?? ""
    let drawing = learned.components(separatedBy: "</svg>").first ?? ""
    #expect(drawing.matches(of: /<circle/).count == 15)
  }

  @Test func `json holds the same facts and reads back`() throws {
    let report = try Self.report()
    let data = try report.json()
    let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(object["format_version"] as? Int == 1)
    let evaluation = try #require(object["evaluation"] as? [String: Any])
    let win = try #require(evaluation["win_rate"] as? [String: Any])
    #expect(win["value"] as? Double == 0.81)
    #expect(win["interval"] as? [Double] == [0.74, 0.87])
    let models = try #require(evaluation["models"] as? [[String: Any]])
    let diversity = try #require(models[0]["diversity"] as? [String: Any])
    #expect(diversity["self_bleu"] as? Double == 0.31)
    #expect(diversity["distinct_answers_interval"] as? [Double] == [0.9, 1])
    #expect(diversity["entropy"] as? Double == 1.23)
    #expect(try JSONDecoder().decode(Report.self, from: data) == report)
  }

  @Test func `the terminal's table lines up`() throws {
    let lines = try Self.report().evaluation.terminalTable.split(separator: "\n")
    let table = lines.filter { !$0.hasPrefix("win rate") && !$0.hasPrefix("n: ") }
    #expect(Set(table.map(\.count)).count == 1)
    for row in ["self-BLEU", "distinct answers", "entropy"] {
      #expect(lines.contains { $0.hasPrefix("\(row) ") }, "\(row)")
    }
    #expect(lines.contains { $0.hasPrefix("win rate by labeller:concise: 81 % [74 %, 87 %]") })
    #expect(lines.last == "n: 32 held-out prompts, 4 answers each; 95 % intervals over prompts")
    // Before on the left, whichever comes first in the file.
    let report = try Self.report().evaluation
    var turned = report
    turned.models.reverse()
    #expect(turned.terminalTable == report.terminalTable)
    #expect(
      table[0].firstRange(of: "before")!.lowerBound < table[0].firstRange(of: "after")!.lowerBound)
  }

  @Test func `greedy answers come first, samples behind a fold, and what got worse is said`() throws
  {
    let html = try Self.report().html
    let greedy = try #require(html.range(of: "Greedy answers"))
    let fold = try #require(html.range(of: "10 sampled answers"))
    #expect(greedy.lowerBound < fold.lowerBound)
    #expect(html.contains("By labeller:concise 9 of 10 got better ["))
    #expect(html.contains("], 1 got worse."))
    // Of four one of each kind is open, the rest behind a fold; a sampled one that got worse is marked as well.
    #expect(html.contains("<summary>7 more</summary>"))
    let kinds = ["What got better most", "In the middle", "What got worse most", "<summary>7 more"]
    let places = try kinds.map { try #require(html.range(of: $0)).lowerBound }
    #expect(places == places.sorted())
    // The one that got worse stands under the last title, before the fold.
    let worse = try #require(html.range(of: "▼ got worse")).lowerBound
    #expect(places[2] < worse && worse < places[3])
    // Answers come before the table of figures.
    #expect(greedy.lowerBound < html.range(of: "<h2>Before and after</h2>")!.lowerBound)
    #expect(html.matches(of: /▼ got worse/).count == 2)
    let words = try Self.report().terminalSummary
    #expect(words.ranges(of: "\n    before  Basil").count == 3 && words.contains("(worse)"))
    #expect(words.contains("9 of 10 got better"))
  }

  @Test func `the axis of KL begins at 0, whatever an estimate says`() throws {
    let html = try Self.report().html
    let chart = try #require(
      html.components(separatedBy: "KL from the start</figcaption>").dropFirst().first
    )
    .components(separatedBy: "</svg>")[0]
    // The first estimate is −0.3: drawn on the axis, told as it is.
    #expect(!chart.contains(">−1<") && !chart.contains(">−2<") && chart.contains("KL: −0.300 at"))
    let heights = chart.matches(of: /cy="([0-9.]+)"/).compactMap { Double($0.output.1) }
    #expect(heights.first == heights.max() && heights.first == 226)
  }

  @Test func `a round begins a new line`() throws {
    func lines(_ rounds: Int) throws -> Int {
      let html = try Self.report(rounds: rounds).html
      let chart = try #require(
        html.components(separatedBy: "Gold reward</figcaption>").dropFirst().first
      )
      .components(separatedBy: "</svg>")[0]
      let path = try #require(chart.firstMatch(of: /class="line c0" d="([^"]*)"/)).output.1
      return path.count { $0 == "M" }
    }
    #expect(try lines(1) == 1)
    #expect(try lines(2) == 2)
  }

  @Test func `the page of exactness opens with one table and draws every optimum`() throws {
    // As the suite gives them, which has its own test: forty answers, of which the optimum is reached.
    let even = [Double](repeating: 1.0 / 40, count: 40)
    let outcomes = try ["dpo", "ipo", "rloo"].map { name -> ExactnessSuite.Outcome in
      let text = #"""
        {"family": "preference", "name": "\#(name)", "target": "π*", "runs": [{
          "distance": 1e-5, "initial": 0.4, "steps": 80, "curve": [0.4, 0.1, 1e-5], "every": 40,
          "fromOptimum": 1e-5, "vanished": 0, "target": \#(even), "start": \#(even),
          "end": \#(even)}]}
        """#
      return try JSONDecoder().decode(ExactnessSuite.Outcome.self, from: Data(text.utf8))
    }
    let html = ExactnessPage.html(outcomes)
    let table = try #require(html.range(of: "<table>"))
    let figure = try #require(html.range(of: "<figure"))
    #expect(
      table.lowerBound < figure.lowerBound && html.components(separatedBy: "<table>").count == 2)
    #expect(html.components(separatedBy: "<figure").count == outcomes.count + 1)
    // A line for the optimum and a dot for each answer.
    #expect(html.matches(of: /class="line c1"/).count == outcomes.count)
    #expect(html.contains("<title>optimum 0."))
  }

  /// Written only when asked for, to look at the page: `ATTUNE_REPORT_FOLDER=FOLDER swift test …`.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["ATTUNE_REPORT_FOLDER"] != nil))
  func `the page can be looked at`() throws {
    let path = try #require(ProcessInfo.processInfo.environment["ATTUNE_REPORT_FOLDER"])
    try Self.report().write(to: URL(filePath: path))
  }
}
