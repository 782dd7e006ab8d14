// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
package import AttuneStore

/// Makes questions from the answers to prompts.
package struct QuestionMaker {
  private let settings: CollectSettings

  package init(_ settings: CollectSettings) { self.settings = settings }

  /// The questions about answers to some prompts: first one of every prompt, then a second one of
  /// every prompt, so that labels are spread over the prompts whenever people stop.
  ///
  /// Answers of one prompt may come in several sets, one a model. Two equal texts are never
  /// compared; of a model's answers that are equal one is asked about.
  package func questions(_ sets: [AnswerSet]) -> [Question] {
    var order: [Int64] = []
    var merged: [Int64: AnswerSet] = [:]
    for set in sets {
      if merged[set.prompt] == nil {
        order.append(set.prompt)
        merged[set.prompt] = set
        merged[set.prompt]?.answers = []
      }
      for answer in set.answers {
        let isKnown = merged[set.prompt]?.answers.contains {
          $0.content == answer.content && $0.model == answer.model
        }
        if isKnown == false { merged[set.prompt]?.answers.append(answer) }
      }
    }
    var rounds: [[Question]] = []
    for prompt in order {
      guard let set = merged[prompt] else { continue }
      for (round, question) in questions(of: set).enumerated() {
        if round == rounds.count { rounds.append([]) }
        rounds[round].append(question)
      }
    }
    return rounds.enumerated().flatMap { shuffled($1, UInt64($0)) }
  }

  private func questions(of set: AnswerSet) -> [Question] {
    func question(_ answers: [AnswerSet.Entry]) -> Question {
      Question(prompt: set.prompt, content: set.content, answers: answers)
    }
    let answers = shuffled(set.answers, UInt64(bitPattern: set.prompt))
    switch settings.shape {
    case .thumbs:
      return answers.map { question([$0]) }
    case .rankings:
      var different: [AnswerSet.Entry] = []
      for answer in answers where !different.contains(where: { $0.content == answer.content }) {
        different.append(answer)
      }
      different = Array(different.prefix(settings.rankedTogether))
      return different.count < 2 ? [] : [question(different)]
    case .pairs:
      var pairs: [[AnswerSet.Entry]] = []
      for i in answers.indices {
        for j in answers.indices where j > i && answers[i].content != answers[j].content {
          pairs.append([answers[i], answers[j]])
        }
      }
      pairs = shuffled(pairs, UInt64(bitPattern: set.prompt) ^ 1)
      // Only pairs of different models say which model is better.
      pairs =
        pairs.filter { $0[0].model != $0[1].model } + pairs.filter { $0[0].model == $0[1].model }
      if settings.pairsPerPrompt > 0 { pairs = Array(pairs.prefix(settings.pairsPerPrompt)) }
      return pairs.map(question)
    }
  }

  private func shuffled<Value>(_ values: [Value], _ stream: UInt64) -> [Value] {
    CounterRandom(seed: settings.seed, stableHash("questions"), stream).shuffled(values)
  }
}
