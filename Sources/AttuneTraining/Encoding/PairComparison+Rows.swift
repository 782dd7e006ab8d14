// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives

extension PairComparison.Outcome {
  /// What a row of a data file says.
  init(_ said: Preference.Outcome) {
    switch said {
    case .preferred: self = .preferred
    case .tie: self = .tie
    case .bothBad: self = .bothBad
    }
  }
}
