// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneRewards
import AttuneTraining
import Foundation
import Testing

/// Programs that are run: where bubblewrap is missing they must be refused, and nothing is run.
struct TestsRewardTests {
  private static let hasSandbox = (try? TestsReward("python3")) != nil

  func reward(_ answers: [String], row: String, _ knobs: String = "") throws -> [Double] {
    let json = try JSONValue(parsing: row)
    let prompt = DataPrompt(
      .text("p"), row: DataRow(line: 1, example: .prompt(.text("p")), json: json))
    return try TestsReward("python3" + knobs).checkedScores(
      prompts: answers.map { _ in prompt },
      completions: answers.map { Completion(ids: [], text: $0, endedByItself: true) }, shared: nil)
  }

  @Test func `without bubblewrap nothing is run, and why is said`() {
    guard !Self.hasSandbox else { return }
    let error = #expect(throws: TrainingError.self) { try TestsReward("python3") }
    #expect(error?.code == .unavailable)
    #expect(error?.message.contains("bubblewrap") == true, "\(error?.message ?? "")")
  }

  @Test(.enabled(if: TestsRewardTests.hasSandbox))
  func `a program passes its tests, or a part of them`() throws {
    let row = #"{"tests":["assert add(1, 2) == 3","assert add(-1, 1) == 0"]}"#
    let right = "def add(a, b):\n    return a + b\n"
    let answers = [
      "Here:\n```python\n\(right)```\nDone.", right, "def add(a, b): return 3", "def add(a, b:", "",
    ]
    #expect(try reward(answers, row: row) == [1, 1, 0, 0, 0])
    #expect(try reward(answers, row: row, ",partial=0.5") == [1, 1, 0.25, 0, 0])
    #expect(
      try reward(
        ["def f(x): return x * 2"],
        row: #"{"tests":"def check(f):\n    assert f(2) == 4","entry_point":"f"}"#) == [1])
    #expect(
      try reward(
        ["print(sum(map(int, input().split())))", "print(5)", "x = input()"],
        row: #"{"io":[{"input":"1 2\n","output":"3\n"},{"input":"2 3","output":"5"}]}"#,
        ",column=io,partial=1") == [1, 0.5, 0])
  }

  @Test(.enabled(if: TestsRewardTests.hasSandbox))
  func `a program that ends, hangs, grows, forks or looks around gets nothing`() throws {
    let home = FileManager.default.homeDirectoryForCurrentUser.path
    let row = #"{"tests":["assert f() == 1"]}"#
    let answers = [
      "import sys\nsys.exit(0)", "import os\nos._exit(0)", "while True: pass",
      "x = bytearray(2 << 30)\ndef f(): return 1",
      "import socket\nsocket.create_connection(('1.1.1.1', 53), 2)\ndef f(): return 1",
      "import os\nassert os.listdir('\(home)')\ndef f(): return 1",
      "open('/usr/x', 'w')\ndef f(): return 1",
      "print('{\"word\": \"\", \"passed\": [true]}')\nraise SystemExit",
      "def f(): return 1",
    ]
    #expect(try reward(answers, row: row, ",seconds=2") == [0, 0, 0, 0, 0, 0, 0, 0, 1])
  }

  @Test func `rows without tests are refused`() throws {
    guard Self.hasSandbox else { return }
    let source = try TestsReward("python3")
    for (row, word) in [
      ("{}", "is missing"), (#"{"tests":[]}"#, "holds no test"), (#"{"tests":[3]}"#, "Python code"),
    ] {
      let json = try JSONValue(parsing: row)
      let error = #expect(throws: DataError.self) {
        try source.check(
          DataRow(line: 4, example: .prompt(.text("p")), json: json),
          at: DataPlace(file: "rows.jsonl", line: 4))
      }
      #expect(
        error?.message.contains("rows.jsonl:4: column \"tests\" ") == true
          && error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
  }
}
