// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Testing

struct DataErrorTests {
  @Test func `an error says its message`() {
    #expect("\(DataError(.file, "here"))" == "here")
  }
}
