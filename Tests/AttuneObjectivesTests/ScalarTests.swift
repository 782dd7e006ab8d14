// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Testing

struct ScalarTests {
  @Test(arguments: [-1e4, -30, -1, 0, 1, 30, 1e4])
  func `softplus and sigmoid stay finite and agree`(z: Double) {
    #expect(softplus(z).isFinite)
    #expect(abs(softplus(z) - softplus(-z) - z) <= 1e-12 * max(1, abs(z)))
    #expect(abs(sigmoid(z) + sigmoid(-z) - 1) < 1e-15)
  }
}
