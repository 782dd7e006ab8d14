// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneNative
import AttuneRewards
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

@Suite(.timeLimit(.minutes(1)))
struct ProgramRewardTests {
  /// Answers that are numbers.
  func ask(_ program: ProgramReward, _ numbers: Range<Int>, padding: Int = 0) throws -> [Double] {
    let prompt = DataPrompt(.text(String(repeating: "x", count: padding)))
    return try program.scores(
      prompts: numbers.map { _ in prompt },
      completions: numbers.map { Completion(ids: [], text: "\($0)", endedByItself: $0 % 2 == 0) },
      shared: nil)
  }

  func fault(_ command: String, _ count: Int = 3) throws -> AnswerFault? {
    let program = try ProgramReward(command)
    return #expect(throws: AnswerFault.self) { try ask(program, 0..<count) }
  }

  /// A shell's loop that writes a line for each that it reads, with its id: what it writes of `$n`, the
  /// number of the line in its life.
  static func echoing(_ score: String, then more: String = "") -> String {
    #"n=0; while read -r l; do n=$((n+1)); i=${l#*:}; i=${i%%,*}; "#
      + #"echo "{\"id\": $i, \"score\": \#(score)}"; \#(more) done"#
  }

  /// Whether a process is there, a zombie too.
  func isThere(_ process: String) -> Bool {
    pid_t(process.trimmingCharacters(in: .whitespacesAndNewlines)).map { kill($0, 0) == 0 } ?? true
  }

  @Test func `a row tells prompt, completion and why it ended`() throws {
    let folder = try TemporaryFolder()
    let seen = folder.url.appending(path: "seen")
    let program = try ProgramReward(
      "while read -r line; do printf '%s\\n' \"$line\" >> '\(seen.path)'; echo '{\"score\": -0.5, \"x\": 1}'; done"
    )
    let messages = [Message(role: "user", content: "é \"q\"")]
    let row = try folder.rows("rows.jsonl", [#"{"prompt":"p","x":1.50e+2,"y":{"b":1,"a":[null]}}"#])
      .rows[0]
    let scores = try program.scores(
      prompts: [DataPrompt(.messages(messages)), DataPrompt(.text("p"), row: row)],
      completions: [
        Completion(ids: [1], text: "one\ntwo", endedByItself: true),
        Completion(
          ids: [], text: "b", endedByItself: false,
          messages: [
            Message(role: "assistant", content: "a"), Message(role: "assistant", content: "b"),
          ]),
      ], shared: nil)
    #expect(scores == [-0.5, -0.5])
    #expect(
      try String(contentsOf: seen, encoding: .utf8) == """
        {"id":0,"prompt":[{"role":"user","content":"é \\"q\\""}],"completion":"one\\ntwo","finish_reason":"stop"}
        {"id":1,"prompt":"p","completion":"b","finish_reason":"length","messages":[{"role":"assistant",\
        "content":"a"},{"role":"assistant","content":"b"}],"row":{"prompt":"p","x":1.50e+2,"y":{"b":1,"a":[null]}}}

        """)
  }

  @Test func `full pipes in both directions stop nobody, and order holds`() throws {
    let note = String(repeating: "n", count: 3000)
    let program = try ProgramReward(
      #"sed -u 's/.*"completion":"\([0-9]*\)".*/{"note":"\#(note)","score":\1}/'"#)
    #expect(try ask(program, 0..<300, padding: 2000) == (0..<300).map(Double.init))
  }

  @Test func `what it shouts on standard error does not stop it either`() throws {
    let program = try ProgramReward(
      #"while read -r l; do head -c 3000 /dev/zero | tr '\0' '\r' >&2; echo 1; done"#)
    #expect(try ask(program, 0..<60) == [Double](repeating: 1, count: 60))
  }

  @Test func `one that writes ids is kept over batches, another one started for each`() throws {
    let kept = try ProgramReward(Self.echoing("$n"))
    #expect(try ask(kept, 0..<3) == [1, 2, 3])
    #expect(try ask(kept, 0..<0) == [])
    // The last line of a batch is asked for twice.
    #expect(try ask(kept, 0..<2) == [5, 6])
    let counted = try ProgramReward("n=0; while read -r l; do n=$((n+1)); echo $n; done")
    #expect(try ask(counted, 0..<3) == [1, 2, 3])
    #expect(try ask(counted, 0..<2) == [1, 2])
  }

  @Test func `one that dies is started again, so often a batch`() throws {
    // Two answers a life; the last line of a batch is asked for twice.
    let command = Self.echoing("$n", then: "[ $n -lt 2 ] || exit 7;")
    let program = try ProgramReward(command)
    #expect(try ask(program, 0..<7) == [1, 2, 1, 2, 1, 2, 1])
    #expect(try ask(program, 0..<5) == [1, 2, 1, 2, 1])
    let error = try fault(command, 9)
    #expect(error?.answer == 8)
    #expect(error?.description.contains("ended with status 7, for the 4th time") == true)
    // Of one without ids all is asked again: nobody knows whose its lines were.
    let folder = try TemporaryFolder()
    let once = folder.url.appending(path: "once").path
    let counted = try ProgramReward(
      "read -r l; echo 7; [ -e '\(once)' ] || { touch '\(once)'; exit 1; }; "
        + "while read -r l; do echo 8; done")
    #expect(try ask(counted, 0..<3) == [7, 8, 8])
    #expect(try fault("read -r l; echo 7; exit 1", 3)?.message.contains("for the 4th time") == true)
  }

  @Test func `one that reads no more is no broken pipe of ours`() throws {
    let program = try ProgramReward("read -r l; exec 0<&-; echo 5; sleep 0.2; echo why >&2; exit 1")
    let error = #expect(throws: AnswerFault.self) { try ask(program, 0..<5, padding: 200_000) }
    #expect(error?.answer == 1 && error?.message.contains("(why)") == true)
  }

  @Test(arguments: [
    ("while read -r l; do echo what; done", 0, "said “what” of “0”"),
    ("read -r l; echo 1; while read -r l; do echo NaN; done", 1, "said “NaN”"),
    ("while read -r l; do echo 1e999; done", 0, "said “1e999”"),
    ("while read -r l; do echo '{\"scor\": 1}'; done", 0, "neither a finite number"),
    ("while read -r l; do echo; done", 0, "said “”"),
    ("0.3s:read -r l; echo 1; cat > /dev/null", 1, "silent for 0.3 s over “1”"),
    ("0.3s:trap '' TERM; while read -r l; do :; done", 0, "silent for 0.3 s"),
    ("read -r l; kill -9 $$", 0, "was ended by signal 9"),
  ])
  func `what it says wrong names program and answer`(command: String, answer: Int, word: String)
    throws
  {
    let error = try fault(command)
    #expect(error?.source == "exec:\(command)" && error?.answer == answer)
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
  }

  @Test(arguments: [
    // Both at once, the second one late, both at the end, only of the last, before the first, unended.
    "while read -r l; do echo 1; echo 2; done",
    "while read -r l; do echo 1; sleep 0.1; echo 2; done",
    "while read -r l; do echo 1; done; sleep 0.1; echo 2",
    "while read -r l; do echo 1; case $l in *'\"2\"'*) sleep 0.1; echo 2;; esac; done",
    "sleep 0.3; echo 0; while read -r l; do echo 1; done",
    "while read -r l; do echo 1; done; printf 2",
    "(sleep 0.1; echo 3) & while read -r l; do echo 1; done",
    "echo hello; cat > /dev/null",
    // Which of two lines of one id is meant nobody knows.
    echoing("1", then: "echo '{\"id\": '$i', \"score\": 2}';"),
    echoing("1", then: "sleep 0.1; echo '{\"id\": '$i', \"score\": 2}';"),
    echoing("1", then: "sleep 0.1; echo 2;"),
  ])
  func `a line too many is refused before a score is used, whenever it comes`(command: String)
    throws
  {
    for count in [1, 3] {
      let error = #expect(throws: TrainingError.self) {
        try ask(try ProgramReward(command), 3 - count..<3)
      }
      let message = error?.message ?? ""
      #expect(
        message.contains("without being asked") || message.contains("is due"), "\(message)")
    }
  }

  @Test func `ids are those of the lines, of all or of none`() throws {
    for (command, word) in [
      (Self.echoing("1").replacing("$i,", with: "9,"), "with id 0 is due"),
      ("read -r l; echo 1; " + Self.echoing("1"), "an answer without an id is due"),
      ("read -r l; echo '{\"id\": 0, \"score\": 1}'; read -r l; echo 1", "with id 1 is due"),
    ] {
      let error = #expect(throws: TrainingError.self) {
        try ask(try ProgramReward(command), 0..<3)
      }
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
  }

  @Test func `one that does not end with its input is told how`() throws {
    let error = try fault("0.4s:while read -r l; do echo 1; done; sleep 60")
    #expect(error?.message.contains("after its input has ended") == true, "\(error?.message ?? "")")
  }

  @Test func `a misspelt program is found out at once`() {
    let error = #expect(throws: TrainingError.self) { try ProgramReward("no-such-program-here") }
    #expect(error?.message.contains("status 127") == true, "\(error?.message ?? "")")
    #expect(error?.message.contains("not found") == true, "\(error?.message ?? "")")
  }

  @Test(arguments: [
    echoing("1"), echoing("1") + " | cat; sleep 60",
    "trap '' TERM HUP; " + echoing("1") + "; while :; do sleep 0.05; done",
  ])
  func `nothing is left of it`(command: String) throws {
    let folder = try TemporaryFolder()
    let file = folder.url.appending(path: "pid")
    do {
      let program = try ProgramReward("echo $$ > '\(file.path)'; \(command)")
      #expect(try ask(program, 0..<2) == [1, 1])
      #expect(isThere(try String(contentsOf: file, encoding: .utf8)))
    }
    #expect(!isThere(try String(contentsOf: file, encoding: .utf8)))
  }

  @Test func `a program that was changed is another source`() throws {
    let folder = try TemporaryFolder()
    let script = folder.file("score.sh", "while read -r l; do echo 1; done\n")
    func fingerprint() throws -> String {
      try RewardSources([RewardSpecification("exec:sh \(script.path)")], on: NativeEngine())
        .fingerprint
    }
    let before = try fingerprint()
    #expect(try fingerprint() == before)
    _ = folder.file("score.sh", "while read -r l; do echo 2; done\n")
    #expect(try fingerprint() != before)
  }
}
