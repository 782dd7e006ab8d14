// SPDX-License-Identifier: Apache-2.0

import AttuneKit
import Foundation

/// A chat that learns from its own thumbs, eight at a time: `swift run -c release Thumbs MODEL`.
@main
enum Thumbs {
  static func main() async {
    do {
      try await chat()
    } catch {
      print(error)
      exit(1)
    }
  }

  static func chat() async throws {
    let session = try await AttuneSession.open(CommandLine.arguments.dropFirst().first ?? "smollm2")
    var sampling = SampleSettings()
    sampling.temperature = 0.7
    var kto = KTOSettings()
    kto.epochs = 3
    kto.evaluationShare = 0
    var thumbs: [Example] = []

    print("Ask; answer y or n to each answer; an empty line ends it.")
    while let question = readLine(), !question.isEmpty {
      let prompt = await session.prompt(question)
      sampling.seed += 1
      let answer = try await session.answer(prompt, sampling)
      print("\(answer.text)\ngood (y/n)? ", terminator: "")
      let isGood = readLine() == "y"
      thumbs.append(.unpaired(prompt: prompt, completion: .text(answer.text), label: isGood))
      guard thumbs.count.isMultiple(of: 8) else { continue }

      try await session.train(thumbs, with: kto) { event in
        guard case .progress(let step) = event else { return }
        print("  learning \(step.done)/\(step.total), loss \(step.metrics["loss"] ?? .nan)")
      }
      // What became more probable, against the model that the session began with.
      for (thumb, scores) in zip(thumbs, try await session.score(thumbs)) {
        guard case .unpaired(_, let answer, let isGood) = thumb else { continue }
        let nats = (scores[0].logRatio * 10).rounded() / 10
        print("  \(isGood ? "good" : "bad"), \(nats) nats: \(answer.lastText.prefix(60))")
      }
    }
  }
}
