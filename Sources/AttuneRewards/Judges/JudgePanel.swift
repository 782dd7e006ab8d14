// SPDX-License-Identifier: Apache-2.0

package import AttuneData
package import AttuneEngine
import AttuneObjectives
package import AttuneTraining
package import Foundation

/// Two answers that a judge compares.
package struct JudgedPair {
  var prompt: Content
  package var first: String
  package var second: String
  /// What the draw of principles depends on beside the seed: the prompt's and the answers' places.
  var place: [UInt64]

  package init(prompt: Content, first: String, second: String, place: [UInt64]) {
    self.prompt = prompt
    self.first = first
    self.second = second
    self.place = place
  }
}

/// What judges said of two answers.
package struct Verdict {
  /// What one judge said under one principle.
  struct Reading {
    /// The principle's place in the constitution.
    var principle: Int
    /// P(A) where the first answer is shown as A.
    var asA: Double
    /// P(A) where the second answer is shown as A.
    var swappedA: Double

    /// P(first ≻ second): the mean over both orders, so that a love of one letter cancels.
    var probability: Double { (asA + 1 - swappedA) / 2 }
    /// Mean P(A) − ½: above 0 the answer that is shown first is favoured.
    var positionBias: Double { (asA + swappedA) / 2 - 0.5 }
    /// Whether the better answer changes with the order.
    var flips: Bool { (asA > 0.5) != (1 - swappedA > 0.5) }
  }

  /// What was said; empty where no judge gave a valid answer in both orders.
  var readings: [Reading]
  /// Principles drawn.
  var principles: [Int]

  /// P(first ≻ second), averaged over judges, principles and orders; nil without any.
  ///
  /// What both orders leave even is exactly one half: a tie, not the last bit of a sum.
  package var probability: Double? {
    guard !readings.isEmpty else { return nil }
    let mean = Statistics.mean(readings.map(\.probability))
    return abs(mean - 0.5) < 1e-9 ? 0.5 : mean
  }
}

/// Judges with a constitution, ready to be asked.
package struct JudgePanel {
  let judges: [RememberingJudge]
  let constitution: Constitution
  package let settings: JudgeSettings
  let style: ProgressLine.Style

  /// Opens judges.
  ///
  /// - Parameters:
  ///   - settings: The knobs.
  ///   - answers: Where answers are kept; several judges share the file's name with a number.
  ///   - engine: What computes models.
  ///   - neighbour: A model that is open already.
  ///   - style: Where progress goes.
  ///   - isSource: Whether it is a reward source's: a model's answers are then kept when all that were
  ///     asked for together are there.
  package init(
    _ settings: JudgeSettings, answers: URL?, on engine: any Engine,
    beside neighbour: LoadedModel? = nil, style: ProgressLine.Style, isSource: Bool = false
  ) throws {
    try settings.validate()
    guard !settings.judges.isEmpty else {
      throw TrainingError(.badSetting, "there is no judge: name a model or a server with --judge")
    }
    constitution = try Constitution.named(settings.constitution)
    guard settings.principles <= constitution.principles.count else {
      throw TrainingError(
        .badSetting,
        "principles is \(settings.principles), and the constitution has \(constitution.principles.count)"
      )
    }
    judges = try settings.judges.enumerated().map { place, name in
      let url = place == 0 ? answers : answers?.appendingPathExtension("\(place + 1)")
      return RememberingJudge(
        try JudgeModels.open(
          name, settings: settings, on: engine, beside: neighbour, isSource: isSource),
        url: url, keepsWhole: isSource)
    }
    self.settings = settings
    self.style = style
  }

  /// What the judges are called together.
  package var name: String { "judge:" + judges.map(\.model.name).joined(separator: "+") }

  /// What the judges said where no option could be read, for messages: the first of it.
  package var unread: String? { judges.lazy.compactMap(\.unread).first }

  /// Compares pairs.
  ///
  /// - Returns: A verdict a pair, and the mean share of the judges' probability that the letters have.
  package func compare(_ pairs: [JudgedPair]) throws -> (verdicts: [Verdict], mass: Double?) {
    let drawn = pairs.map { draw($0.place) }
    var questions: [JudgeQuestion] = []
    for (pair, principles) in zip(pairs, drawn) {
      for principle in principles {
        let text = constitution.principles[principle]
        questions += [(pair.first, pair.second), (pair.second, pair.first)].map {
          JudgeQuestion.comparison(pair.prompt, $0.0, $0.1, principle: text)
        }
      }
    }
    var verdicts = drawn.map { Verdict(readings: [], principles: $0) }
    var masses: [Double] = []
    for judge in judges {
      let choices = try ask(judge, questions)
      masses += choices.compactMap(\.mass)
      var next = 0
      for (place, principles) in drawn.enumerated() {
        for principle in principles {
          if let asA = choices[next].probabilities?[0],
            let swappedA = choices[next + 1].probabilities?[0]
          {
            verdicts[place].readings.append(
              Verdict.Reading(principle: principle, asA: asA, swappedA: swappedA))
          }
          next += 2
        }
      }
    }
    return (verdicts, masses.isEmpty ? nil : Statistics.mean(masses))
  }

  /// Grades answers from 1 to 5, each under principles of its prompt.
  ///
  /// - Returns: The grades' mean under their probabilities, over judges and principles; nil where no
  ///   judge gave a valid one.
  package func grade(
    _ answers: [(prompt: Content, text: String, place: [UInt64])]
  ) throws -> [Double?] {
    let drawn = answers.map { draw($0.place) }
    let questions = zip(answers, drawn).flatMap { answer, principles in
      principles.map {
        JudgeQuestion.grade(answer.prompt, answer.text, principle: constitution.principles[$0])
      }
    }
    var grades: [[Double]] = answers.map { _ in [] }
    for judge in judges {
      let choices = try ask(judge, questions)
      var next = 0
      for place in answers.indices {
        for _ in drawn[place] {
          if let shares = choices[next].probabilities {
            grades[place].append(GradeScale().mean(shares))
          }
          next += 1
        }
      }
    }
    return grades.map { $0.isEmpty ? nil : Statistics.mean($0) }
  }

  /// The principles of a place.
  func draw(_ place: [UInt64]) -> [Int] {
    let at = place + Array(repeating: 0, count: max(0, 3 - place.count))
    return constitution.draw(
      settings.principles, CounterRandom(seed: settings.seed, 11, at[0], at[1], at[2]))
  }

  /// Puts questions to a judge, its thoughts before them where they are wanted.
  func ask(_ judge: RememberingJudge, _ questions: [JudgeQuestion]) throws -> [JudgeChoice] {
    let asked = try reasoned(judge, questions)
    var progress = ProgressLine(
      "judge", total: asked.count, unit: "questions", style: style)
    return try judge.choose(asked) { progress.update($0) }
  }

  /// The same of questions that are answered by a text.
  func write(
    _ judge: RememberingJudge, _ questions: [JudgeQuestion], maxTokens: Int
  ) throws -> [String] {
    let asked = try reasoned(judge, questions)
    return try judge.write(
      asked.map(\.askingForOption), about: asked.map(\.subject), maxTokens: maxTokens)
  }

  private func reasoned(
    _ judge: RememberingJudge, _ questions: [JudgeQuestion]
  ) throws -> [JudgeQuestion] {
    guard settings.reasoning else { return questions }
    var progress = ProgressLine("reasons", total: questions.count, unit: "answers", style: style)
    let reasons = try judge.write(
      questions.map(\.askingForReasons), about: questions.map(\.subject),
      maxTokens: settings.reasoningTokens
    ) { progress.update($0) }
    return zip(questions, reasons).map { $0.after(reasons: $1) }
  }

  /// Words between white space.
  package static func words(_ text: String) -> Int { TextStatistics.words(text).count }
}
