// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneData
  import AttuneServer
  import AttuneTraining

  /// Models of the engine as the page's answerers.
  struct ModelAnswerer: Answerer {
    let loaded: [LoadedModel]
    let settings: SampleSettings
    let sampling: JSONValue

    init(_ loaded: [LoadedModel], _ settings: SampleSettings) throws {
      self.loaded = loaded
      self.settings = settings
      sampling = try settings.json
    }

    var models: [SampleRow.Model] {
      loaded.map { .init(name: $0.name, fingerprint: $0.fingerprint) }
    }

    var answersOfEach: Int { settings.n }

    func answers(of model: Int, to prompts: [Content], numbers: [Int]) throws -> [SampleRow] {
      try Sampling.rows(loaded[model], prompts: prompts, numbers: numbers, settings: settings)
    }
  }

  /// Reward sources of training as the page's scorers.
  struct RewardScorer: AnswerScorer {
    let sources: RewardSources

    var names: [String] { sources.weighted.map(\.source.name) }

    func scores(prompt: Content, answers: [Content]) throws -> [[Double]] {
      let prompts = answers.map { _ in prompt }
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
