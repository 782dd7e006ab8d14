// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import Foundation

/// Answers that were drawn before the run, each with its log-probability under what drew it: the
/// proposal of an offline run is what they record.
struct RecordedSamples {
  let prompts: [DataPrompt]
  let promptIds: [[Int32]]
  private let answers: [[Rollout.Answer]]

  /// Takes the answers of a file of samples.
  ///
  /// - Parameters:
  ///   - data: The data.
  ///   - start: The model whose tokens they are.
  ///   - settings: The trainer's knobs; those that only sampling reads must be as they are by default.
  ///   - minimum: The fewest answers that a prompt may have.
  ///   - besideSampling: Whether others are sampled beside them, so that those knobs are read.
  /// - Returns: Nil if the file holds prompts of another kind, which are to be answered.
  /// - Throws: `TrainingError` that names the line of too few answers to a prompt, of answers
  ///   that were not drawn from what their `logprob` says, or that do not fit the model; or the knob.
  init?(
    _ data: DataFile, _ start: LoadedModel, settings: some OnlineSettings, minimum: Int = 2,
    besideSampling: Bool = false
  ) throws {
    guard data.kind == .samples else { return nil }
    if !besideSampling { try settings.refuseSampling(of: data) }
    let encoder = try TextEncoder(start, maximumLength: settings.maxLength)
    var prompts: [DataPrompt] = []
    var promptIds: [[Int32]] = []
    var answers: [[Rollout.Answer]] = []
    for (index, row) in data.rows.enumerated() {
      guard case .samples(let sample) = row.example else { continue }
      let group: EncodedGroup
      do {
        group = try encoder.group(row)
      } catch let error as PassedOver {
        throw TrainingError(.badData, "\(data.url.path), \(error)")
      } catch let error as TrainingError {
        throw TrainingError(error.code, "\(data.url.path), \(error.message)")
      }
      func refuse(_ what: String) -> TrainingError {
        TrainingError(.badData, "\(data.place(of: row)): \(what)")
      }
      guard sample.completions.count >= minimum else {
        throw refuse(
          "answers to the prompt: \(sample.completions.count); give at least \(minimum) a prompt")
      }
      try sample.checkProposal(at: DataPlace(data.url, line: row.line))
      guard group.promptCut == 0, !group.answers.contains(where: \.isCut) else {
        throw refuse(
          "is longer than \(encoder.maximumLength) tokens, and logprob is of the whole answer to "
            + "the whole prompt; leave the row out or raise max_length")
      }
      let drawn = try sample.completions.map(SampledAnswer.init)
      for answer in drawn {
        guard let last = answer.completion.ids.max() else {
          throw refuse("has an answer without tokens")
        }
        guard last < start.model.spec.vocabularySize else {
          throw refuse("holds token \(last), which \(start.name) does not have")
        }
      }
      prompts.append(DataPrompt(sample.prompt, row: row))
      promptIds.append(group.prompt)
      answers.append(
        drawn.map {
          Rollout.Answer(prompt: index, completion: $0.completion, sampler: $0.logProbabilities)
        })
    }
    self.prompts = prompts
    self.promptIds = promptIds
    self.answers = answers
  }

  /// Tokens of each row's answers.
  var lengths: [[Int]] { answers.map { $0.map(\.completion.ids.count) } }

  /// The rollout of some rows.
  func rollout(_ rows: [Int]) -> Rollout {
    Rollout(
      prompts: rows.map { prompts[$0] }, promptIds: rows.map { promptIds[$0] },
      answers: rows.enumerated().flatMap { place, row in
        answers[row].map { answer in
          var answer = answer
          answer.prompt = place
          return answer
        }
      }, isOffPolicy: true)
  }
}

extension OnlineSettings {
  /// Refuses knobs that nothing reads where the answers are recorded.
  fileprivate func refuseSampling(of data: DataFile) throws {
    let plain = Self().rollout
    for (knob, isSet) in [
      ("samples_per_prompt", rollout.samplesPerPrompt != plain.samplesPerPrompt),
      ("sampler", rollout.sampler != plain.sampler),
      ("samplers", rollout.samplers != plain.samplers),
    ] where isSet {
      throw TrainingError(
        .badSetting, "\(knob) is set but not read: \(data.url.path) holds the answers")
    }
  }
}
