// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

struct PackageTests {
  @Test func `the manifest names the product`() throws {
    let manifest = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Package.swift")
    #expect(try String(contentsOf: manifest, encoding: .utf8).contains("name: \"Attune\""))
  }
}
