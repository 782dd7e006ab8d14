// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import Foundation

/// A prompt with the responses that a contrastive loss holds against each other.
package struct ContrastiveRow<Label> {
  /// What was said of the responses.
  var label: Label
  /// Prompt and responses; these share the prompt's pass.
  package var encoded: EncodedGroup
  /// The prompt with the response to another one, scored without a gradient: KTO's mismatched pair.
  var companion: EncodedGroup?
  /// ρ of each response, once it is known.
  var reference: [Double]?
  /// ρ of the companion.
  var companionReference: [Double]?

  package init(
    label: Label, encoded: EncodedGroup, companion: EncodedGroup? = nil, reference: [Double]? = nil,
    companionReference: [Double]? = nil
  ) {
    self.label = label
    self.encoded = encoded
    self.companion = companion
    self.reference = reference
    self.companionReference = companionReference
  }
}

/// Rows of a contrastive trainer, split into rows to train on and rows to evaluate.
struct ContrastiveData<Label> {
  /// Rows to train on; before `split` all rows of the file.
  var training: [ContrastiveRow<Label>]
  var heldOut: [ContrastiveRow<Label>] = []
  /// The file that is learned from.
  let file: DataFile
  /// A file of held-out rows.
  let heldOutFile: DataFile?
  /// What became of the rows of the file.
  private(set) var account: RowAccount
  /// What became of the rows of a file for evaluation.
  private(set) var heldOutAccount: RowAccount?
  /// What was cut of the rows of the file.
  let cuts: CutCounts

  /// Reads both files.
  init(
    _ file: DataFile, heldOut heldOutFile: DataFile?,
    _ rows: (DataFile) throws -> (rows: [ContrastiveRow<Label>], account: RowAccount)
  ) throws {
    self.file = file
    self.heldOutFile = heldOutFile
    (training, account) = try rows(file)
    cuts = CutCounts(training.map(\.encoded))
    if let held = try heldOutFile.map(rows) { (heldOut, heldOutAccount) = held }
  }

  /// What a person should know of the rows.
  func remarks(maximumLength: Int) -> [String] {
    [
      cuts.summary(maximumLength: maximumLength),
      account.summary(of: file.url.lastPathComponent),
      heldOutFile.flatMap { heldOutAccount?.summary(of: $0.url.lastPathComponent) },
    ].compactMap(\.self)
  }

  /// Holds out some of the prompts where there is no file for it, and gives rows their companions,
  /// once both sides are apart.
  ///
  /// - Parameters:
  ///   - share: The share of the prompts that is held out.
  ///   - seed: The seed of the choice.
  ///   - loss: The loss, by name.
  ///   - pair: Gives rows their companions.
  ///   - say: Is told where no row is held out.
  mutating func split(
    share: Double, seed: UInt64, loss: String,
    pair: ([ContrastiveRow<Label>]) throws -> [ContrastiveRow<Label>], say: (String) -> Void
  ) throws {
    let all = training
    if heldOutFile == nil {
      let prompts = all.map(\.encoded.prompt)
      let count = (Double(Set(prompts).count) * share).rounded()
      let split = Shuffle.split(prompts, heldOut: Int(count), seed: seed)
      training = split.train.map { all[$0] }
      heldOut = split.heldOut.map { all[$0] }
    }
    guard !training.isEmpty else {
      throw TrainingError(.badData, "\(file.url.path): no row is left to train on")
    }
    training = try pair(training)
    // Held-out rows of one prompt have nothing to be mismatched with.
    if Set(heldOut.map(\.encoded.prompt)).count > 1
      || training.allSatisfy({ $0.companion == nil })
    {
      heldOut = try pair(heldOut)
    } else if heldOutFile == nil {
      if !heldOut.isEmpty {
        say(
          "no row is held out: \(loss) compares answers to several prompts, and "
            + "evaluation_share \(share) of these rows is one prompt")
      }
      training = try pair(all)
      heldOut = []
    } else {
      for row in heldOut {
        heldOutAccount?.leaveOut(
          line: row.encoded.line, "the only prompt, and \(loss) compares answers to several")
      }
      heldOut = []
    }
    let heldOutRows = heldOut.map(\.encoded.row)
    account.count(
      trained: training.map(\.encoded.row), heldOut: heldOutFile == nil ? heldOutRows : [])
    heldOutAccount?.count(trained: [], heldOut: heldOutRows)
  }
}
