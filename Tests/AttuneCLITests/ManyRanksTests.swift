// SPDX-License-Identifier: Apache-2.0

#if MPI
  import AttuneTestSupport
  import Foundation
  import Testing

  /// One run by several processes: the same samples, metrics and weights on any number of them.
  @Suite(.serialized)
  struct ManyRanksTests {
    /// The words before the program's name: as root, with more ranks than cores, which wait idly.
    private static func launcher(_ ranks: Int) -> [String] {
      [
        "mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca",
        "mpi_yield_when_idle", "1", "-n", "\(ranks)",
      ]
    }

    /// Runs a command line.
    ///
    /// - Parameter shell: What a shell does in each process before the program takes its place.
    private func run(
      _ bench: Workbench, _ ranks: Int, _ line: String, after shell: String? = nil
    ) throws -> CommandRun {
      let first = shell.map { ["sh", "-c", "\($0); exec \"$0\" \"$@\""] } ?? []
      return try CommandRun(
        line.split(separator: " ").map(String.init) + ["--threads", "1"], in: bench.folder,
        launcher: ranks == 1 ? [] : Self.launcher(ranks) + first)
    }

    private func bench() throws -> Workbench {
      let bench = try Workbench()
      try bench.writePrompts(5)
      let words = ["cat", "dog", "sun", "tea", "sea", "hat", "map"]
      try bench.write(
        "pairs.jsonl",
        words.map { word in
          let (better, worse) = ("\(word) is good", "no \(word)")
          return #"{"prompt":"a \#(word)","chosen":"\#(better)","rejected":"\#(worse)"}"# + "\n"
        }.joined())
      try bench.write(
        "answers.jsonl",
        words.map { #"{"prompt":"a \#($0)","completion":"it is \#($0)"}"# + "\n" }.joined())
      try bench.write(
        "thumbs.jsonl",
        words.enumerated().map { i, word in
          #"{"prompt":"a \#(word)","completion":"it is \#(word)","label":\#(i % 2 == 0)}"# + "\n"
        }.joined())
      return bench
    }

    /// Everything in a run's folder that a clock does not decide.
    private func contents(_ bench: Workbench, _ name: String) throws -> [String: Data] {
      var contents: [String: Data] = [:]
      for file in try FileManager.default.subpathsOfDirectory(atPath: bench.url(name).path) {
        let url = bench.url(name).appending(path: file)
        guard !url.lastPathComponent.hasPrefix("report."), !url.hasDirectoryPath,
          var data = try? Data(contentsOf: url)
        else { continue }
        if url.lastPathComponent == "metrics.jsonl" {
          let lines = try String(decoding: data, as: UTF8.self).split(separator: "\n").map { line in
            var fields =
              try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
            for key in fields.keys
            where key == "time" || ["seconds/", "speed/", "memory/"].contains(where: key.hasPrefix)
            {
              fields[key] = nil
            }
            return String(
              decoding: try JSONSerialization.data(withJSONObject: fields, options: .sortedKeys),
              as: UTF8.self)
          }
          data = Data(lines.joined(separator: "\n").utf8)
        }
        contents[file] = data
      }
      return contents
    }

    private static let online =
      "--model model --data prompts.jsonl --reward labeller:concise@2 --reward length:3-9@0.5 "
      + "--set rollouts=2 --set prompts_per_rollout=4 --set samples_per_prompt=3 "
      + "--set max_tokens=6 --set rank=4 --set piece_tokens=24 --seed 3"
    private static let offline =
      "--model model --set piece_tokens=24 --set max_steps=3 --set epochs=3 "
      + "--set warmup_steps=0 --seed 3"

    @Test(arguments: [
      "sft --data answers.jsonl --set train=lora --set rank=4",
      "sft --data texts.jsonl --set train=last_layers "
        + "--set layers=1",
      "reward --data pairs.jsonl", "reward --data pairs.jsonl --set layers=1 --set loss=k_wise",
      "dpo --data pairs.jsonl", "dpo --data pairs.jsonl --loss aot",
      "dpo --data pairs.jsonl --loss simpo --set layers=1",
      "dpo --data pairs.jsonl --set evaluation_share=0.5 --set batch_size=2",
      "kto --data thumbs.jsonl", "kto --data thumbs.jsonl --loss bco",
    ])
    func `an offline trainer gives the same bits on 1, 2 and 4 ranks`(line: String) throws {
      try expectEqual("\(line) \(Self.offline)")
    }

    @Test(arguments: [
      "ppo", "ppo --set value=separate --set layers=1", "ppo --set layers=1 --set epochs=2",
      "reinforce --baseline value --kl loss", "rloo --constraint words<=2", "grpo --beta 0.1",
      "grpo --variant dapo",
      "dpg", "dpg --method fdpg --divergence js", "brain --refresh-every 2", "raft --keep 2",
      "distill --teacher-system ab", "distill --teacher-system ab --method gkd",
    ])
    func `an online trainer gives the same bits on 1, 2 and 4 ranks`(line: String) throws {
      try expectEqual("\(line) \(Self.online)")
    }

    private func expectEqual(_ line: String) throws {
      let bench = try bench()
      let words = line.split(separator: " ")
      var one: [String: Data]?
      for ranks in [1, 2, 4] {
        let run = try run(bench, ranks, "\(line) --output run")
        #expect(run.code == 0, "\(ranks) ranks: \(run.errors)")
        let made = try contents(bench, "run")
        #expect(made.keys.contains { $0.hasSuffix(".safetensors") })
        for (file, data) in one ?? made {
          #expect(made[file] == data, "\(words[0]), \(ranks) ranks: \(file)")
        }
        #expect(Set(made.keys) == Set((one ?? made).keys))
        one = one ?? made
        try FileManager.default.removeItem(at: bench.url("run"))
      }
    }

    @Test func `all weights are trained to within rounding`() throws {
      let bench = try bench()
      var losses: [[Double]] = []
      for ranks in [1, 3] {
        let run = try run(
          bench, ranks,
          "sft --data answers.jsonl --model model --output run\(ranks) --set train=full "
            + "--set piece_tokens=24 --set epochs=4 --seed 3")
        #expect(run.code == 0, "\(run.errors)")
        losses.append(
          try bench.read("run\(ranks)/metrics.jsonl").split(separator: "\n").compactMap {
            let line = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
            return line?["loss"] as? Double
          })
      }
      #expect(losses[0].count == 4 && losses[0].count == losses[1].count)
      for (one, three) in zip(losses[0], losses[1]) { #expect(abs(one - three) < 1e-5) }
    }

    /// Of as many ranks the weights of a run are the same with moments in shares; a checkpoint has them all.
    @Test func `moments in shares train the same weights`() throws {
      let bench = try bench()
      func line(_ output: String) -> String {
        "sft --data answers.jsonl --model model --output \(output) --set train=full "
          + "--set piece_tokens=24 --set epochs=4 --set checkpoint_seconds=0 --seed 3 "
          + "--set shard_moments=\(output != "whole")"
      }
      var weights: [Data] = []
      for output in ["whole", "shares"] {
        let run = try run(bench, 3, line(output))
        #expect(run.code == 0, "\(run.errors)")
        #expect(run.errors.contains("rank by rank"), "\(run.errors)")
        weights.append(try Data(contentsOf: bench.url("\(output)/model.safetensors")))
      }
      #expect(weights[0] == weights[1])
    }

    @Test func `samples, scores and judgements are the same files`() throws {
      let bench = try bench()
      let lines = [
        "sample --model model --data prompts.jsonl --n 3 --max-tokens 6 --seed 5 --output OUT",
        "score --data pairs.jsonl --reward labeller:concise --output OUT",
        "logprobs --model model --data answers.jsonl --output OUT",
        "judge --judge model --data pairs.jsonl --output OUT",
      ]
      for line in lines {
        var one: Data?
        for ranks in [1, 2, 4] {
          let run = try run(bench, ranks, line.replacing("OUT", with: "out-\(ranks).jsonl"))
          #expect(run.code == 0, "\(line), \(ranks) ranks: \(run.errors)")
          let made = try Data(contentsOf: bench.url("out-\(ranks).jsonl"))
          #expect(made == one ?? made, "\(line), \(ranks) ranks")
          one = made
          for file in try FileManager.default.contentsOfDirectory(atPath: bench.folder.path)
          where file.hasPrefix("out-") { try FileManager.default.removeItem(at: bench.url(file)) }
        }
      }
    }

    /// It would wait for messages that never come.
    @Test func `a program that a rank starts is no rank`() throws {
      let bench = try bench()
      try bench.write(
        "reward.sh",
        """
        #!/bin/sh
        env | grep -q -e ^OMPI_ -e ^PMIX_ -e ^PMI_ && { echo a rank >&2; exit 3; }
        while read -r line; do echo 1; done
        """)
      try FileManager.default.setAttributes(
        [.posixPermissions: 0o755], ofItemAtPath: bench.url("reward.sh").path)
      let run = try run(
        bench, 2, "score --data pairs.jsonl --reward exec:./reward.sh --output out.jsonl")
      #expect(run.code == 0, "\(run.errors)")
      #expect(try bench.read("out.jsonl").contains("\"score\""))
    }

    /// Starts a run and waits until it has written a file.
    ///
    /// - Parameter options: Those of `env`, which starts the launcher.
    private func start(
      _ bench: Workbench, _ ranks: Int, _ line: String, until file: String,
      by options: [String] = []
    ) throws -> Process {
      let process = try bench.start(
        line: "\(line) --threads 1", launcher: options + Self.launcher(ranks))
      let deadline = ContinuousClock.now + .seconds(60)
      while !bench.exists(file), ContinuousClock.now < deadline {
        Thread.sleep(forTimeInterval: 0.02)
      }
      return process
    }

    @Test func `a rank that is killed ends the run, which goes on with another number of ranks`()
      throws
    {
      let bench = try bench()
      let process = try start(
        bench, 3, "\(Self.long()) --output broken", until: "broken/checkpoint.safetensors")
      func fields(_ id: some StringProtocol) -> [Substring] {
        let status = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)
        return status?.split(separator: ") ").last?.split(separator: " ") ?? []
      }
      // Its children are the ranks.
      let ranks = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter {
        fields($0).dropFirst().first == "\(process.processIdentifier)"
      }
      #expect(ranks.count == 3)
      let killed = ContinuousClock.now
      if let rank = ranks.last.flatMap({ Int32($0) }) { kill(rank, SIGKILL) }
      process.waitUntilExit()
      #expect(process.terminationStatus != 0)
      while ranks.contains(where: { !["", "Z"].contains(fields($0).first ?? "") }),
        ContinuousClock.now - killed < .seconds(40)
      {
        Thread.sleep(forTimeInterval: 0.1)
      }
      #expect(ContinuousClock.now - killed < .seconds(30))
      try expectGoesOn(bench)
    }

    private static func long(_ epochs: Int = 600) -> String {
      "dpo --data pairs.jsonl --model model --set rank=4 --set piece_tokens=24 --set epochs=\(epochs) "
        + "--set checkpoint_seconds=0 --set evaluation_share=0 --seed 3"
    }

    /// Holds that a broken run goes on with two ranks, to the bits of a whole one.
    private func expectGoesOn(_ bench: Workbench, _ line: String = long()) throws {
      let whole = try run(bench, 1, "\(line) --output whole")
      #expect(whole.code == 0, "\(whole.errors)")
      let rest = try run(bench, 2, "\(line) --output broken")
      #expect(rest.code == 0 && rest.errors.contains("resuming at step"), "\(rest.errors)")
      let (one, other) = (try contents(bench, "whole"), try contents(bench, "broken"))
      for (file, data) in one { #expect(other[file] == data, "\(file)") }
    }

    @Test func `Ctrl-C to the launcher ends all ranks, and the run goes on`() throws {
      let bench = try bench()
      // mpirun takes two seconds to pass it on.
      let line = Self.long(2000)
      // Who runs tests may ignore Ctrl-C, which its children inherit.
      let process = try start(
        bench, 3, "\(line) --output broken", until: "broken/checkpoint.safetensors",
        by: ["--default-signal=INT"])
      let began = ContinuousClock.now
      process.interrupt()
      process.waitUntilExit()
      #expect(process.terminationStatus != 0 && ContinuousClock.now - began < .seconds(30))
      try expectGoesOn(bench, line)
    }

    @Test func `a disk that is full on rank 0 ends all ranks with one message`() throws {
      let bench = try bench()
      let began = ContinuousClock.now
      // Its metrics grow beyond the limit after some hundred steps.
      let run = try run(
        bench, 3, "\(Self.long()) --output broken",
        after: "[ $OMPI_COMM_WORLD_RANK != 0 ] || ulimit -f 300")
      #expect(run.code != 0 && ContinuousClock.now - began < .seconds(60), "\(run.errors)")
      #expect(run.errorLines.count { $0.hasPrefix("error: ") } == 1, "\(run.errors)")
      #expect(run.errors.contains("metrics.jsonl: can't be written"), "\(run.errors)")
      try expectGoesOn(bench)
    }

    @Test func `what is wrong is said once, by rank 0`() throws {
      let bench = try bench()
      var run = try run(bench, 3, "dpo --model model --data nothing.jsonl --output run")
      #expect(run.code == 1)
      #expect(run.errorLines.count { $0.hasPrefix("error: ") } == 1, "\(run.errors)")
      run = try self.run(bench, 2, "chat --model model")
      #expect(run.code == 64 && run.errors.contains("chat runs alone"))
      // Fewer prompts than ranks.
      try bench.writePrompts(1)
      run = try self.run(
        bench, 3,
        "sample --model model --data prompts.jsonl --n 2 --max-tokens 4 --output one.jsonl")
      #expect(run.code == 0, "\(run.errors)")
    }
  }
#endif
