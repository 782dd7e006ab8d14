// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation
import Testing

/// `Documentation/Algorithms.md` is printed from the losses and the exactness suite: with
/// `ATTUNE_WRITE_DOCUMENTATION=1` this test writes it, otherwise it says when the two differ.
struct AlgorithmsDocumentTests {
  /// A row of the document.
  private struct Entry {
    var name, summary, formula, paper, reads, data, reference: String

    func row(reaches: String) -> String {
      let cells = ["`\(name)`", summary, formula, paper, reads, data, reference, reaches]
      return "| "
        + cells.map { $0.replacingOccurrences(of: "|", with: "\\|") }.joined(separator: " | ")
        + " |"
    }
  }

  private static func list(_ knobs: [String]) -> String {
    knobs.isEmpty ? "none" : knobs.map { "`\($0)`" }.joined(separator: ", ")
  }

  private static func defaults(_ loss: PolicyLoss) -> String {
    let settings = loss.defaults
    var knobs: [String] = []
    if loss != .reinforce {
      knobs.append("`clipLow` \(settings.clipLow)")
      knobs.append("`clipHigh` \(settings.clipHigh)")
    }
    if loss == .drGrpo { knobs.append("`maximumLength`") }
    knobs.append("`klWeight` \(settings.klWeight)")
    return knobs.joined(separator: ", ")
  }

  private static var families: [(ExactnessCase.Family, String, [Entry])] {
    [
      (
        .reward, "Reward models",
        RewardLoss.allCases.map {
          let data =
            switch $0 {
            case .bradleyTerry: "pairs; soft labels, margins"
            case .kWise: "rankings or pairs"
            case .plackettLuce: "rankings without ties"
            case .raoKupper, .davidson: "pairs with ties"
            case .pointwise: "thumbs; steps of an answer"
            case .regression: "scores"
            }
          return Entry(
            name: $0.rawValue, summary: $0.summary, formula: $0.formula, paper: $0.paper,
            reads: list($0.reads.map(\.rawValue)), data: data, reference: "no")
        }
      ),
      (
        .preference, "Contrastive, paired",
        PreferenceLoss.allCases.map {
          Entry(
            name: $0.rawValue, summary: $0.summary, formula: $0.formula, paper: $0.paper,
            reads: list($0.reads.map(\.rawValue)),
            data: $0.readsSoftLabels ? "pairs; soft labels, ties" : "pairs",
            reference: $0.needsReference ? "yes" : "no")
        }
      ),
      (
        .unpaired, "Contrastive, unpaired",
        UnpairedLoss.allCases.map {
          Entry(
            name: $0.rawValue, summary: $0.summary, formula: $0.formula, paper: $0.paper,
            reads: list(["beta", "upWeight", "downWeight"]),
            data: $0.needsMismatched ? "thumbs, two prompts a batch" : "thumbs",
            reference: "yes")
        }
      ),
      (
        .policy, "Reward maximisation",
        PolicyLoss.allCases.map {
          Entry(
            name: $0.rawValue, summary: $0.summary, formula: $0.formula, paper: $0.paper,
            reads: defaults($0), data: "prompts and a reward", reference: "for the KL term")
        }
      ),
      (
        .distribution, "Distribution matching",
        DistributionLoss.allCases.map {
          Entry(
            name: $0.rawValue, summary: $0.summary, formula: $0.formula, paper: $0.paper,
            reads: list($0.reads.map(\.rawValue)),
            data: "prompts and a reward, 2 samples a prompt", reference: "in the target")
        }
      ),
      (
        .distillation, "Distillation",
        DistillationLoss.allCases.map {
          Entry(
            name: $0.rawValue, summary: $0.summary, formula: $0.formula, paper: $0.paper,
            reads: list($0.reads), data: "prompts and a teacher",
            reference: $0 == .reverseKL ? "where β is not 1" : "no")
        }
      ),
    ]
  }

  @Test func `the document is what the code says`() throws {
    let cases = ExactnessSuite.cases
    var document = """
      # Algorithms

      Every loss, printed from `Sources/AttuneObjectives` (`ATTUNE_WRITE_DOCUMENTATION=1 make test` prints
      it anew). Log-probabilities are sums over the response's tokens: π of the policy, ρ of the
      reference, o of the policy that sampled; h = π − ρ, Δ = h⁺ − h⁻, ℓ(z) = −log σ(z). *Reaches* is what
      the method must come within 0.001 of, in total variation, on a policy whose answers are all
      enumerated: `attune exactness` runs it.

      """
    for (family, title, entries) in Self.families {
      document += """

        ## \(title)

        | name | summary | formula | paper | reads | data | reference | reaches |
        | --- | --- | --- | --- | --- | --- | --- | --- |

        """
      for entry in entries {
        let own = cases.filter { $0.family == family && $0.member == entry.name }
        #expect(!own.isEmpty, "\(entry.name) has no case")
        let reaches = own.map { $0.variant.isEmpty ? $0.target : "\($0.variant): \($0.target)" }
        document += entry.row(reaches: reaches.joined(separator: "; ")) + "\n"
      }
    }
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Documentation/Algorithms.md")
    if ProcessInfo.processInfo.environment["ATTUNE_WRITE_DOCUMENTATION"] != nil {
      try document.write(to: url, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOf: url, encoding: .utf8) == document)
  }
}
