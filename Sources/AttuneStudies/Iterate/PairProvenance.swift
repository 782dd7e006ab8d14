// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

/// Where the pairs of a round come from: what is written beside each of them.
struct PairProvenance {
  /// The round, from 1.
  var round: Int
  /// The policy that sampled.
  var policy: SampleRow.Model
  /// The model whose answers XPO's bonus is on.
  var reference: SampleRow.Model
  /// Who ranked the answers.
  var ranker: String
  /// The seed that the answers were sampled with.
  var seed: UInt64

  /// A pair as a preference row.
  func row(_ pair: RankedAnswers.Pair, of answers: RankedAnswers) -> JSONValue {
    let prompt = answers.prompts[pair.prompt]
    let (chosen, rejected) = (prompt.answers[pair.chosen], prompt.answers[pair.rejected])
    func content(_ answer: RankedAnswer) -> Content {
      prompt.content.answer(answer.completion.text)
    }
    func model(_ answer: RankedAnswer) -> JSONValue {
      answer.isReferences ? reference.json : policy.json
    }
    func reason(_ answer: RankedAnswer) -> JSONValue {
      .string(
        (answer.completion.endedByItself ? SampleRow.FinishReason.stop : .length).rawValue)
    }
    func ids(_ answer: RankedAnswer) -> JSONValue {
      .array(answer.completion.ids.map { .int(Int($0)) })
    }
    var json = Preference(
      prompt: prompt.content, chosen: content(chosen), rejected: content(rejected),
      chosenScore: chosen.score, rejectedScore: rejected.score, labeller: ranker
    ).json
      .setting("chosen_finish_reason", reason(chosen))
      .setting("rejected_finish_reason", reason(rejected))
      .setting("chosen_ids", ids(chosen)).setting("rejected_ids", ids(rejected))
      .setting("chosen_model", model(chosen)).setting("rejected_model", model(rejected))
    if let explored = prompt.explored {
      json = json.setting("explored", .string(explored.completion.text))
        .setting("explored_finish_reason", reason(explored))
        .setting("explored_ids", ids(explored)).setting("explored_model", model(explored))
    }
    return json.setting("round", .int(round)).setting("seed", .number("\(seed)"))
  }

  /// A row of the fixed file as one of the round's.
  func row(mixed row: DataRow, from file: URL) -> JSONValue? {
    guard case .preference(let pair) = row.example else { return nil }
    var json = pair.json
    for side in ["chosen", "rejected"] {
      for key in ["\(side)_finish_reason", "\(side)_ids", "\(side)_model"] {
        if let value = row.json[key] { json = json.setting(key, value) }
      }
    }
    return json.setting("round", .int(round)).setting(
      "mixed_from",
      .object([
        .init("file", .string(file.lastPathComponent)), .init("line", .int(row.line)),
      ]))
  }
}

/// The fixed preferences that a share of each round's pairs is taken from.
struct MixedPairs {
  let data: DataFile
  /// Rows that the loss can use.
  let rows: [ContrastiveRow<PreferenceLabel>]
  /// What became of the file's rows.
  let account: RowAccount
  private let share: Double
  private let seed: UInt64
  private let byNumber: [Int: DataRow]

  /// Reads the rows.
  ///
  /// - Throws: An error that names the line of a row that the loss can't use.
  init?(_ data: DataFile?, encoder: TextEncoder, settings: IterateSettings) throws {
    guard let data else {
      try require(settings.mixShare == 0, "mix_share", "0 where no file is given to mix in")
      return nil
    }
    try require(settings.mixShare > 0, "mix_share", "above 0 where a file is given to mix in")
    self.data = data
    var (rows, account) = try DPO.rows(data, encoder, settings.dpo)
    account.count(trained: rows.map(\.encoded.row), heldOut: [])
    (self.rows, self.account) = (rows, account)
    share = settings.mixShare
    seed = settings.seed
    byNumber = Dictionary(data.rows.map { ($0.number, $0) }, uniquingKeysWith: { a, _ in a })
  }

  /// As many rows as make the share beside so many sampled pairs, drawn anew for each round, none
  /// twice before all were drawn.
  func draw(beside pairs: Int, round: Int) -> [ContrastiveRow<PreferenceLabel>] {
    let count = Int((Double(pairs) * share / (1 - share)).rounded())
    return (0..<count).map { index in
      let pass = round * 1000 + index / rows.count
      return rows[Shuffle.order(count: rows.count, seed: seed, epoch: pass)[index % rows.count]]
    }
  }

  /// The row of the file that a drawn one was made from.
  func source(_ row: ContrastiveRow<PreferenceLabel>) -> DataRow? { byNumber[row.encoded.row] }
}
