// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

/// Settings that are a member of others: their knobs are named by a path, `dpo.learning_rate`.
extension Settings {
  /// The knobs without effect, by their path, and the seed: the outer settings' own is read.
  package func unreadKnobs(in path: String) -> [(knob: String, why: String)] {
    unreadKnobs.map { ("\(path).\($0.knob)", $0.why) }
      + [("\(path).seed", "the run's own seed is read")]
  }

  /// Every knob by its path, with one reason why none is read.
  package func allKnobs(in path: String, _ why: String) -> [(knob: String, why: String)] {
    guard case .object(let knobs)? = try? ConfigFile.value(of: self) else { return [] }
    return knobs.keys.sorted().map { ("\(path).\($0)", why) }
  }

  /// Checks ranges; the error has the path.
  ///
  /// - Throws: `TrainingError` that names the knob by its path.
  public func validate(in path: String) throws {
    do {
      try validate()
    } catch let error as TrainingError {
      throw TrainingError(error.code, "\(path).\(error.message)")
    }
  }
}
