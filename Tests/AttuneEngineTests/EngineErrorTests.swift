// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Testing

struct EngineErrorTests {
  @Test func `an error says its message`() {
    #expect("\(EngineError(.file, "here"))" == "here")
  }
}
