// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Testing

struct DelimitedTextTests {
  private func records(_ text: String) throws -> [DelimitedText.Record] {
    try DelimitedText.records(Array(text.utf8), source: "a.csv")
  }

  @Test func `quotes hold commas, line ends and quotes`() throws {
    let records = try records("a,b\r\n\"x, \"\"y\"\"\nz\",2\n\n,\"\"\nlast,ü")
    #expect(
      records.map(\.fields) == [["a", "b"], ["x, \"y\"\nz", "2"], ["", ""], ["last", "ü"]])
    #expect(records.map(\.line) == [1, 2, 5, 6])
  }

  @Test func `nothing is no record`() throws {
    #expect(try records("").isEmpty && records("\n\n").isEmpty)
    #expect(try records("\"\"").map(\.fields) == [[""]])
  }

  @Test(arguments: [("a\n\"b", "2"), ("\"a\"b,c", "1")])
  func `what a quote spoils is named`(text: String, place: String) {
    #expect { try records(text) } throws: {
      "\($0)".contains("a.csv:\(place):")
    }
  }
}
