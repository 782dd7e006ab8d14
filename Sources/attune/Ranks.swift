// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneTraining
import Foundation

/// One run by many processes, as `mpirun` or Slurm started them: rank 0 speaks for all.
enum Ranks {
  /// The commands whose work is dealt out; others run alone.
  private static let commands: Set = [
    "quickstart", "rlhf", "frontier", "hacking", "sample", "judge", "revise", "score", "sft",
    "reward", "ppo", "reinforce", "rloo", "grpo", "raft", "dpg", "brain", "distill", "dpo", "kto",
    "iterate", "evaluate", "logprobs",
  ]

  /// Standard error as it was, on ranks that are silent.
  private static let speech = fcntl(2, F_DUPFD_CLOEXEC, 100)

  /// Takes this process's place among the ranks.
  ///
  /// - Parameter arguments: The command line.
  /// - Throws: `TrainingError` of a command, or a build, that runs alone.
  static func begin(_ arguments: [String]) throws {
    guard let launched = Collective.launched, launched > 1 else { return }
    guard Collective.canBeMany else {
      throw TrainingError(
        .badUsage,
        "started as one of \(launched) processes, and this build runs alone: make build MPI=1")
    }
    let isHelp = arguments.contains { ["--help", "-h", "--version", "--knobs"].contains($0) }
    if let command = arguments.first, !commands.contains(command), !isHelp {
      throw TrainingError(
        .badUsage,
        "\(command) runs alone, and was started as one of \(launched) processes: leave out mpirun")
    }
    let ranks = Collective.process
    guard ranks.count == launched else {
      throw TrainingError(
        .unavailable,
        "started as one of \(launched) processes, of which MPI sees \(ranks.count): start them by the mpirun "
          + "of the MPI that this was built with, or by srun --mpi=pmix")
    }
    guard ranks.rank > 0 else { return }
    let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
    _ = speech
    dup2(null, 1)
    dup2(null, 2)
    close(null)
  }

  /// How many threads a rank has where nothing is said: its share of this machine's cores.
  static var threads: Int {
    guard !Collective.process.isAlone else { return 0 }
    return max(1, ProcessInfo.processInfo.activeProcessorCount / Collective.ranksOfMachine)
  }

  /// Ends a process that did its part.
  static func end() { Collective.process.end() }

  /// Ends all ranks; returns where there is one.
  ///
  /// - Parameters:
  ///   - code: The exit code.
  ///   - message: What went wrong.
  static func fail(_ code: Int32, _ message: String) {
    let ranks = Collective.process
    guard !ranks.isAlone else { return }
    if ranks.rank > 0 {
      // Mostly all meet the same error, and rank 0 tells of it and ends all.
      var seconds: UInt32 = 5
      while seconds > 0 { seconds = sleep(seconds) }
      let line = "rank \(ranks.rank): \(message)\n"
      _ = line.withCString { write(speech, $0, strlen($0)) }
    }
    ranks.abort(code)
  }
}
