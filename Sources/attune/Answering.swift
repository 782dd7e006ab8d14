// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneData
  import AttuneServer
  import AttuneRewards
  import AttuneStudies
  import AttuneTraining
  import Foundation

  /// Models of the engine as the page's answerers.
  struct ModelAnswerer: Answerer {
    private struct Entry {
      let loaded: LoadedModel
      let settings: SampleSettings
      let turn: AnswerTurn

      init(_ loaded: LoadedModel, _ settings: SampleSettings) throws {
        self.loaded = loaded
        self.settings = settings
        turn = AnswerTurn(
          model: .init(name: loaded.name, fingerprint: loaded.fingerprint),
          sampling: try settings.json, count: settings.n)
      }
    }

    private let entries: [Entry]
    /// Who answers a share of the prompts in place of the others.
    private var versus: [Entry] = []
    private var share = 0.0

    /// Models of which each answers every prompt.
    init(_ loaded: [LoadedModel], _ settings: SampleSettings) throws {
      entries = try loaded.map { try Entry($0, settings) }
    }

    /// A policy, which a share of the prompts is asked about against the one before it.
    ///
    /// - Parameter n: How many answers each of so many models gives.
    init(
      _ policy: (number: Int, loaded: LoadedModel),
      against other: (number: Int, loaded: LoadedModel),
      share: Double, _ settings: SampleSettings, n: (Int) -> Int
    ) throws {
      func entry(_ policy: (number: Int, loaded: LoadedModel), _ count: Int) throws -> Entry {
        var settings = settings
        settings.n = count
        // Policies that are near one another would say the same by the same random numbers.
        settings.seed &+= UInt64(policy.number)
        return try Entry(policy.loaded, settings)
      }
      entries = [try entry(policy, n(1))]
      versus = [try entry(policy, n(2)), try entry(other, n(2))]
      self.share = share
    }

    func turns(of number: Int) -> [AnswerTurn] {
      // Spread evenly, and of a prompt the same whenever it is asked.
      let (before, after) = (Double(number) * share, Double(number + 1) * share)
      return (after.rounded(.up) > before.rounded(.up) ? versus : entries).map(\.turn)
    }

    func answers(
      _ turn: AnswerTurn, to prompts: [Content], numbers: [Int]
    ) throws -> [SampleRow] {
      guard let entry = (entries + versus).first(where: { $0.turn == turn }) else {
        preconditionFailure("\(turn.model.name) does not answer")
      }
      return try Sampling.rows(
        entry.loaded, prompts: prompts, numbers: numbers, settings: entry.settings)
    }
  }

  /// Reward sources of training as the page's scorers.
  struct RewardScorer: AnswerScorer {
    let sources: RewardSources
    /// The rows that prompts stand in.
    private let rows: [Content: DataRow]
    /// What answers add to a prompt's row.
    private static let answerColumns: Set<String> = ["completions", "model", "sampling"]

    /// Makes scorers.
    ///
    /// - Parameters:
    ///   - sources: The sources.
    ///   - files: The files that prompts are from; read again only where a source reads rows.
    init(_ sources: RewardSources, files: [URL]) throws {
      self.sources = sources
      var rows: [Content: (row: DataRow, file: URL)] = [:]
      var differing: [String] = []
      if sources.weighted.contains(where: \.source.readsRows) {
        for file in files {
          let data = try DataFile.read(file, use: ColumnUse(carriesRows: true))
          try data.check(for: sources.weighted.map(\.source))
          for prompt in try data.prompts(byRow: true) {
            guard let row = prompt.row else { continue }
            guard let first = rows[prompt.content] else {
              rows[prompt.content] = (row, file)
              continue
            }
            if Self.columns(first.row) != Self.columns(row) {
              differing.append(
                "\(file.relativePath):\(row.line) has the prompt of \(first.file.relativePath):"
                  + "\(first.row.line)")
            }
          }
        }
      }
      if let first = differing.first {
        let others =
          differing.count > 1 ? ", and so it is with \(differing.count - 1) further rows" : ""
        Output.note(
          "warning: \(first) with other columns\(others); a question is asked once, and rewards read "
            + "the first row")
      }
      self.rows = rows.mapValues(\.row)
    }

    /// What a reward reads of a prompt's row, whatever its columns' order.
    private static func columns(_ row: DataRow) -> [String: JSONValue] {
      let own = row.json.fields.filter { !answerColumns.contains($0.key) }
      return Dictionary(own.map { ($0.key, $0.value) }) { $1 }
    }

    var names: [String] { sources.weighted.map(\.source.name) }

    func scores(prompt: Content, answers: [Content]) throws -> [[Double]] {
      let prompts = answers.map { _ in DataPrompt(prompt, row: rows[prompt]) }
      let completions = answers.map {
        Completion(ids: [], text: $0.lastText, endedByItself: true)
      }
      return try sources.weighted.map { source, weight in
        try source.checkedScores(prompts: prompts, completions: completions, shared: nil)
          .map { $0 * weight }
      }
    }
  }
#endif
