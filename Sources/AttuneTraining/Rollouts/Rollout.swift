// SPDX-License-Identifier: Apache-2.0

package import AttuneData
package import AttuneEngine
import AttuneObjectives
import Foundation

/// Answers that a policy sampled.
package struct Rollout {
  /// One answer.
  package struct Answer {
    /// Index of its prompt.
    package var prompt: Int
    /// What was sampled.
    package var completion: Completion
    /// Log-probabilities as the sampler had them; of a recorded answer the sum alone.
    var sampler: [Double]
    /// The answer's segment.
    fileprivate(set) var segment = 0

    package init(prompt: Int, completion: Completion, sampler: [Double]) {
      self.prompt = prompt
      self.completion = completion
      self.sampler = sampler
    }

    /// Takes an answer that was drawn.
    init(prompt: Int, _ sample: Sample, tokenizer: Tokenizer) {
      self.init(
        prompt: prompt,
        completion: Completion(
          ids: sample.ids, text: tokenizer.decode(sample.ids),
          endedByItself: sample.finishReason == .stop),
        sampler: sample.logProbability)
    }

    /// log q of the whole answer under what drew it.
    var proposal: Double { sampler.reduce(0, +) }
  }

  /// The prompts.
  let prompts: [DataPrompt]
  let promptIds: [[Int32]]
  package private(set) var answers: [Answer]
  /// Prompts and their answers, each prompt followed by its answers, without requests.
  let segments: [Segment]
  /// Whether another model than the one that is trained drew the answers: what is said of the policy
  /// is then weighted by π/q.
  let isOffPolicy: Bool
  /// Whether the answers were drawn with other numbers than the policy is scored with.
  let samplerDiffers: Bool

  /// Samples answers.
  ///
  /// - Returns: Nil if it was stopped before all answers were there.
  package static func sample(
    _ policy: any LanguageModel, prompts: [DataPrompt], promptIds: [[Int32]], tokenizer: Tokenizer,
    settings: SamplingSettings, isOffPolicy: Bool = false, shouldStop: @escaping () -> Bool
  ) throws -> Rollout? {
    let samples = try policy.answers(to: promptIds, settings) { _ in !shouldStop() }
    guard !samples.joined().contains(where: { $0.finishReason == .cancelled }) else { return nil }
    return Rollout(
      prompts: prompts, promptIds: promptIds, samples: samples, tokenizer: tokenizer,
      isOffPolicy: isOffPolicy, samplerDiffers: !policy.engine.samplesAsItScores(settings.sampler))
  }

  /// Takes answers that were drawn.
  ///
  /// - Parameter samples: For each prompt its answers.
  init(
    prompts: [DataPrompt], promptIds: [[Int32]], samples: [[Sample]], tokenizer: Tokenizer,
    isOffPolicy: Bool, samplerDiffers: Bool
  ) {
    let answers = samples.enumerated().flatMap { prompt, samples in
      samples.map { Answer(prompt: prompt, $0, tokenizer: tokenizer) }
    }
    self.init(
      prompts: prompts, promptIds: promptIds, answers: answers, isOffPolicy: isOffPolicy,
      samplerDiffers: samplerDiffers)
  }

  /// Puts prompts and answers together; the answers come in the prompts' order.
  package init(
    prompts: [DataPrompt], promptIds: [[Int32]], answers: [Answer], isOffPolicy: Bool = false,
    samplerDiffers: Bool = false
  ) {
    self.isOffPolicy = isOffPolicy
    self.samplerDiffers = samplerDiffers
    self.prompts = prompts
    self.promptIds = promptIds
    let made = AnswerSegments(
      prompts: promptIds,
      answers: promptIds.indices.map { prompt in
        answers.filter { $0.prompt == prompt }.map(\.completion.ids)
      })
    segments = made.segments
    self.answers = zip(answers, made.answers.joined()).map { answer, segment in
      var answer = answer
      answer.segment = segment
      return answer
    }
  }

  /// The segments of some prompts and their answers.
  func indices(of prompts: [Int]) -> (segments: [Int], answers: [Int]) {
    var chosen: [Int] = []
    var chosenAnswers: [Int] = []
    for prompt in prompts {
      let own = answers.indices.filter { answers[$0].prompt == prompt }
      guard let first = own.first, let parent = segments[answers[first].segment].parent else {
        continue
      }
      chosen.append(parent)
      chosen += own.map { answers[$0].segment }
      chosenAnswers += own
    }
    return (chosen, chosenAnswers)
  }

  /// Where some answers' segments stand among those of a pass.
  func places(of chosenAnswers: [Int], in chosen: [Int]) -> [Int] {
    var place: [Int: Int] = [:]
    for (i, segment) in chosen.enumerated() { place[segment] = i }
    return chosenAnswers.map { place[answers[$0].segment] ?? 0 }
  }

  /// Tokens of a prompt and its answers.
  func tokens(ofPrompt prompt: Int) -> Int {
    answers.reduce(promptIds[prompt].count) {
      $0 + ($1.prompt == prompt ? $1.completion.ids.count : 0)
    }
  }

  /// Some segments renumbered, with what is asked of the answers.
  ///
  /// - Parameters:
  ///   - indices: Segments, parents before what continues them.
  ///   - scored: Whether log-probabilities are wanted.
  ///   - values: Whether the value of the state before each token is wanted.
  func request(_ indices: [Int], scored: Bool, values: Bool) -> [Segment] {
    var places: [Int: Int] = [:]
    return indices.enumerated().map { place, index in
      places[index] = place
      var segment = segments[index]
      guard let parent = segment.parent else { return segment }
      segment.parent = places[parent]
      if scored { segment.scored = [0..<segment.ids.count] }
      if values { segment.scalarsAfter = Array(-1..<segment.ids.count - 1) }
      return segment
    }
  }

  /// Pieces of some prompts that fit into memory.
  func pieces(_ prompts: [Int], for model: any LanguageModel, budget: Int) -> [[Int]] {
    cutIntoPieces(
      prompts.map(tokens(ofPrompt:)), openings: prompts.map { model.opening(of: promptIds[$0]) },
      budget: budget
    ).map { Array(prompts[$0]) }
  }

  /// The rewards of all answers from weighted sources, and what each source said.
  package func rewards(
    of sources: [(source: any RewardSource, weight: Double)], trunk: (any Trunk)? = nil,
    origin: String
  ) throws -> (rewards: [Double], bySource: [(source: String, rewards: [Double])]) {
    let scores = try sources.map { try rewards(of: $0.source, trunk: trunk, origin: origin) }
    return (
      RewardSources.sum(scores, weights: sources.map(\.weight)),
      zip(sources, scores).map { ($0.source.name, $1) }
    )
  }

  /// A source's rewards of all answers in parts, one a token; nil where it has none.
  func parts(
    of source: any RewardSource, trunk: (any Trunk)?, origin: String
  ) throws -> [[Double]]? {
    let parts = try source.parts(
      prompts: answers.map { prompts[$0.prompt] }, completions: answers.map(\.completion),
      shared: SharedPass(
        segments: segments, answers: answers.map(\.segment), trunk: trunk, origin: origin))
    guard let parts else { return nil }
    guard parts.map(\.count) == answers.map(\.completion.ids.count),
      parts.allSatisfy({ $0.allSatisfy(\.isFinite) })
    else {
      throw TrainingError(
        .badData, "\(source.name): its rewards are no finite number a token of every answer")
    }
    return parts
  }

  /// A source's rewards of all answers.
  func rewards(of source: any RewardSource, trunk: (any Trunk)?, origin: String) throws -> [Double]
  {
    try source.checkedScores(
      prompts: answers.map { prompts[$0.prompt] }, completions: answers.map(\.completion),
      shared: SharedPass(
        segments: segments, answers: answers.map(\.segment), trunk: trunk, origin: origin))
  }
}

extension Trunk {
  /// The hidden states, if a model starts from the same weights.
  func shared(by model: any LanguageModel) -> (any Trunk)? { model.accepts(self) ? self : nil }
}
