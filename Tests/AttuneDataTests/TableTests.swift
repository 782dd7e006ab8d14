// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTestSupport
import Foundation
import Testing

/// Tables as people export them, and Parquet files.
struct TableTests {
  private static func url(_ name: String) -> URL { Fixtures.url("tables/\(name)") }

  private static func expected(_ name: String) throws -> [JSONValue] {
    let text = try String(contentsOf: url(name + ".json"), encoding: .utf8)
    guard case .array(let rows) = try JSONValue(parsing: text) else { return [] }
    return rows
  }

  private static func rows(_ url: URL) throws -> [JSONValue] {
    var rows: [JSONValue] = []
    try RowFile.forEach(in: url) { row, _ in rows.append(row) }
    return rows
  }

  /// A row without its nulls, which a table can't say, and its fields in order.
  private static func said(_ row: JSONValue) -> JSONValue {
    .object(row.fields.filter { $0.value != .null && $0.value != .string("") })
  }

  @Test(arguments: ["pandas.csv", "pandas.tsv", "excel.csv"])
  func `what pandas and spreadsheets write is read`(name: String) throws {
    let expected = try Self.expected("thumbs").map(Self.said)
    let found = try Self.rows(Self.url(name)).map { row in
      JSONValue.object(row.fields.filter { $0.key != "column_1" })
    }
    #expect(found == expected)
  }

  @Test(arguments: ["none", "snappy", "gzip", "zstd"], ["1", "2"])
  func `each codec and version of pages is read`(codec: String, version: String) throws {
    #expect(try Self.rows(Self.url("\(codec)-\(version).parquet")) == Self.expected("thumbs"))
  }

  @Test func `structures, lists and lists of structures keep their nulls`() throws {
    #expect(try Self.rows(Self.url("nested.parquet")) == Self.expected("nested"))
  }

  @Test func `every type has its value`() throws {
    let (found, expected) = (try Self.rows(Self.url("types.parquet")), try Self.expected("types"))
    for (one, two) in zip(found, expected) {
      for (field, wanted) in zip(one.fields, two.fields) {
        #expect(field.key == wanted.key)
        if case .number(let digits) = field.value, case .number(let other) = wanted.value {
          #expect(Double(digits) == Double(other), "\(field.key)")
        } else {
          #expect(field.value == wanted.value, "\(field.key)")
        }
      }
    }
    #expect(found.count == 3 && expected.count == 3)
  }

  @Test func `columns get other names, and words their meaning`() throws {
    let map = try ColumnMap(
      names: "prompt=question,completion=answer,label=thumb", values: "up=true,down=false")
    for name in ["pandas.csv", "excel.csv", "zstd-2.parquet"] {
      let data = try DataFile.read(DataSource([Self.url(name).path], map: map))
      #expect(data.kind == .unpaired && data.rows.count == 26)
      guard case .unpaired(let prompt, let completion, let label) = data.rows[4].example else {
        Issue.record("\(name)")
        return
      }
      #expect(prompt == .text("4: two\nlines") && completion == .text("tab\there"))
      #expect(label && !data.isPlainFile)
      #expect(data.rows[3].example.json["label"] == .bool(false))
    }
  }

  @Test(
    arguments: [
      ("prompt=nothing", nil, "no row has a column \"nothing\"; there are"),
      ("prompt", nil, "no NAME=VALUE"),
      ("question=answer", nil, "the row has a column \"question\" too"),
      ("prompt=question,answer=question", nil, "a second time"),
      (
        "prompt=question,completion=answer,label=thumb", "up=true,down=false,maybe=true",
        "no judgement says \"maybe\""
      ),
      (
        "prompt=question,completion=answer,label=thumb", "up=great,down=bad",
        ":3: key \"label\" (column \"thumb\") must be"
      ),
    ] as [(String, String?, String)])
  func `a map that does not fit is told`(names: String, values: String?, why: String) throws {
    let error = try #require(throws: DataError.self) {
      try DataFile.read(
        DataSource([Self.url("pandas.tsv").path], map: ColumnMap(names: names, values: values)))
    }
    #expect(error.message.contains(why), "\(error.message)")
  }

  @Test(arguments: [
    ("prompt,b\n1,2\n3\n", ":3: row 2 has 1 cells"),
    ("a,b\n1,\"x\n", ":2: the quote that begins column 2"),
    ("a,b\n1,2,3\n", "needs quotes"), ("a,a\n1,2\n", "is there twice"), ("prompt,b\n", "no rows"),
    ("", "no rows"), ("a,b\n\"x\"y,2\n", "goes on behind its closing quote"),
    ("prompt\n\u{0}\n", "NUL"),
  ])
  func `bad tables are told with line and column`(text: String, why: String) throws {
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "t.csv")
      try Data(text.utf8).write(to: url)
      let error = try #require(throws: DataError.self) { try DataFile.read(url) }
      #expect(error.message.contains(why), "\(error.message)")
      #expect(error.message.contains("t.csv"))
    }
  }

  @Test func `other encodings are told with what to do`() throws {
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "t.csv")
      try Data([0xFF, 0xFE, 0x70, 0, 0x2C, 0]).write(to: url)
      let wide = try #require(throws: DataError.self) { try DataFile.read(url) }
      #expect(
        wide.message.contains("iconv -f UTF-16 -t UTF-8") && wide.message.contains("t-utf8.csv"))
      // ü of one byte, in the second row.
      try Data(Array("prompt,b\nx,1\n".utf8) + [0x66, 0xFC, 0x72, 0x2C, 0x32, 0x0A]).write(to: url)
      let narrow = try #require(throws: DataError.self) { try DataFile.read(url) }
      #expect(narrow.message.contains("t.csv:3: column 1 is not UTF-8"), "\(narrow.message)")
    }
  }

  @Test func `cut, swapped and absurd Parquet files are told`() throws {
    let whole = try Data(contentsOf: Self.url("snappy-1.parquet"))
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "t.parquet")
      func told(_ data: Data) throws -> Bool {
        try data.write(to: url)
        do {
          var rows: [JSONValue] = []
          try RowFile.forEach(in: url) { row, _ in rows.append(row) }
          return try rows == Self.expected("thumbs")
        } catch let error as DataError {
          return error.message.contains("t.parquet")
        }
      }
      for length in stride(from: 4, to: whole.count, by: 61) {
        #expect(try told(whole.prefix(length)))
      }
      // A byte elsewhere changed: an error, or a value that is another; never a crash.
      for place in stride(from: 4, to: whole.count, by: 7) {
        var other = whole
        other[place] ^= 0x55
        try other.write(to: url)
        _ = try? RowFile.forEach(in: url) { _, _ in }
      }
    }
  }

  @Test func `several files are read one after the other, a folder's by name`() throws {
    try withTemporaryFolder { folder in
      func write(_ name: String, _ text: String) throws {
        let url = folder.appending(path: name)
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
      }
      try write("d/b.csv", "prompt,completion\nq2,a2\n")
      try write("d/a.jsonl", "{\"prompt\":\"q1\",\"completion\":\"a1\"}\n")
      try write("d/more/c.tsv", "question\tanswer\nq3\ta3\n")
      try write("d/README.md", "# no data\n")
      let data = try DataFile.read(DataSource([folder.appending(path: "d").path]))
      #expect(
        data.rows.map { $0.json.fields.map(\.value) } == [
          [.string("q1"), .string("a1")], [.string("q2"), .string("a2")],
          [.string("q3"), .string("a3")],
        ])
      #expect(data.rows.map(\.number) == [1, 2, 3])
      #expect(data.place(of: data.rows[2]).hasSuffix("d/more/c.tsv, line 2"))
      try write("p.jsonl", "{\"prompt\":\"q\"}\n")
      let mixed = try #require(throws: DataError.self) {
        try DataFile.read(
          DataSource([folder.appending(path: "d").path, folder.appending(path: "p.jsonl").path]))
      }
      #expect(mixed.message.contains("p.jsonl:1") && mixed.message.contains("the rows above"))
      try write("e/x.txt", "")
      #expect(throws: DataError.self) { _ = try DataSource([folder.appending(path: "e").path]) }
    }
  }

  @Test func `a mixture takes as many rows as its weights allow, each once`() throws {
    try withTemporaryFolder { folder in
      for (name, count) in [("a", 70), ("b", 300)] {
        let text = (0..<count).map { "{\"prompt\":\"\(name)\($0)\"}\n" }.joined()
        try Data(text.utf8).write(to: folder.appending(path: name + ".jsonl"))
      }
      func path(_ name: String) -> String { folder.appending(path: name).path }
      let data = try DataFile.read(DataSource([path("a.jsonl@0.7"), path("b.jsonl@0.3")]))
      let prompts = data.rows.compactMap { $0.json["prompt"]?.text.dropFirst().prefix(1) }
      #expect(prompts.count { $0 == "a" } == 70 && prompts.count { $0 == "b" } == 30)
      #expect(Set(data.rows.map(\.json)).count == 100)
      // Every beginning has about the weights.
      #expect((5...9).contains(prompts.prefix(10).count { $0 == "a" }))
      #expect(data.skipped.count == 270)
      #expect(data.skipped[0].reason.contains("takes 30 of its 300 rows"))
      #expect(data.rows.map(\.number) == Array(1...100))
      for (names, why) in [
        ([path("a.jsonl@0.7")], "mixes several"),
        ([path("a.jsonl@1"), path("b.jsonl")], "give all"),
        ([path("a.jsonl@0"), path("b.jsonl@1")], "above 0"),
        ([path("a.jsonl"), path("a.jsonl")], "twice"),
      ] {
        let error = try #require(throws: DataError.self) { _ = try DataSource(names) }
        #expect(error.message.contains(why), "\(error.message)")
      }
    }
  }

  @Test func `Label Studio's tasks are a row for each person`() throws {
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "ls.json")
      try Data(
        """
        [{"id": 1, "data": {"prompt": "Name a lake.", "answer1": "Vättern.", "answer2": "No."}, "annotations": [
           {"id": 3, "completed_by": {"id": 2, "email": "a@example.org"}, "was_cancelled": false, "result": [
             {"from_name": "pw", "to_name": "answer1", "type": "pairwise", "value": {"selected": "left"}}]},
           {"id": 4, "completed_by": 5, "was_cancelled": true, "result": []}]},
         {"id": 2, "data": {"prompt": "And a river.", "answer1": "No.", "answer2": "Elbe."}, "annotations": [
           {"completed_by": 5, "result": [
             {"from_name": "pw", "to_name": "answer1", "type": "pairwise", "value": {"selected": "right"}}]}]}]
        """.utf8
      ).write(to: url)
      let data = try DataFile.read(url)
      #expect(data.kind == .preference && data.rows.count == 2)
      guard case .preference(let pair) = data.rows[1].example else { return }
      #expect(pair.chosen == .text("Elbe.") && pair.prompt == .text("And a river."))
      #expect(data.rows[0].json["annotator"] == .string("a@example.org"))
      // A choice under the project's own name.
      try Data(
        """
        [{"data": {"prompt": "p", "completion": "c"}, "annotations": [{"completed_by": 1, "result": [
          {"from_name": "verdict", "to_name": "completion", "type": "choices", "value": {"choices": ["good"]}}]}]}]
        """.utf8
      ).write(to: url)
      let thumbs = try DataFile.read(
        DataSource([url.path], map: ColumnMap(names: "label=verdict", values: nil)))
      #expect(thumbs.kind == .unpaired)
    }
  }

  @Test func `Argilla's records of both versions are a row for each person`() throws {
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "a.json")
      try Data(
        """
        [{"fields": {"prompt": "p", "first": "x", "second": "y"}, "metadata": {}, "responses": [
            {"user_id": "u1", "status": "submitted", "values": {"order": {"value":
              [{"value": "second", "rank": 1}, {"value": "first", "rank": 2}]}}},
            {"user_id": "u2", "status": "discarded", "values": {}}]},
         {"id": "r2", "fields": {"prompt": "q", "first": "x2", "second": "y2"}, "responses": {"order": [
            {"value": [{"value": "first", "rank": 1}, {"value": "second", "rank": 2}], "user_id": "u1",
             "status": "submitted"}]}}]
        """.utf8
      ).write(to: url)
      let data = try DataFile.read(url)
      #expect(data.kind == .ranking && data.rows.count == 2)
      guard case .ranking(let row) = data.rows[0].example else { return }
      #expect(row.completions == [.text("y"), .text("x")] && row.scores == [-1, -2])
    }
  }
}
