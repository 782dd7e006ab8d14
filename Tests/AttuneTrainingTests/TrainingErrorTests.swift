// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
import Testing

struct TrainingErrorTests {
  @Test func `an error says its message`() {
    #expect("\(TrainingError(.file, "here"))" == "here")
  }
}
